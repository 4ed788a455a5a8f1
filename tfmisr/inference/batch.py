"""Batch upscaling of image files: the work of `python -m tfmisr.upscale` on one file."""

import contextlib
import dataclasses
import datetime
import functools
import itertools
import pathlib
import re
from collections.abc import Iterator

import numpy as np

import tfmisr
from tfmisr import cli
from tfmisr.edge import consistency_measures, series
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write
from tfmisr.edge.levels import IntensityScale
from tfmisr.inference import half_widths, luma, reporting, series_scales, upscalers
from tfmisr.inference.batch_processes import upscale_all as upscale_all
from tfmisr.inference.examination import LEVEL, Checks, Examination
from tfmisr.inference.upscaled import Upscaled

_MULTI_FRAME_TARGETS = {"TIFF": "a .tif file", "DICOM": "a .dcm or .tif file"}


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
        uncertainty: Results get a half-width map, and derived DICOM images state its guarantee.
        level: Share of the pixels that may lie outside of the half-widths.
        report: Measure what a report needs.
        force: Upscale images that are out of the model's scope.
        suggest: Look for a shipped model that has an image in scope where this one has not: a second network.
        record_times: Derived DICOM images state when they were made; without, they have the same bytes each time.
    """

    model: str
    scale: int
    tile: int | None = None
    threads: int = 1
    color: str = "refuse"
    when: str | None = None
    max_tile: int | None = None
    consistency: bool = True
    uncertainty: bool = False
    level: float = LEVEL
    report: bool = False
    force: bool = False
    record_times: bool = True
    suggest: bool = False

    def __call__(
        self,
        source: pathlib.Path,
        target: pathlib.Path,
        scale: IntensityScale | None = None,
        half_width: pathlib.Path | None = None,
        report: pathlib.Path | None = None,
    ) -> Upscaled:
        """Upscales one file, writes the results atomically and returns a line for the log and what was found.

        Args:
            source: Image file.
            target: Output file; the suffix `.dcm` makes it a derived DICOM image.
            scale: Intensity scale of its series; default: that of the file.
            half_width: File for the half-widths, where `uncertainty` is set: PNG, TIFF, `.npy`, or DICOM beside DICOM.
            report: File for the report, where `report` is set: JSON or HTML.

        Raises:
            OutOfScope: The model is not made for the image, and `force` is not set.
            InputError: The image cannot be read, upscaled or written.
        """
        _check_targets(source, {"output": target, "uncertainty": half_width, "report": report})
        survey = series.Survey()
        with contextlib.closing(self._examination(source, target)) as examination:
            staged = _complete(target, bool(half_width or self.report)), _complete(half_width, self.report)
            with staged[0] as result, staged[1] as width_file:
                write = self._write_derived_dicom if target.suffix.lower() == ".dcm" else self._write_image
                summary = write(source, result, scale or survey, examination)
                if half_width:
                    half_widths.write(width_file, examination)
                found = reporting.make(examination, source, result, width_file) if self.report else None
                if found and report:
                    cli.require_writable(report.parent)
                    found.write(report)
            summary += reporting.summary(examination) + series_scales.describe_scale(scale, survey)
            return Upscaled(
                f"{source} -> {target} ({summary})",
                examination.outcome,
                reporting.warning(examination),
                found and found.row(),
            )

    @property
    def upscaler(self) -> upscalers.Upscaler:
        """The loaded network or interpolation."""
        return self.checks.upscaler

    @property
    def checks(self) -> Checks:
        """What is checked of each image, with the loaded network or interpolation."""
        level = self.level if self.uncertainty or self.report else None
        options = self.tile, self.threads, self.color, self.max_tile, self.consistency
        return _checks(self.model, *options, level, self.uncertainty)

    @property
    def statement(self) -> str:
        """What the half-widths that are written promise, for records; empty without."""
        return reporting.dicom_statement(self.checks).text if self.uncertainty else ""

    def _examination(self, source, target) -> Examination:
        from tfmisr.edge import dicom, images

        header = dicom.read_header(source) if images.detect_format(source) == "DICOM" else None
        units = (
            half_widths.units(header) if header is not None and target.suffix.lower() == ".dcm" else ("gray levels", ())
        )
        options = {"report": self.report, "force": self.force, "suggest": self.suggest}
        return Examination(self.checks, self.scale, str(source), header, units=units, **options)

    def _upscale_array(self, examination, lr, max_val):
        """Returns an image upscaled in integers, and adds it to the examination."""
        self._check_channels(lr)
        sr = self.upscaler(lr, self.scale, max_val)
        examination.add(lr, sr, max_val)
        return sr

    def _upscale_stored(self, examination, lr, levels):
        """The same in float32, not rounded, for stored values of a DICOM image."""
        self._check_channels(lr)
        sr = self.upscaler(lr, self.scale, levels=levels)
        if examination.is_needed:
            examination.add(lr, np.clip(np.rint(sr * np.float32(levels)), 0, np.float32(levels)), levels)
        return sr

    def _check_channels(self, lr):
        if self.upscaler.channels == 1 and lr.shape[-1] == 3:
            raise InputError(
                f"{self.upscaler.name} is for gray images, this one is in color; --color luma upscales its luma "
                "with the network and interpolates its chroma, --model bicubic interpolates all channels"
            )

    def _write_image(self, source, target, intensities, examination):
        from tfmisr.edge import images

        frames = images.iter_images(source, intensities)
        first = next(frames)
        tiff = target.suffix.lower() in (".tif", ".tiff")
        if first.count > 1 and not tiff:
            file_format = "DICOM" if images.detect_format(source) == "DICOM" else "TIFF"
            raise InputError(
                f"{source} holds {first.count} images and {target.suffix} one; name "
                f"{_MULTI_FRAME_TARGETS[file_format]} as --output, or a folder, where {file_format} stays {file_format}"
            )
        upscaled = (self._upscale_frame(image, tiff, examination) for image in itertools.chain([first], frames))
        if first.count == 1:
            upscaled = iter([next(upscaled)])  # an image that cannot be upscaled leaves no folder
        cli.require_writable(target.parent)
        images.write_images(target, upscaled, first.max_val, first.count)
        height, width = (self.scale * side for side in first.pixels.shape[:2])
        pages = f", {first.count} pages" if first.count > 1 else ""
        offset_note = f"; values shifted by {-first.offset:+d}: PNG holds no negative values" if first.offset else ""
        return f"{width}x{height}{pages}{'' if tiff else offset_note}{agreement_of_frames(examination.agreements)}"

    def _upscale_frame(self, image, tiff, examination):
        """Returns the upscaled pixels; in a TIFF those of a signed file are signed."""
        lr = image.pixels.astype(np.float32) / np.float32(image.max_val)
        sr = self._upscale_array(examination, lr, image.max_val)
        return image.to_file_values(sr) if tiff else sr.astype(image.pixels.dtype, copy=False)

    def _write_derived_dicom(self, source, target, intensities, examination):
        from tfmisr.edge import derived

        function = functools.partial(self._upscale_stored, examination)
        remark = functools.partial(reporting.described, examination)
        start = datetime.datetime.fromisoformat(self.when) if self.when else None
        image, report = derived.derive_with_report(
            source,
            derived.LevelUpscaler(function, remark),
            self._product(),
            series_start=start,
            scale=intensities,
        )
        cli.require_writable(target.parent)
        derived.write(image, target)
        examination.derived = image, self._product(), start
        notes = "".join(f"; {remark}" for remark in report.remarks)
        return f"{image.Columns}x{image.Rows}{notes}{agreement_of_frames(examination.agreements)}"

    def _product(self):
        from tfmisr.edge import derived

        upscaler = self.upscaler
        sides = {"tile": self.tile, "max_tile": self.max_tile}
        return derived.Product(
            name="tfmisr",
            version=tfmisr.__version__,
            model=re.sub(r"[^A-Za-z0-9 ._+():/-]", "_", upscaler.name)[:47],
            weights_sha256=upscaler.weights_sha256,
            scale=self.scale,
            ai=upscaler.parameters > 0,
            # Rounding may depend on the tiles, and different pixels need a different UID (D-02).
            runtime=" ".join(f"{key} {side}" for key, side in sides.items() if side is not None),
            consistency=upscaler.consistency,
            uncertainty=self.statement,
            record_times=self.record_times,
        )


def _check_targets(source: pathlib.Path, targets: dict[str, pathlib.Path | None]) -> None:
    for flag, path in targets.items():
        if path is None:
            continue
        cli.check_writable(path.parent)
        if path.exists() and path.samefile(source):
            raise InputError(f"--{flag} would overwrite the input {source}")


@contextlib.contextmanager
def _complete(target: pathlib.Path | None, staged: bool) -> Iterator[pathlib.Path | None]:
    """Yields the path to write a result to; staged, it appears once what comes with it is written too."""
    if not staged or target is None:
        yield target
        return
    with atomic_write(target) as temporary:
        try:
            yield temporary
        except InputError as error:
            raise type(error)(str(error).replace(str(temporary), str(target))) from error
        except OSError as error:
            if error.filename == str(temporary):
                error.filename = str(target)
            raise


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


@functools.lru_cache(maxsize=1)
def _load(model, tile, threads, color, max_tile, consistency):
    return load(model, tile, threads, color, max_tile, consistency)


@functools.lru_cache(maxsize=1)
def _checks(model, tile, threads, color, max_tile, consistency, level, required):
    return Checks.of(_load(model, tile, threads, color, max_tile, consistency), level, threads, required)


__getattr__ = renamed(
    __name__,
    RECORD="tfmisr.inference.output_folder.RECORD",
    Enlarger="BatchUpscaler",
    enlarge_all="upscale_all",
    forget_empty="tfmisr.inference.output_folder.remove_empty",
    recorded="tfmisr.inference.output_folder.bind",
)
