"""Derives the map of the half-widths of an upscaled image's intervals: for each pixel w, so that SR +- w covers (T-20).

    statement = HalfWidthStatement(alpha=0.1, delta=0.1, multiplier=1.22, patients=57)
    write(derive_half_width(sr, w, statement, product), "out.half_width.dcm")

Images with a plane in the patient (CT, MR, PET, Enhanced) get a Parametric Map (PS3.3 A.75). Projections and ultrasound
have no Frame of Reference, which it requires; they get a Multi-frame Grayscale Word Secondary Capture (PS3.3 A.8.4).
"""

import dataclasses
import datetime
import math
import os
import string

import numpy as np
import pydicom

from tfmisr.edge import dicom_file, element_values
from tfmisr.edge.derived import encoding, half_width_values, parametric_map, removed_attributes, secondary_capture
from tfmisr.edge.derived.eligibility import ALLOWED
from tfmisr.edge.derived.half_width_attributes import Map
from tfmisr.edge.derived.half_width_values import Quantized
from tfmisr.edge.derived.product import NOT_TESTED, UNKNOWN, Product
from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True)
class HalfWidthStatement:
    """What the calibration of half-widths guarantees for a new patient (T-12).

    Attributes:
        alpha: At most this fraction of the pixels of a patient's images may lie outside of SR +- w.
        delta: At most this fraction of patients may have more of them outside.
        multiplier: Calibrated factor of the learned scale, lambda.
        patients: Number of patients it was calibrated on, n.
        head_sha256: SHA-256 of the weights of the network that estimated the scale; may be empty.
    """

    alpha: float
    delta: float
    multiplier: float
    patients: int
    head_sha256: str = ""

    def __post_init__(self) -> None:
        for field in ("alpha", "delta"):
            if not 0 < getattr(self, field) < 1:
                raise ValueError(f"`{field}` must be between 0 and 1. Received: {getattr(self, field)}")
        if not math.isfinite(self.multiplier) or self.multiplier <= 0 or self.patients < 1:
            received = f"{self.multiplier} and {self.patients}"
            raise ValueError(f"`multiplier` must be positive, `patients` at least 1. Received: {received}")
        if set(self.head_sha256) - set(string.hexdigits) or len(self.head_sha256) > 64:
            raise ValueError("`head_sha256` must be hexadecimal")

    @property
    def intervals(self) -> str:
        """Percent of pixels and of patients, such as "90/90"."""
        return f"{100 * (1 - self.alpha):.4g}/{100 * (1 - self.delta):.4g}"

    @property
    def text(self) -> str:
        """The statement in words, for `Product.uncertainty` and so for the image's Derivation Description (T-22)."""
        pixels, patients = self.intervals.split("/")
        return (
            f"{pixels} % of the pixels within SR +- w for {patients} % of patients (alpha {self.alpha:.6g}, delta "
            f"{self.delta:.6g}, lambda {self.multiplier:.6g}, n {self.patients} patients)"
        )


def derive_half_width(
    sr: str | os.PathLike | pydicom.Dataset,
    half_width: np.ndarray,
    statement: HalfWidthStatement,
    product: Product,
    when: datetime.datetime | None = None,
    series_start: datetime.datetime | None = None,
    float_pixels: bool = False,
) -> pydicom.Dataset:
    """Returns the map as a new Data Set with `file_meta`, for `tfmisr.edge.derived.write`.

    Args:
        sr: The upscaled image, as `derive` returns it, or its file.
        half_width: (rows, columns) or (frames, rows, columns), in units of the rescaled values of `sr` (`to_rescaled`);
            with an axis of color channels at the end, their largest is used. Stored values are rounded up.
        statement: What the half-widths guarantee.
        product: The producer of `sr`; its `applicability` is stated in the map too.
        when: Time of processing, with a time zone; by default the current time.
        series_start: Time when processing of the series started, as for `derive`.
        float_pixels: Write Float Pixel Data instead of 16-bit integers; for a Parametric Map only, and many viewers do
            not show it.

    Raises:
        InputError: `sr` is not an image that has been derived, or lacks what a map needs; or half-widths have another
            shape, are negative, or are not finite.
    """
    name = "the upscaled image" if isinstance(sr, pydicom.Dataset) else os.fspath(sr)
    with dicom_file.raise_input_errors(name):
        # Without pixels; its values can be accessed without losing their bytes.
        source = dicom_file.load(sr)
        if "PixelData" not in source:
            raise InputError(f"expected an upscaled image, found no {element_values.label('PixelData')}")
        ds = removed_attributes.copy_remaining(source, dataclasses.replace(product, keep_private=()))
        _check(ds, product, float_pixels)
        made = Map(
            sr=ds,
            values=_quantized(ds, half_width, float_pixels),
            product=product,
            identity=_identity(statement, float_pixels),
            text=_text(statement, product),
            intervals=statement.intervals,
            when=when or datetime.datetime.now(datetime.timezone.utc),
            series_start=series_start or when,
        )
        target = (parametric_map if _has_plane(ds) else secondary_capture).assemble(made)
        encoding.write_file_meta(target, dataclasses.replace(product, lossless="") if float_pixels else product)
    return target


