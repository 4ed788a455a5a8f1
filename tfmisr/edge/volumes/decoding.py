"""Decodes the slices of a series one by one into one float32 array, with the Modality LUT applied (PS3.3 C.11.1)."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pydicom

from tfmisr.edge import dicom, dicom_file, modality_lut, stored_values
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale, scale_for_limits
from tfmisr.edge.volumes.slices import Slice


@dataclasses.dataclass(frozen=True)
class Decoded:
    """The values of a series.

    Attributes:
        values: float32 (slices, rows, columns); the lowest value of the image where there is padding.
        padding: Boolean mask of the same shape, `None` without padding.
        limits: Lowest and highest value of the image.
    """

    values: np.ndarray
    padding: np.ndarray | None
    limits: tuple[float, float]


def decode(slices: list[Slice], shape: tuple[int, int, int], shown: Callable = iter) -> Decoded:
    """Decodes slices in their order; a multi-frame file is decoded once, frame by frame.

    Args:
        slices: The slices.
        shape: Slices, rows, columns.
        shown: Wraps the iteration over the files, such as a progress bar.

    Raises:
        InputError: A file cannot be decoded, or differs from its header.
    """
    values, padding = np.empty(shape, np.float32), None
    files: dict[pathlib.Path, list[int]] = {}
    for index, one in enumerate(slices):
        files.setdefault(one.path, []).append(index)
    for path, indices in shown(list(files.items())):
        with np.errstate(over="ignore"), dicom_file.raise_input_errors(str(path)):
            for index, frame, mask in _frames(path, {slices[i].frame or 0: i for i in indices}):
                if frame.shape != shape[1:]:
                    raise InputError("the pixels differ in size from the other slices")
                values[index] = frame
                if not np.isfinite(values[index]).all():
                    raise InputError("Rescale Slope (0028,1053) takes values beyond those of float32")
                if mask is not None and mask.any():
                    padding = np.zeros(shape, bool) if padding is None else padding
                    padding[index] = mask
    return Decoded(values, padding, _fill(values, padding))


def _frames(path: pathlib.Path, wanted: dict[int, int]) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Yields the index of the slice, float values and padding mask of each wanted frame of a file."""
    image = stored_values.read(dicom_file.load(path))
    lut = modality_lut.mapping(image.ds)
    for number, stored in enumerate(image.frames):
        if number in wanted:
            slope, intercept = rescale(image.ds, number)
            yield wanted[number], lut(stored) * slope + intercept, dicom.padding_mask(image.ds, stored)


def rescale(ds: pydicom.Dataset, frame: int = 0) -> tuple[float, float]:
    """Returns Rescale Slope (0028,1053) and Intercept (0028,1052) of a frame; (1, 0) where a table or none applies."""
    if "ModalityLUTSequence" in ds:
        return 1.0, 0.0
    item = dicom.rescale_item(ds, frame)
    slope, intercept = item.get("RescaleSlope"), item.get("RescaleIntercept")
    return 1.0 if slope is None else float(slope), float(intercept or 0)


def _fill(values: np.ndarray, padding: np.ndarray | None) -> tuple[float, float]:
    """Sets padding to the lowest value of the image, in place; returns the limits of the image."""
    if padding is None:
        return float(values.min()), float(values.max())
    if padding.all():
        raise InputError("expected an image, found only Pixel Padding Value (0028,0120)")
    lowest, highest = (float(f(values, where=~padding, initial=s)) for f, s in ((np.min, np.inf), (np.max, -np.inf)))
    values[padding] = lowest
    return lowest, highest


def intensity_scale(slices: list[Slice], limits: tuple[float, float]) -> IntensityScale:
    """Returns the values that map to 0 and 1: fixed for CT in Hounsfield units, otherwise those of the series.

    The full scale of a series is `levels.full_scale` of its values in steps of the largest Rescale Slope, as for single
    images (`tfmisr.edge.series`).
    """
    if all(dicom.hounsfield(one.header, 0) is not None for one in slices):
        return IntensityScale(dicom.LOWEST_HU, dicom.CT_MAX_VAL)
    slope, intercept = max((rescale(one.header) for one in slices), key=lambda pair: abs(pair[0]))
    return scale_of_steps(limits, abs(slope), intercept)


def scale_of_steps(limits: tuple[float, float], slope: float, intercept: float) -> IntensityScale:
    """Returns the scale of values `slope * integer + intercept`, or by their limits where 16 bits do not suffice."""
    # Less than half a step beyond an integer is rounding error of the slopes.
    low, high = math.floor((limits[0] - intercept) / slope + 0.499), math.ceil((limits[1] - intercept) / slope - 0.499)
    try:
        return scale_for_limits(low, high, (slope, intercept))
    except InputError:
        return scale_of_floats(limits)


def scale_of_floats(limits: tuple[float, float]) -> IntensityScale:
    """Returns the scale from the lowest to the highest value."""
    span = limits[1] - limits[0]
    return IntensityScale(0, 65535, (span or 1.0) / 65535, limits[0])
