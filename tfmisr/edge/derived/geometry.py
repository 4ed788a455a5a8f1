"""Updates the Attributes that describe the geometry of a derived image (D-20 to D-29).

A grid maps coordinates along one axis of the source, 0 at the center of the first pixel, to those of the result. Its
convention is a property of the model that upscaled the pixels (D-25).
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import pydicom
from pydicom.valuerep import DSfloat

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.product import Product
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

# Macros of the functional groups that place the plane of a frame (C.7.6.16.2).
_PLANE_MACROS = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")

Coordinate = TypeVar("Coordinate", float, np.ndarray)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The sampling grid of one axis, with `length` pixels in the source and `scale` times as many in the result."""

    length: int
    scale: int
    convention: str

    @property
    def step(self) -> float:
        """Distance between pixels of the result, in pixels of the source."""
        if self.convention == "align_corners" and self.length > 1:
            return (self.length - 1) / (self.scale * self.length - 1)
        return 1 / self.scale

    @property
    def start(self) -> float:
        """Source coordinate of the first pixel of the result."""
        return (self.step - 1) / 2 if self.convention == "half_pixel" else 0.0

    def to_result(self, coordinate: Coordinate) -> Coordinate:
        """Returns the result coordinate of a source coordinate."""
        return (coordinate - self.start) / self.step

    def source_coordinates(self) -> np.ndarray:
        """Returns the source coordinates of all pixels of the result."""
        return self.start + np.arange(self.length * self.scale) * self.step

    def nearest_source_pixels(self) -> np.ndarray:
        """Returns the index of the nearest source pixel for each pixel of the result."""
        return np.clip(np.floor(self.source_coordinates() + 0.5).astype(np.intp), 0, self.length - 1)


def grids(ds: pydicom.Dataset, product: Product) -> tuple[Grid, Grid]:
    """Returns the grids of the row index and of the column index."""
    rows, columns = (Grid(int(n), product.scale, product.convention) for n in (ds.Rows, ds.Columns))
    return rows, columns


def update_geometry(target: pydicom.Dataset, product: Product) -> None:
    """Updates all Attributes that locate pixels.

    Args:
        target: Copy of the source, changed in place; it must still have the Rows and Columns of the source.
        product: Scale and convention.

    Raises:
        InputError: Attributes of the geometry are inconsistent.
    """
    axes = grids(target, product)
    _update_plane(target, target, target, axes)
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        _divide_spacing(target, keyword, axes)
    _update_frames(target, axes)
    _update_edges(target, axes)
    for region in target.get("SequenceOfUltrasoundRegions") or ():
        _update_region(region, axes)
    for item in target.get("MaskSubtractionSequence") or ():
        _update_mask_shift(item, axes)
    target.Rows, target.Columns = (axis.length * axis.scale for axis in axes)


def _update_mask_shift(item: pydicom.Dataset, axes: tuple[Grid, Grid]) -> None:
    """Updates Mask Sub-pixel Shift of subtraction angiography (C.7.6.10), in pixels: vertical, horizontal."""
    shift = item.get("MaskSubPixelShift")
    if shift is not None and len(shift):
        item.MaskSubPixelShift = [float(v) / axis.step for v, axis in zip(shift, axes, strict=True)]


def _decimal(values: Iterable[float]) -> list[DSfloat]:
    # Without auto_format pydicom writes 1/3 with 18 characters; a Decimal String has at most 16.
    return [DSfloat(value, auto_format=True) for value in values]


def _divide_spacing(holder: pydicom.Dataset, keyword: str, axes: tuple[Grid, Grid]) -> None:
    """Divides a spacing of pixels at the patient, detector or film (D-21, D-22): between rows, between columns."""
    values = holder.get(keyword)
    if values is None or len(values) == 0:
        return
    if len(values) != 2:
        raise InputError(f"{label(keyword)} must be 2 decimal numbers, not {len(values)} of them")
    setattr(holder, keyword, _decimal(float(v) * axis.step for v, axis in zip(values, axes, strict=True)))


def _update_plane(
    position: pydicom.Dataset, orientation: pydicom.Dataset, measures: pydicom.Dataset, axes: tuple[Grid, Grid]
) -> None:
    """Moves Image Position (Patient) to the center of the first pixel of the result (D-24)."""
    if not position.get("ImagePositionPatient"):
        return
    spacings = [float(v) for v in measures.get("PixelSpacing") or ()]
    cosines = np.array([float(v) for v in orientation.get("ImageOrientationPatient") or ()])
    if len(spacings) != 2 or len(cosines) != 6 or not np.isfinite(cosines).all():
        needed = f"{label('ImageOrientationPatient')} and {label('PixelSpacing')}"
        raise InputError(f"{label('ImagePositionPatient')} of a frame needs its {needed}")
    # The first three cosines are the direction of a row, along which the column index increases.
    shift = axes[1].start * spacings[1] * cosines[:3] + axes[0].start * spacings[0] * cosines[3:]
    position.ImagePositionPatient = _decimal(np.array(position.ImagePositionPatient, float) + shift)


