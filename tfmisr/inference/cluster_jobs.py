"""What a worker does for `python -m tfmisr.upscale --cluster`; called by name, with what JSON can hold."""

import contextlib
import dataclasses

from tfmisr.cluster import stores
from tfmisr.edge import images, series
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale
from tfmisr.inference import memory
from tfmisr.inference.batch import BatchUpscaler
from tfmisr.inference.examination import OutOfScope


def upscale(job: dict) -> dict:
    """Upscales one image.

    Args:
        job: `upscaler` (fields of `BatchUpscaler`), `weights_sha256` that the file of the model must have, `source`,
            `target`, `half_width` (absolute paths or URLs; the last may be null), `scale` (fields of `IntensityScale`,
            or null), `memory_limit`.

    Returns:
        `stamp` and `sha256` of the source, `size` of the result in bytes, and `summary`, `outcome`, `warning` and `row`
        of `tfmisr.inference.upscaled.Upscaled`. For an image out of scope only `refused`, the reason.

    Raises:
        InputError: The image cannot be read, upscaled or written, or this worker has other weights.
    """
    try:
        return _upscale(job)
    except OutOfScope as error:
        return {"refused": str(error)}


def _upscale(job):
    upscaler = BatchUpscaler(**job["upscaler"])
    if upscaler.upscaler.weights_sha256 != job["weights_sha256"]:
        raise InputError(f"a worker finds other weights at {upscaler.model}; install the same file everywhere")
    source, target = job["source"], job["target"]
    scale = IntensityScale(**job["scale"]) if job["scale"] else None
    with contextlib.ExitStack() as stack:
        path, result = stack.enter_context(_source(source)), stack.enter_context(stores.published(target))
        beside = job.get("half_width")
        half_width = stack.enter_context(stores.published(beside)) if beside else None
        stack.enter_context(_names(path, source, result, target))
        before = _stamp(source)
        memory.require_fit(path, source, upscaler, job["memory_limit"])
        upscaled = upscaler(path, result, scale, half_width)
        size, digest = result.stat().st_size, stores.sha256(path)
        if _stamp(source) != before:
            result.unlink()
            raise OSError(None, "changed while it was read")
    found = dataclasses.asdict(upscaled)
    found["summary"] = upscaled.summary.replace(str(path), source, 1).replace(str(result), target, 1)
    found["warning"] = upscaled.warning.replace(str(path), source, 1)
    return {"stamp": before, "sha256": digest, "size": size, **found}


def groups(sources: list[str]) -> list[list | None]:
    """Returns the `tfmisr.edge.series.Group` of each image as a list; `None` where its type defines its scale."""
    found = []
    for source in sources:
        try:
            with _source(source) as path:
                group = images.group_of(path)
        except InputError:
            group = None  # the error is raised when its pixels are read
        found.append(group and list(group))
    return found


def series_scale(sources: list[str]) -> dict | None:
    """Returns the fields of the intensity scale that all images of a series share; `None` where each keeps its own."""
    result = series.Survey()
    for source in sources:
        with contextlib.suppress(InputError), _source(source) as path:
            images.survey(path, result)
    scale = result.scale()
    return scale and dataclasses.asdict(scale)


@contextlib.contextmanager
def _source(source):
    """Yields a local file; one that is not there is refused and not tried again."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(stores.fetched(source))
        except FileNotFoundError:
            path = None
        if path is None or not path.is_file():
            raise InputError(f"{source}: found no file; workers must see the same paths as this machine")
        yield path


def _stamp(source) -> str:
    found = stores.size_and_stamp(source)
    return found[1] if found else ""


@contextlib.contextmanager
def _names(path, source, result, target):
    """Names source and target in errors about their local copies."""
    try:
        yield
    except InputError as error:
        text = str(error).replace(str(path), source).replace(str(result), target)
        kind = OutOfScope if isinstance(error, OutOfScope) else InputError
        raise kind(text if source in text else f"{source}: {text}") from None
