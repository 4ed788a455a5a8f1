"""Derives an upscaled image from a source image, and writes it to a file."""

import dataclasses
import datetime
import logging
import os
import pathlib
import warnings

import pydicom

from tfmisr.edge import dicom, dicom_file, stored_values
from tfmisr.edge.deprecation import renamed_arguments
from tfmisr.edge.derived import (
    derivation,
    eligibility,
    encoding,
    geometry,
    identity,
    overlays,
    removed_attributes,
    verbatim,
)
from tfmisr.edge.derived.downsampling_consistency import Consistency
from tfmisr.edge.derived.pixels import LevelUpscaler, Pixels, Upscale, upscale_frames
from tfmisr.edge.derived.product import Product
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write
from tfmisr.edge.levels import IntensityScaleChooser

_LOG = logging.getLogger("tfmisr.edge.derived")


@dataclasses.dataclass(frozen=True)
class Report:
    """Information about a derived image that is not stored in it.

    Attributes:
        clipped: Number of samples that the upscaler returned outside the stored range.
        consistency: Difference between the downsampled result and the source, in stored values.
        remarks: Sentences on what was removed or may be wrong.
    """

    clipped: int
    consistency: Consistency
    remarks: tuple[str, ...]

    @property
    def fidelity(self) -> Consistency:
        """Deprecated name of `consistency`."""
        warnings.warn("Report.fidelity is now Report.consistency", DeprecationWarning, stacklevel=2)
        return self.consistency


@renamed_arguments(begun="series_start")
def derive(
    source: str | os.PathLike | pydicom.Dataset,
    upscale: Upscale,
    product: Product,
    when: datetime.datetime | None = None,
    series_start: datetime.datetime | None = None,
    scale: IntensityScaleChooser | None = None,
) -> pydicom.Dataset:
    """Returns the upscaled image as a new Data Set with `file_meta`; the source is not changed.

    Args:
        source: A file, or a data set with `file_meta`.
        upscale: Maps a float32 array (rows, columns, 1 or 3) in [0, 1] to `product.scale` times as many rows and
            columns; or a `LevelUpscaler`.
        product: The producer and its options.
        when: Time of processing, with a time zone; by default the current time.
        series_start: Time when processing of the series started, the same for all its slices; by default `when`. If
            both are `None`, the image has no Series Date and Time, which must be equal throughout a series.
        scale: Intensity scale of the source's series (`tfmisr.edge.series`), the same for all slices; by default the
            file's own. It is used where neither Attributes nor modality define one. If it differs from the file's own,
            so does the UID, and Derivation Description states it.

    Raises:
        InputError: The source is not an image, is broken or must not be upscaled, or the result is inconsistent with it
            (D-07, D-31, D-39, D-44).
    """
    target, report = derive_with_report(source, upscale, product, when, series_start, scale)
    for remark in report.remarks:
        _LOG.warning("%s", remark)
    return target


@renamed_arguments(begun="series_start")
def derive_with_report(
    source: str | os.PathLike | pydicom.Dataset,
    upscale: Upscale,
    product: Product,
    when: datetime.datetime | None = None,
    series_start: datetime.datetime | None = None,
    scale: IntensityScaleChooser | None = None,
) -> tuple[pydicom.Dataset, Report]:
    """Returns the result of `derive` and a report; the remarks of the report are not logged."""
    name = "the data set" if isinstance(source, pydicom.Dataset) else os.fspath(source)
    with dicom_file.raise_input_errors(name):
        ds = dicom_file.load(source)
        target = removed_attributes.copy_remaining(ds, product)  # before anything is decoded
        remarks = eligibility.check_eligibility(ds, product)
        image = stored_values.read(ds)
        ds = image.ds
        for element in image.corrections:
            target[element.tag] = element
    pixels = upscale_frames(image, upscale, product, name, scale)
    product = dataclasses.replace(product, intensities=pixels.intensities)
    if isinstance(upscale, LevelUpscaler) and upscale.applicability:
        product = dataclasses.replace(product, applicability=upscale.applicability())
    with dicom_file.raise_input_errors(name):
        if violation := pixels.consistency.violation(product, _used(ds, pixels)):
            raise InputError(_explained(violation, ds, pixels, product))
        dropped = _assemble(target, ds, pixels, product, when, series_start)
    report = Report(pixels.clipped, pixels.consistency, (*remarks, *image.remarks, *dropped))
    if pixels.clipped:
        _LOG.info("%d samples were clipped to the stored range", pixels.clipped)
    return target, report


def _explained(violation: str, ds: pydicom.Dataset, pixels: Pixels, product: Product) -> str:
    """Adds to a violation what is unusual about the image, and what to do."""
    count = ds.Rows * ds.Columns * ds.SamplesPerPixel * int(ds.get("NumberOfFrames") or 1)
    clipped_fraction = pixels.clipped / (count * product.scale**2)
    causes = []
    if "ModalityLUTSequence" in ds:
        causes.append(f"it has a {label('ModalityLUTSequence')}, which is not applied here")
    if clipped_fraction > 0.01:
        causes.append("many pixels are at the ends of the stored range, as in drawings and test charts")
    reason = f" (of this image: {'; '.join(causes)})" if causes else ""
    return f"{violation}{reason}; write a .png or .tif instead, or use another model"


def _used(ds: pydicom.Dataset, pixels: Pixels) -> int:
    if dicom.hounsfield(ds, 0) is not None:
        return dicom.CT_MAX_VAL + 1
    return (pixels.largest or 0) - (pixels.smallest or 0) + 1


def _assemble(
    target: verbatim.Verbatim,
    ds: pydicom.Dataset,
    pixels: Pixels,
    product: Product,
    when: datetime.datetime | None,
    series_start: datetime.datetime | None,
) -> list[str]:
    """Turns a copy of the source into the derived image; some steps depend on values that later ones replace."""
    now = when or datetime.datetime.now(datetime.timezone.utc)
    remarks = removed_attributes.drop_bitmap_shutter(target)
    remarks += overlays.convert(target, product)
    geometry.update_geometry(target, product)
    derivation.record(target, product, now)
    identity.identify(target, product, now, series_start or when)
    encoding.write_pixels(target, ds, pixels)
    encoding.write_file_meta(target, product)
    return remarks


def write(ds: pydicom.Dataset, path: str | os.PathLike) -> None:
    """Writes a derived image atomically (D-44).

    Raises:
        InputError: The folder does not exist, or a value copied from the source cannot be written.
    """
    if not pathlib.Path(path).parent.is_dir():
        raise InputError(f"the folder {pathlib.Path(path).parent} does not exist; create it first")
    with dicom_file.raise_input_errors(os.fspath(path)), atomic_write(path) as temporary:
        verbatim.check_text(ds)
        ds.save_as(temporary, enforce_file_format=True)