def to_rescaled(sr: pydicom.Dataset, half_width: np.ndarray) -> np.ndarray:
    """Returns half-widths in units of rescaled values (HU, for CT), from half-widths in stored values.

    Args:
        sr: The upscaled image.
        half_width: As for `derive_half_width`.

    Raises:
        InputError: The shape is wrong, or a Modality LUT Sequence maps the values.
    """
    slopes, values = half_width_values.rescale_slopes(sr), half_width_values.frames_of(sr, half_width)
    if set(slopes) == {1.0}:
        return values
    return values * np.array(slopes, np.float64)[:, np.newaxis, np.newaxis]


def _has_plane(ds: pydicom.Dataset) -> bool:
    return ds.SOPClassUID in parametric_map.SOP_CLASSES


def _check(ds: pydicom.Dataset, product: Product, float_pixels: bool) -> None:
    element_values.check(ds)
    described = [str(item.get("ContributionDescription", "")) for item in ds.get("ContributingEquipmentSequence") or ()]
    if not any(text.startswith(f"Super-resolution x{product.scale} ") for text in described):
        raise InputError(
            f"expected an image that tfmisr has upscaled x{product.scale}, to which the half-widths belong"
        )
    if ds.get("SOPClassUID") not in ALLOWED:
        raise InputError("its SOP Class is none of those that are upscaled")
    if float_pixels and not _has_plane(ds):
        raise InputError(
            "Float Pixel Data is for Parametric Maps (CT, MR, PET); a Secondary Capture has 16-bit integers"
        )


def _quantized(ds: pydicom.Dataset, half_width: np.ndarray, float_pixels: bool) -> Quantized:
    unit, values = min(half_width_values.rescale_slopes(ds)), half_width_values.frames_of(ds, half_width)
    if float_pixels:
        return half_width_values.to_float32(values)
    if _has_plane(ds):
        return half_width_values.quantize(values, unit)
    secondary_capture.check_unit(unit)
    return half_width_values.quantize(values, unit, secondary_capture.SMALLEST_SLOPE)


def _identity(statement: HalfWidthStatement, float_pixels: bool) -> tuple[str, ...]:
    numbers = (statement.alpha, statement.delta, statement.multiplier)
    more = (statement.head_sha256.lower(), "float" if float_pixels else "")
    return *(repr(float(number)) for number in numbers), *filter(None, more)


def _text(statement: HalfWidthStatement, product: Product) -> str:
    """Returns the sentences for Derivation Description."""
    head = f", uncertainty head sha256 {statement.head_sha256[:12]}" if statement.head_sha256 else ""
    weights = f", weights sha256 {product.weights_sha256[:12]}" if product.weights_sha256 else ""
    outside = f" Not applicable to this image: {product.applicability}." if product.applicability else ""
    outside = UNKNOWN if product.applicability == NOT_TESTED else outside
    return (
        f"Half-widths w of intervals around super-resolution x{product.scale} by {product.name} {product.version}, "
        f"model {product.model}{weights}{head}: {statement.text}. Rounded up; estimated, not acquired.{outside}"
    )
