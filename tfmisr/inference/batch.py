"""Batch upscaling of image files, in one or several processes: the work of `python -m tfmisr.upscale`."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import datetime
import errno
import functools
import itertools
import multiprocessing
import pathlib
import re
import signal
from collections.abc import Iterator

import numpy as np

import tfmisr
from tfmisr import cli
from tfmisr.edge import consistency_measures, series
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import DISK_FULL, remove_orphaned_temporaries
from tfmisr.edge.levels import IntensityScale
from tfmisr.inference import luma, series_scales, upscalers

_MULTI_FRAME_TARGETS = {"TIFF": "a .tif file", "DICOM": "a .dcm or .tif file"}

# Errors of the file system: the next image would fail as well.
_FATAL = (*DISK_FULL, errno.EROFS)


@dataclasses.dataclass(frozen=True)
class BatchUpscaler:
    """Upscales files. It can be pickled for another process, which then loads the network itself.

    Args:
        model: Name or path for `tfmisr.inference.upscalers.load`.
        scale: Upsampling factor.
        tile: Side of all tiles in low-resolution pixels, or `None`.
        threads: Number of threads of the LiteRT interpreter, for a `.tflite` file.
        color: Handling of color images by a model for gray images: `refuse`, or `luma` (see
            `tfmisr.inference.luma`).
        when: Start of the batch in ISO format with a time zone: Series Date and Time (0008,0021) and (0008,0031) of
            all slices. `None`: a single image, without them.
        max_tile: Largest side of tiles that are chosen per image, or `None`; see `tfmisr.inference.upscalers.load`.
        consistency: Correct the results of a `.tflite` file to agree with their inputs.
    """

    model: str
    scale: int
    tile: int | None = None
    threads: int = 1
    color: str = "refuse"
    when: str | None = None
    max_tile: int | None = None
    consistency: bool = True

    def __call__(self, source: pathlib.Path, target: pathlib.Path, scale: IntensityScale | None = None) -> str:
        """Upscales one file, writes the result atomically and returns a log line.

        Args:
            source: Image file.
            target: Output file; the suffix `.dcm` makes it a derived DICOM image.
            scale: Intensity scale of its series; default: that of the file.

        Raises:
            InputError: The image cannot be read, upscaled or written.
        """
        cli.check_writable(target.parent)
        if target.exists() and target.samefile(source):
            raise InputError(f"--output would overwrite the input {source}")
        write = self._write_derived_dicom if target.suffix.lower() == ".dcm" else self._write_image
        survey = series.Survey()
        summary = write(source, target, scale or survey)
        return f"{source} -> {target} ({summary}{series_scales.describe_scale(scale, survey)})"

    @property
    def upscaler(self) -> upscalers.Upscaler:
        """The loaded network or interpolation."""
        return _load(self.model, self.tile, self.threads, self.color, self.max_tile, self.consistency)

    def _upscale_array(self, agreements, lr, max_val):
        """Returns an image upscaled in integers, and appends its agreement with the input."""
        self._check_channels(lr)
        sr = self.upscaler(lr, self.scale, max_val)
        self._measure(agreements, sr, lr, max_val)
        return sr

    def _upscale_stored(self, agreements, lr, levels):
        """The same in float32, not rounded, for stored values of a DICOM image."""
        self._check_channels(lr)
        sr = self.upscaler(lr, self.scale, levels=levels)
        if self.upscaler.operator:
            self._measure(agreements, np.rint(sr * np.float32(levels)), lr, levels)
        return sr

    def _check_channels(self, lr):
        if self.upscaler.channels == 1 and lr.shape[-1] == 3:
            raise InputError(
                f"{self.upscaler.name} is for gray images, this one is in color; --color luma upscales its luma "
                "with the network and interpolates its chroma, --model bicubic interpolates all channels"
            )

    def _measure(self, agreements, sr, lr, levels):
        if operator := self.upscaler.operator:
            stored = lr * np.float32(levels)
            agreements.append(consistency_measures.agreement(sr, stored, operator, levels, null_space=False))

    def _write_image(self, source, target, intensities):
        from tfmisr.edge import images

        agreements = []
        frames = images.iter_images(source, intensities)
        first = next(frames)
        tiff = target.suffix.lower() in (".tif", ".tiff")
        if first.count > 1 and not tiff:
            file_format = "DICOM" if images.detect_format(source) == "DICOM" else "TIFF"
            raise InputError(
                f"{source} holds {first.count} images and {target.suffix} one; name "
                f"{_MULTI_FRAME_TARGETS[file_format]} as --output, or a folder, where {file_format} stays {file_format}"
            )
        upscaled = (self._upscale_frame(image, tiff, agreements) for image in itertools.chain([first], frames))
        if first.count == 1:
            upscaled = iter([next(upscaled)])  # an image that cannot be upscaled leaves no folder
        cli.require_writable(target.parent)
        images.write_images(target, upscaled, first.max_val, first.count)
        height, width = (self.scale * side for side in first.pixels.shape[:2])
        pages = f", {first.count} pages" if first.count > 1 else ""
        offset_note = f"; values shifted by {-first.offset:+d}: PNG holds no negative values" if first.offset else ""
        return f"{width}x{height}{pages}{'' if tiff else offset_note}{agreement_of_frames(agreements)}"

    def _upscale_frame(self, image, tiff, agreements):
        """Returns the upscaled pixels; in a TIFF those of a signed file are signed."""
        lr = image.pixels.astype(np.float32) / np.float32(image.max_val)
        sr = self._upscale_array(agreements, lr, image.max_val)
        return image.to_file_values(sr) if tiff else sr.astype(image.pixels.dtype, copy=False)

    def _write_derived_dicom(self, source, target, intensities):
        from tfmisr.edge import derived

        upscaler, agreements = self.upscaler, []
        sides = {"tile": self.tile, "max_tile": self.max_tile}
        product = derived.Product(
            name="tfmisr",
            version=tfmisr.__version__,
            model=re.sub(r"[^A-Za-z0-9 ._+():/-]", "_", upscaler.name)[:47],
            weights_sha256=upscaler.weights_sha256,
            scale=self.scale,
            ai=upscaler.parameters > 0,
            # Rounding may depend on the tiles, and different pixels need a different UID (D-02).
            runtime=" ".join(f"{key} {side}" for key, side in sides.items() if side is not None),
            consistency=upscaler.consistency,
        )
        upscale = derived.LevelUpscaler(functools.partial(self._upscale_stored, agreements))
        start = datetime.datetime.fromisoformat(self.when) if self.when else None
        image, report = derived.derive_with_report(source, upscale, product, series_start=start, scale=intensities)
        cli.require_writable(target.parent)
        derived.write(image, target)
        notes = "".join(f"; {remark}" for remark in report.remarks)
        return f"{image.Columns}x{image.Rows}{notes}{agreement_of_frames(agreements)}"


def agreement_of_frames(agreements: list[consistency_measures.Agreement]) -> str:
    """Returns the part of a log line on the frame that agrees least with its input; empty without any."""
    worst = min(agreements, key=lambda each: (each.within_half, -each.maximum), default=None)
    return "" if worst is None else f"; {worst}" + (", in the worst frame" if len(agreements) > 1 else "")


def load(
    model: str, tile: int | None, threads: int, color: str, max_tile: int | None, consistency: bool = True
) -> upscalers.Upscaler:
    """Loads an upscaler as `upscalers.load` does; with `color="luma"` it takes color images too.

    Args:
        model: Name or path.
        tile: Side of all tiles in low-resolution pixels, or `None`.
        threads: Number of threads, for a `.tflite` file.
        color: `refuse` or `luma`; see `BatchUpscaler`.
        max_tile: Largest side of tiles that are chosen per image, or `None`.
        consistency: Correct the results of a `.tflite` file to agree with their inputs.

    Raises:
        InputError: There is no such model, or it takes color images and `color` is `luma`.
    """
    upscaler = upscalers.load(model, tile, threads, max_tile, consistency)
    if color == "refuse":
        return upscaler
    if upscaler.channels != 1:
        raise InputError(f"--color {color} is for models of gray images, {upscaler.name} takes color: leave it out")
    return luma.luma_upscaler(upscaler)


_load = functools.lru_cache(maxsize=1)(load)


def upscale_all(upscaler: BatchUpscaler, jobs: list[tuple], processes: int = 1) -> Iterator[tuple]:
    """Upscales all files; an error in one does not stop the others.

    Args:
        upscaler: Upscaler of the batch.
        jobs: Tuples of input file, output file and, where the file has none of its own, the intensity scale of its
            series.
        processes: Number of processes; each loads the network.

    Yields:
        Tuples (input file, log line, error message or `None`) in order of completion.

    Raises:
        InputError: A process died.
        OSError: The disk is full or read-only.
    """
    if processes == 1:
        yield from (_attempt(upscaler, *job) for job in jobs)
        return
    # TensorFlow does not survive a fork.
    context = multiprocessing.get_context("spawn")
    existing, completed = set(multiprocessing.active_children()), False
    with concurrent.futures.ProcessPoolExecutor(processes, context, _ignore_interrupts) as pool:
        with _interrupts_blocked():
            futures = [pool.submit(_attempt, upscaler, *job) for job in jobs]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
            completed = True
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                "a process died unexpectedly, perhaps for lack of memory; run the same command again, "
                "with fewer --processes"
            ) from error
        finally:
            if not completed:  # pending futures fail with the processes; canceling them would break the executor
                _kill(set(multiprocessing.active_children()) - existing, {target.parent for _, target, *_ in jobs})


def _ignore_interrupts():
    """Ignores Ctrl-C, which a terminal sends to every process: the parent process ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cli.prepare_output()


@contextlib.contextmanager
def _interrupts_blocked():
    """Delays Ctrl-C for this process and for those it starts meanwhile, on systems with signal masks."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _kill(processes, folders):
    """Kills processes in the middle of an image, which may take minutes, and removes their temporary files."""
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
    remove_orphaned_temporaries(*folders)


def _attempt(upscaler, source, target, *scale):
    try:
        return source, upscaler(source, target, *scale), None
    except InputError as error:
        return source, "", str(error) if str(source) in str(error) else f"{source}: {error}"
    except MemoryError:
        return source, "", f"{source}: not enough memory"
    except OSError as error:
        if error.errno in _FATAL:
            raise
        return source, "", f"{source}: {error.strerror or type(error).__name__}"


__getattr__ = renamed(
    __name__,
    RECORD="tfmisr.inference.output_folder.RECORD",
    Enlarger="BatchUpscaler",
    enlarge_all="upscale_all",
    forget_empty="tfmisr.inference.output_folder.remove_empty",
    recorded="tfmisr.inference.output_folder.bind",
)
