"""What a worker does for `python -m tfmisr.upscale --cluster`; called by name, with what JSON can hold."""

import contextlib
import dataclasses

from tfmisr.cluster import stores
from tfmisr.edge import images, series
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale
from tfmisr.inference import memory
from tfmisr.inference.batch import BatchUpscaler


def upscale(job: dict) -> dict:
    """Upscales one image.

    Args:
        job: `upscaler` (fields of `BatchUpscaler`), `weights_sha256` that the file of the model must have, `source`,
            `target` (absolute paths or URLs), `scale` (fields of `IntensityScale`, or null), `memory_limit`.

    Returns:
        `stamp` and `sha256` of the source, `size` of the result in bytes, and `summary`, the line for the log.

    Raises:
        InputError: The image cannot be read, upscaled or written, or this worker has other weights.
    """
    upscaler = BatchUpscaler(**job["upscaler"])
    if upscaler.upscaler.weights_sha256 != job["weights_sha256"]:
        raise InputError(f"a worker finds other weights at {upscaler.model}; install the same file everywhere")
    source, target = job["source"], job["target"]
    scale = IntensityScale(**job["scale"]) if job["scale"] else None
    with _source(source) as path, stores.published(target) as result, _names(path, source, result, target):
        before = _stamp(source)
        memory.require_fit(path, source, upscaler, job["memory_limit"])
        summary = upscaler(path, result, scale)
        size, digest = result.stat().st_size, stores.sha256(path)
        if _stamp(source) != before:
            result.unlink()
            raise OSError(None, "changed while it was read")
    summary = summary.replace(str(path), source, 1).replace(str(result), target, 1)
    return {"stamp": before, "sha256": digest, "size": size, "summary": summary}


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
        raise InputError(text if source in text else f"{source}: {text}") from None
