"""One image file after the other, enlarged and written: what `python -m tfmisr.upscale` does with its jobs."""

import concurrent.futures
import concurrent.futures.process
import dataclasses
import datetime
import errno
import functools
import json
import multiprocessing
import pathlib
import re
from collections.abc import Iterator

import numpy as np

import tfmisr
from tfmisr import cli, upscalers
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

RECORD = "upscale.json"

# With these the next image fares no better.
_OF_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclasses.dataclass(frozen=True)
class Enlarger:
    """Enlarges files; may be sent to another process, where the network is loaded anew.

    Args:
        model: What `tfmisr.upscalers.load` takes.
        scale: Upsampling factor.
        tile: Side of all tiles in low-resolution pixels, or `None`.
        threads: Of a `.tflite` file.
        when: Start of the whole work in ISO format with a time zone: the same Series Date and Time (0008,0021) and
            (0008,0031) for all slices. `None`: a single image, which has none.
        max_tile: Bound of tiles that are chosen for each image, or `None`; see `tfmisr.upscalers.load`.
    """

    model: str
    scale: int
    tile: int | None = None
    threads: int = 1
    when: str | None = None
    max_tile: int | None = None

    def __call__(self, source: pathlib.Path, target: pathlib.Path) -> str:
        """Writes `target`, whole or not at all, and returns what was done, for people.

        Raises:
            InputError: The image cannot be read, enlarged or written.
        """
        cli.require_writable(target.parent)
        if target.exists() and target.samefile(source):
            raise InputError(f"--output would overwrite the input {source}")
        write = self._derived if target.suffix.lower() == ".dcm" else self._picture
        return f"{source} -> {target} ({write(source, target)})"

    @property
    def upscaler(self) -> upscalers.Upscaler:
        """The loaded network or interpolation."""
        return _load(self.model, self.tile, self.threads, self.max_tile)

    def _picture(self, source, target):
        from tfmisr.edge import images

        frames = images.read_images(source)
        if len(frames) > 1:
            raise InputError(f"expected one image in {source}, found {len(frames)} frames; write to a .dcm file")
        image = frames[0]
        lr = image.pixels.astype(np.float32) / np.float32(image.max_val)
        sr = self.upscaler(lr, self.scale, image.max_val)
        images.write_image(target, sr, image.max_val)
        return f"{sr.shape[1]}x{sr.shape[0]}"

    def _derived(self, source, target):
        from tfmisr.edge import derived

        upscaler, scale = self.upscaler, self.scale
        sides = {"tile": self.tile, "max_tile": self.max_tile}
        product = derived.Product(
            name="tfmisr",
            version=tfmisr.__version__,
            model=re.sub(r"[^A-Za-z0-9 ._+():/-]", "_", upscaler.name)[:47],
            weights_sha256=upscaler.weights_sha256,
            scale=scale,
            ai=upscaler.parameters > 0,
            # Rounding may differ from tile to tile, and other pixels need another UID (D-02).
            runtime=" ".join(f"{key} {side}" for key, side in sides.items() if side is not None),
        )
        begun = datetime.datetime.fromisoformat(self.when) if self.when else None
        image, report = derived.derive_with_report(source, lambda lr: upscaler(lr, scale), product, begun=begun)
        derived.write(image, target)
        notes = "".join(f"; {remark}" for remark in report.remarks)
        return f"{image.Columns}x{image.Rows}{notes}"


@functools.lru_cache(maxsize=1)
def _load(model, tile, threads, max_tile):
    return upscalers.load(model, tile, threads, max_tile)


def recorded(folder: pathlib.Path, enlarger: Enlarger) -> Enlarger:
    """Ties a folder of results to one model and scale, in `upscale.json`, and returns the enlarger for it.

    What is in the folder already may then be skipped, and all slices have one Series Date, that of the first start.

    Raises:
        InputError: The folder holds results of another model or scale.
    """
    upscaler = enlarger.upscaler
    own = {
        "model": upscaler.name,
        "weights_sha256": upscaler.weights_sha256,
        "scale": enlarger.scale,
        "tile": enlarger.tile,
        "max_tile": enlarger.max_tile,
    }
    path = folder / RECORD
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            when = datetime.datetime.fromisoformat(found["when"]).isoformat()
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error}); choose another --output") from error
        if differing := [key for key in own if found.get(key) != own[key]]:
            key = differing[0]
            raise InputError(
                f"{folder} holds results of another {key}: {found.get(key)!r} there, {own[key]!r} here; "
                "choose another --output"
            )
    else:
        when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        cli.require_writable(folder)
        write_text(path, json.dumps({**own, "when": when}, indent=2) + "\n")
    return dataclasses.replace(enlarger, when=when)


def enlarge_all(enlarger: Enlarger, jobs: list[tuple], processes: int = 1) -> Iterator[tuple]:
    """Does all jobs, each on its own; yields (input, what was done, the error or `None`) as they end.

    Args:
        enlarger: What is done to each.
        jobs: Pairs of input and output file.
        processes: Number of processes; each holds the network.
    """
    if processes == 1:
        yield from (_attempt(enlarger, *job) for job in jobs)
        return
    # TensorFlow does not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
        running = [pool.submit(_attempt, enlarger, *job) for job in jobs]
        try:
            for done in concurrent.futures.as_completed(running):
                yield done.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                "a process came to a sudden end, perhaps for want of memory; start the same command again, "
                "with fewer --processes"
            ) from error
        finally:
            for waiting in running:
                waiting.cancel()


def _attempt(enlarger, source, target):
    try:
        return source, enlarger(source, target), None
    except InputError as error:
        return source, "", str(error)
    except MemoryError:
        return source, "", f"{source}: not enough memory"
    except OSError as error:
        if error.errno in _OF_ALL:
            raise
        return source, "", f"{source}: {error.strerror or type(error).__name__}"
