"""One slice of a series: a file, or a frame of a multi-frame image, with the Attributes that apply to it."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pydicom

from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

MAX_MM = 1e6  # no scanner is larger than a kilometer; beyond, products overflow


@dataclasses.dataclass(frozen=True, repr=False)
class Slice:
    """A slice before its pixels are decoded.

    Attributes:
        path: Its file.
        header: The Data Set without Pixel Data; of a frame, with its functional groups at the top level.
        frame: Index of the frame, from 0; `None` for a single-frame image.
    """

    path: pathlib.Path
    header: pydicom.Dataset
    frame: int | None = None

    @property
    def position(self) -> np.ndarray:
        """Image Position (Patient): float64 (3,), mm."""
        return self._numbers("ImagePositionPatient", 3)

    @property
    def orientation(self) -> np.ndarray:
        """Image Orientation (Patient): float64 (2, 3), the directions in which the column and the row index grow."""
        return self._numbers("ImageOrientationPatient", 6).reshape(2, 3)

    @property
    def pixel_spacing(self) -> np.ndarray:
        """Pixel Spacing: float64 (2,), mm between rows and between columns."""
        spacing = self._numbers("PixelSpacing", 2)
        if not (spacing > 0).all():
            raise InputError(f"{self.path}: {label('PixelSpacing')} must be above 0")
        return spacing

    @property
    def thickness(self) -> float | None:
        """Slice Thickness in mm, `None` where it is absent or not above 0."""
        return number(self.header.get("SliceThickness"))

    def _numbers(self, keyword: str, count: int) -> np.ndarray:
        value = self.header.get(keyword)
        if value is None or value == "" or len(value) != count:
            raise InputError(
                f"{self.path}: {label(keyword)} is missing: expected a slice with a place in the patient; "
                "use images as the scanner wrote them"
            )
        numbers = np.array([float(v) for v in value])
        if not (np.abs(numbers) < MAX_MM).all():
            raise InputError(f"{self.path}: {label(keyword)} must be finite numbers below {MAX_MM:g}")
        return numbers


def number(value: Any) -> float | None:
    """Returns a positive finite number, `None` for any other value."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if 0 < result < float("inf") else None


def values_of(slices: Iterable[Slice], keyword: str) -> list[str]:
    """Returns the distinct values of an Attribute as sorted text, "" where it is absent."""
    return sorted({str(one.header.get(keyword, "") or "").strip() for one in slices})


def approximate_spacing(slices: list[Slice]) -> float | None:
    """Returns the median distance in mm between neighboring positions, for a list of series; `None` if unknown."""
    try:
        normal = np.cross(*slices[0].orientation)
        places = np.unique(np.round([one.position @ normal for one in slices], 3))
    except (InputError, IndexError):
        return None
    return float(np.median(np.diff(places))) if len(places) > 1 else None
