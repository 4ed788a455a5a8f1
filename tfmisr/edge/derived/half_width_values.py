"""Quantizes half-widths to 16-bit integers or 32-bit floats, rounded up: a stored value is never below (T-20)."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pydicom
from pydicom import uid

from tfmisr.edge import dicom
from tfmisr.edge.dicom_file import MAX_BYTES
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

LARGEST = 65535
# Of a stored value of the image: finer steps would say more than the calibration does, and with a fixed step the
# slices of a series have the same slope.
_STEPS = 256
_ROWS_AT_ONCE = 64
_LIMIT = 2.0**53  # the largest power of two that a Decimal String of 16 characters holds exactly
_NO_UNITS = "1", "no units"
_PET_UNITS = {"BQML": ("Bq/ml", "Becquerels/milliliter"), "GML": ("g/ml", "gram/milliliter")}
_RESCALE_TYPES = {"MGML": ("mg/ml", "milligram/milliliter"), "PCT": ("%", "Percent")}  # C.11.1.1.2


@dataclasses.dataclass(frozen=True)
class Quantized:
    """Half-widths as they are stored.

    Attributes:
        data: Frames, one after the other: little-endian uint16, or float32.
        slope: Factor from stored values to half-widths, a power of two; 1 for floats.
        largest: Largest half-width, in the unit of the half-widths.
        is_float: Whether the values are float32.
    """

    data: bytes
    slope: float
    largest: float
    is_float: bool


def frames_of(sr: pydicom.Dataset, half_width: np.ndarray) -> np.ndarray:
    """Returns half-widths (frames, rows, columns); of color channels, the largest.

    Args:
        sr: The upscaled image.
        half_width: (rows, columns) or (frames, rows, columns), perhaps with an axis of channels at the end.

    Raises:
        InputError: The shape is not that of `sr`, or a value is not finite, negative or too large.
    """
    values, expected = np.asarray(half_width), _shape(sr)
    if values.dtype.kind not in "fiu":
        raise InputError(f"half-widths must be real numbers. Received: an array of {values.dtype}")
    channels = [1, *([3] if dicom.channels_of(sr) == 3 else [])]
    if values.shape in {(*shape, n) for shape in _accepted(expected) for n in channels}:
        values = values[..., 0] if values.shape[-1] == 1 else values.max(axis=-1)
    if values.shape not in _accepted(expected):
        raise InputError(
            f"half-widths must have the (frames, rows, columns) of the upscaled image, {expected}. Received: "
            f"{np.asarray(half_width).shape}"
        )
    if not (values.min() >= 0 and values.max() <= _LIMIT):  # false for NaN too
        raise InputError(f"half-widths must be numbers from 0 to {_LIMIT:g}. Received: {_wrong(values)}")
    return values.reshape(expected)


def _shape(sr: pydicom.Dataset) -> tuple[int, int, int]:
    shape = int(sr.get("NumberOfFrames") or 1), int(sr.Rows), int(sr.Columns)
    if min(shape) < 1 or 4 * math.prod(shape) > MAX_BYTES:
        raise InputError(f"the map would have {shape} frames, rows and columns: more than {MAX_BYTES} bytes, or none")
    return shape


def _accepted(expected: tuple[int, int, int]) -> set[tuple[int, ...]]:
    return {expected, expected[1:]} if expected[0] == 1 else {expected}


def _wrong(values: np.ndarray) -> str:
    counts = {
        "not a number": np.isnan(values),
        "infinite": np.isinf(values),
        "negative": values < 0,
        "larger": np.isfinite(values) & (values > _LIMIT),
    }
    return ", ".join(f"{np.count_nonzero(mask)} {name}" for name, mask in counts.items() if mask.any())


def quantize(values: np.ndarray, unit: float, smallest: float = 2.0**-126) -> Quantized:
    """Returns half-widths as unsigned integers with a power of two as slope.

    Args:
        values: From `frames_of`.
        unit: Difference of neighboring stored values of the image, in the unit of the half-widths.
        smallest: Smallest slope, a power of two.
    """
    largest = float(values.max())
    slope = max(2.0 ** (math.frexp(unit)[1] - 1) / _STEPS, smallest)
    while largest > LARGEST * slope:
        slope *= 2
    # Division by a power of two is exact, except below the smallest float64.
    stored = _in_blocks(values, "<u2", lambda block: np.maximum(np.ceil(block / slope), block > 0))
    return Quantized(stored.tobytes(), slope, int(stored.max()) * slope, is_float=False)


def to_float32(values: np.ndarray) -> Quantized:
    """Returns half-widths as float32."""
    rounded = _in_blocks(values, "<f4", _round_up)
    return Quantized(rounded.tobytes(), 1.0, float(rounded.max()), is_float=True)


def _round_up(block: np.ndarray) -> np.ndarray:
    rounded = block.astype(np.float32)
    return np.where(rounded < block, np.nextafter(rounded, np.float32(np.inf)), rounded)


def _in_blocks(values: np.ndarray, dtype: str, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Converts some rows at a time from float64, of which all frames may not fit into memory."""
    result = np.empty(values.shape, dtype)
    for source, target in zip(values, result, strict=True):
        for start in range(0, len(source), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            target[rows] = convert(source[rows].astype(np.float64))
    return result


def rescale_slopes(sr: pydicom.Dataset) -> list[float]:
    """Returns the magnitude of Rescale Slope (0028,1053) of each frame; an intercept does not change a width.

    Raises:
        InputError: The image has a Modality LUT Sequence, which is not linear.
    """
    if "ModalityLUTSequence" in sr:
        raise InputError(
            f"{label('ModalityLUTSequence')} is a table: half-widths of stored values have no single width behind it; "
            "write the half-widths as .npy or .tif"
        )
    frames = range(int(sr.get("NumberOfFrames") or 1))
    slopes = [abs(float(dicom.rescale_item(sr, frame).get("RescaleSlope") or 1)) for frame in frames]
    if not all(math.isfinite(slope) for slope in slopes):
        raise InputError(f"{label('RescaleSlope')} must be a finite number")
    return slopes


def unit_code(sr: pydicom.Dataset) -> tuple[str, str]:
    """Returns code and meaning (UCUM) of the unit of the image's rescaled values; ("1", "no units") of gray levels."""
    count = int(sr.get("NumberOfFrames") or 1)
    if all(dicom.hounsfield(sr, frame) is not None for frame in range(count)):
        return "[hnsf'U]", "Hounsfield unit"
    if sr.SOPClassUID == uid.PositronEmissionTomographyImageStorage:
        return _PET_UNITS.get(sr.get("Units"), _NO_UNITS)
    kinds = {str(dicom.rescale_item(sr, frame).get("RescaleType") or "US") for frame in range(count)}
    return _RESCALE_TYPES.get(kinds.pop(), _NO_UNITS) if len(kinds) == 1 else _NO_UNITS
