"""One image file after the other, enlarged and written: what `python -m tfmisr.upscale` does with its jobs."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import datetime
import errno
import functools
import itertools
import json
import multiprocessing
import pathlib
import re
import signal
from collections.abc import Iterator

import numpy as np

import tfmisr
from tfmisr import cli
from tfmisr.edge import series
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import DISK_FULL, remove_orphaned_temporaries, write_text
from tfmisr.edge.levels import IntensityScale
from tfmisr.inference import luma, series_scales, upscalers

RECORD = "upscale.json"

_HOLDING_SEVERAL = {"TIFF": "a .tif file", "DICOM": "a .dcm or .tif file"}

# With these the next image fares no better.
_OF_ALL = (*DISK_FULL, errno.EROFS)


@dataclasses.dataclass(frozen=True)
class BatchUpscaler:
    """Enlarges files; may be sent to another process, where the network is loaded anew.

    Args:
        model: What `tfmisr.inference.upscalers.load` takes.
        scale: Upsampling factor.
        tile: Side of all tiles in low-resolution pixels, or `None`.
        threads: Of a `.tflite` file.
        color: What is done with color images where the model is for gray ones: `refuse`, or `luma`, of
            `tfmisr.inference.luma`.
        when: Start of the whole work in ISO format with a time zone: the same Series Date and Time (0008,0021) and
            (0008,0031) for all slices. `None`: a single image, which has none.
        max_tile: Bound of tiles that are chosen for each image, or `None`; see `tfmisr.inference.upscalers.load`.
    """

    model: str
    scale: int
    tile: int | None = None
    threads: int = 1
    color: str = "refuse"
    when: str | None = None
    max_tile: int | None = None

    def __call__(self, source: pathlib.Path, target: pathlib.Path, scale: IntensityScale | None = None) -> str:
        """Writes `target`, whole or not at all, and returns what was done, for people.

        Args:
            source: An image.
            target: File for the result.
            scale: Intensity scale of its series; by default its own.

        Raises:
            InputError: The image cannot be read, enlarged or written.
        """
        cli.check_writable(target.parent)
        if target.exists() and target.samefile(source):
            raise InputError(f"--output would overwrite the input {source}")
        write = self._derived if target.suffix.lower() == ".dcm" else self._picture
        own = series.Survey()
        return f"{source} -> {target} ({write(source, target, scale or own)}{series_scales.told(scale, own)})"

    @property
    def upscaler(self) -> upscalers.Upscaler:
        """The loaded network or interpolation."""
        return _load(self.model, self.tile, self.threads, self.color, self.max_tile)

    def _upscaled(self, lr, max_val=None):
        if self.upscaler.channels == 1 and lr.shape[-1] == 3:
            raise InputError(
                f"{self.upscaler.name} is for gray images, this one is in color; --color luma enlarges its brightness "
                "with the network and interpolates its colors, --model bicubic interpolates all"
            )
        return self.upscaler(lr, self.scale, max_val)

    def _picture(self, source, target, intensities):
        from tfmisr.edge import images

        frames = images.iter_images(source, intensities)
        first = next(frames)
        tiff = target.suffix.lower() in (".tif", ".tiff")
        if first.count > 1 and not tiff:
            own = "DICOM" if images.detect_format(source) == "DICOM" else "TIFF"
            raise InputError(
                f"{source} holds {first.count} images and {target.suffix} one; name {_HOLDING_SEVERAL[own]} as "
                f"--output, or a folder, where {own} stays {own}"
            )
        enlarged = (self._enlarged(image, tiff) for image in itertools.chain([first], frames))
        if first.count == 1:
            enlarged = iter([next(enlarged)])  # an image that cannot be enlarged leaves no folder
        cli.require_writable(target.parent)
        images.write_images(target, enlarged, first.max_val, first.count)
        height, width = (self.scale * side for side in first.pixels.shape[:2])
        pages = f", {first.count} pages" if first.count > 1 else ""
        shifted = f"; values shifted by {-first.offset:+d}: PNG holds no negative values" if first.offset else ""
        return f"{width}x{height}{pages}{'' if tiff else shifted}"

    def _enlarged(self, image, tiff):
        """Returns the enlarged pixels; in a TIFF those of a signed file are signed."""
        lr = image.pixels.astype(np.float32) / np.float32(image.max_val)
        sr = self._upscaled(lr, image.max_val)
        return image.to_file_values(sr) if tiff else sr.astype(image.pixels.dtype, copy=False)

    def _derived(self, source, target, intensities):
        from tfmisr.edge import derived

        upscaler = self.upscaler
        sides = {"tile": self.tile, "max_tile": self.max_tile}
        product = derived.Product(
            name="tfmisr",
            version=tfmisr.__version__,
            model=re.sub(r"[^A-Za-z0-9 ._+():/-]", "_", upscaler.name)[:47],
            weights_sha256=upscaler.weights_sha256,
            scale=self.scale,
            ai=upscaler.parameters > 0,
            # Rounding may differ from tile to tile, and other pixels need another UID (D-02).
            runtime=" ".join(f"{key} {side}" for key, side in sides.items() if side is not None),
        )
        begun = datetime.datetime.fromisoformat(self.when) if self.when else None
        image, report = derived.derive_with_report(
            source, self._upscaled, product, series_start=begun, scale=intensities
        )
        cli.require_writable(target.parent)
        derived.write(image, target)
        notes = "".join(f"; {remark}" for remark in report.remarks)
        return f"{image.Columns}x{image.Rows}{notes}"


def load(model: str, tile: int | None, threads: int, color: str, max_tile: int | None) -> upscalers.Upscaler:
    """Returns what `upscalers.load` does, for color images too where `color` is `luma`; see `BatchUpscaler`."""
    upscaler = upscalers.load(model, tile, threads, max_tile)
    if color == "refuse":
        return upscaler
    if upscaler.channels != 1:
        raise InputError(f"--color {color} is for models of gray images, {upscaler.name} takes color: leave it out")
    return luma.of_color(upscaler)


_load = functools.lru_cache(maxsize=1)(load)


def recorded(folder: pathlib.Path, enlarger: BatchUpscaler) -> BatchUpscaler:
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
        write_text(path, json.dumps({**own, "when": when, series_scales.KEY: {}}, indent=2) + "\n")
    return dataclasses.replace(enlarger, when=when)


def upscale_all(enlarger: BatchUpscaler, jobs: list[tuple], processes: int = 1) -> Iterator[tuple]:
    """Does all jobs, each on its own; yields (input, what was done, the error or `None`) as they end.

    Args:
        enlarger: What is done to each.
        jobs: Input file, output file, and, where it is not the file's own, the intensity scale of its series.
        processes: Number of processes; each holds the network.
    """
    if processes == 1:
        yield from (_attempt(enlarger, *job) for job in jobs)
        return
    # TensorFlow does not survive a fork.
    context = multiprocessing.get_context("spawn")
    before, ended = set(multiprocessing.active_children()), False
    with concurrent.futures.ProcessPoolExecutor(processes, context, _deaf) as pool:
        with _without_interrupts():
            running = [pool.submit(_attempt, enlarger, *job) for job in jobs]
        try:
            for done in concurrent.futures.as_completed(running):
                yield done.result()
            ended = True
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                "a process came to a sudden end, perhaps for want of memory; start the same command again, "
                "with fewer --processes"
            ) from error
        finally:
            if not ended:  # what waits then fails with them; cancelling it would make the executor stumble
                _kill(set(multiprocessing.active_children()) - before, {target.parent for _, target, *_ in jobs})


def _deaf():
    """Leaves Ctrl-C, which a terminal sends to every process, to the one that ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cli.prepare_output()


@contextlib.contextmanager
def _without_interrupts():
    """Puts Ctrl-C off, for this process and for those that it starts meanwhile, where the system can do that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(processes, folders):
    """Ends processes within an image, which may take minutes, and removes what they had begun to write."""
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
    remove_orphaned_temporaries(*folders)


def forget_empty(folder: pathlib.Path) -> None:
    """Removes a folder of results that holds no result, so that another model may be tried with it."""
    if [path.name for path in folder.iterdir()] == [RECORD]:
        (folder / RECORD).unlink()
        folder.rmdir()


def _attempt(enlarger, source, target, *scale):
    try:
        return source, enlarger(source, target, *scale), None
    except InputError as error:
        return source, "", str(error) if str(source) in str(error) else f"{source}: {error}"
    except MemoryError:
        return source, "", f"{source}: not enough memory"
    except OSError as error:
        if error.errno in _OF_ALL:
            raise
        return source, "", f"{source}: {error.strerror or type(error).__name__}"


__getattr__ = renamed(__name__, Enlarger="BatchUpscaler", enlarge_all="upscale_all")