def _update_frames(target: pydicom.Dataset, axes: tuple[Grid, Grid]) -> None:
    """Updates shared and per-frame functional groups (D-28); positions first, since they depend on the old spacing."""
    shared = (target.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    frames = target.get("PerFrameFunctionalGroupsSequence") or ()
    if "PlanePositionSequence" in shared:
        if any(part in group for group in frames for part in _PLANE_MACROS):
            names = [label(part) for part in _PLANE_MACROS]
            raise InputError(f"{names[0]} in the shared functional groups needs {names[1]} and {names[2]} there too")
        _update_plane(*_plane_macros(shared, shared), axes)
    for group in frames:
        if "PlanePositionSequence" in group:
            _update_plane(*_plane_macros(group, shared), axes)
    for group in (shared, *frames):
        for item in group.get("PixelMeasuresSequence") or ():
            _divide_spacing(item, "PixelSpacing", axes)


def _plane_macros(
    group: pydicom.Dataset, shared: pydicom.Dataset
) -> tuple[pydicom.Dataset, pydicom.Dataset, pydicom.Dataset]:
    """Returns the items with position, orientation and pixel measures that apply to a frame."""
    empty = [pydicom.Dataset()]
    position, orientation, measures = (
        (group.get(keyword) or shared.get(keyword) or empty)[0] for keyword in _PLANE_MACROS
    )
    return position, orientation, measures


def _first_edge(value: float, axis: Grid) -> int:
    """Returns the first pixel of the result within a source pixel; both are counted from 1."""
    return _round(axis.to_result(value - 1 - 0.5) + 0.5) + 1


def _last_edge(value: float, axis: Grid) -> int:
    """Returns the last pixel of the result within a source pixel; both are counted from 1."""
    return _round(axis.to_result(value - 1 + 0.5) - 0.5) + 1


def _center(value: float, axis: Grid) -> int:
    return _round(axis.to_result(value - 1)) + 1


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def _update_edges(target: pydicom.Dataset, axes: tuple[Grid, Grid]) -> None:
    """Updates shutters and collimators, in pixels counted from 1 (C.7.6.11, C.8.7.3; D-29)."""
    rows, columns = axes
    for name in ("Shutter", "Collimator"):
        _update(target, f"{name}LeftVerticalEdge", lambda v: _first_edge(v, columns))
        _update(target, f"{name}RightVerticalEdge", lambda v: _last_edge(v, columns))
        _update(target, f"{name}UpperHorizontalEdge", lambda v: _first_edge(v, rows))
        _update(target, f"{name}LowerHorizontalEdge", lambda v: _last_edge(v, rows))
        _update(target, f"RadiusOfCircular{name}", lambda v: _round(v / columns.step))
        for keyword in (f"CenterOfCircular{name}", f"VerticesOfThePolygonal{name}"):
            points = target.get(keyword)
            if points is not None and len(points):
                setattr(target, keyword, [_center(int(v), axes[i % 2]) for i, v in enumerate(points)])


def _update(holder: pydicom.Dataset, keyword: str, function: Callable[[int], int]) -> None:
    value = holder.get(keyword)
    if value is not None and value != "":
        setattr(holder, keyword, function(int(value)))


def _update_region(region: pydicom.Dataset, axes: tuple[Grid, Grid]) -> None:
    """Updates US Region Calibration (C.8.5.5): the region in pixels from 0, points in it relative to its corner."""
    for letter, axis in (("Y", axes[0]), ("X", axes[1])):
        _update_region_along(region, letter, axis)


def _update_region_along(region: pydicom.Dataset, letter: str, axis: Grid) -> None:
    _update(region, f"RegionLocationMin{letter}0", lambda v: _first_edge(v + 1, axis) - 1)
    _update(region, f"RegionLocationMax{letter}1", lambda v: _last_edge(v + 1, axis) - 1)
    old = region.get(f"PhysicalDelta{letter}")
    if old is not None:
        setattr(region, f"PhysicalDelta{letter}", float(old) * axis.step)
    _update_reference(region, letter, axis, old)
    for keyword in (f"DopplerSampleVolume{letter}Position", f"TMLinePosition{letter}0", f"TMLinePosition{letter}1"):
        _update(region, keyword, lambda v: axis.scale * v + round((axis.scale - 1) / 2))


def _update_reference(region: pydicom.Dataset, letter: str, axis: Grid, old: float | None) -> None:
    """Updates the reference pixel, an integer; its physical value compensates for the rounding."""
    keyword, value = f"ReferencePixel{letter}0", f"ReferencePixelPhysicalValue{letter}"
    rounded = round((axis.scale - 1) / 2)
    _update(region, keyword, lambda v: axis.scale * v + rounded)
    if region.get(keyword) is not None and region.get(value) is not None and old is not None:
        error = rounded - (axis.scale - 1) / 2
        setattr(region, value, float(region[value].value) + error * float(old) / axis.scale)


__getattr__ = renamed(__name__, relocate="update_geometry")
