"""Sorts slices along their normal and finds the grid they lie on, from position and orientation alone (V-02).

Instance Number, Slice Location and Spacing Between Slices are not used: they are often missing or wrong. Tolerances:

* `ORIENTATION` pixels: how far the corner of a slice may lie from where the orientation of the first slice puts it.
* `SPACING`: how far a slice may lie from its place in an equidistant stack, as a part of the spacing. At a ratio of 5
  that is a tenth of the new spacing, and positions rounded to 0.01 mm pass at spacings from 0.25 mm on.
* `IN_PLANE` pixels: the same within the plane.
* `TILT`: the shear of a stack, mm per mm, that is rounding of the orientation, as in ITK and highdicom (1e-3). The grid
  keeps even this shear: `VolumeGrid.directions` is the direction of the positions, not the normal.
"""

import dataclasses
import math

import numpy as np

from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted, three_digits
from tfmisr.edge.volumes import gaps, selection
from tfmisr.edge.volumes.grid import VolumeGrid, triple
from tfmisr.edge.volumes.slices import Slice

ORIENTATION, SPACING, IN_PLANE, TILT = 0.1, 0.02, 0.1, 1e-3
_UNIT = 1e-3  # deviation of direction cosines from orthonormal ones that is rounding
_SAME_PLACE = 1e-3  # mm


@dataclasses.dataclass(frozen=True)
class Stack:
    """Slices in order, and their grid.

    Attributes:
        slices: Sorted along the normal, in which the slice index grows.
        grid: Its first direction is orthogonal to the others unless the stack is sheared.
        tilt: Angle in degrees between the normal and the direction of the positions.
    """

    slices: list[Slice]
    grid: VolumeGrid
    tilt: float

    @property
    def is_tilted(self) -> bool:
        """Whether the stack is sheared, as by a tilted gantry."""
        return math.tan(math.radians(self.tilt)) > TILT


def stack(slices: list[Slice]) -> Stack:
    """Returns the slices in order and their grid.

    Args:
        slices: At least three, of one size, in any order.

    Raises:
        InputError: Mixed orientations or spacings, several slices at one place, missing slices, irregular distances.
    """
    axes = _common_orientation(slices)
    spacing = _common_pixel_spacing(slices)
    normal = np.cross(*axes)
    places = np.array([one.position for one in slices])
    order = np.argsort(places @ normal, kind="stable")
    slices, places = [slices[i] for i in order], places[order]
    along = places @ normal
    _check_distinct(slices, along)
    gaps.check(along, SPACING)
    step = (places[-1] - places[0]) / (len(slices) - 1)
    _check_straight(places, step, axes, spacing)
    return Stack(slices, _grid(slices, places[0], step, axes, spacing), _angle(step, normal))


def _common_orientation(slices: list[Slice]) -> np.ndarray:
    """Returns the unit vectors (2, 3) of the column and the row index."""
    all_axes = np.array([one.orientation for one in slices])
    lengths = np.linalg.norm(all_axes, axis=2)
    skew = np.abs(np.einsum("sa,sa->s", all_axes[:, 0], all_axes[:, 1]))
    if np.abs(lengths - 1).max() > _UNIT or skew.max() > _UNIT:
        raise InputError(f"{label('ImageOrientationPatient')} must be two unit vectors at a right angle")
    half = np.array([slices[0].header.Columns, slices[0].header.Rows])  # extent along each axis, pixels
    moved = np.abs(all_axes - all_axes[0]).max(axis=2) * half
    if moved.max() > ORIENTATION:
        count = len(np.unique(np.round(all_axes.reshape(len(slices), 6), 3), axis=0))
        what = f"{count} orientations" if count > 1 else "orientations that differ slightly"
        raise InputError(f"expected parallel slices. Received: mixed orientations, {what} in {len(slices)} slices")
    column = all_axes[0, 0] / lengths[0, 0]
    row = all_axes[0, 1] - (all_axes[0, 1] @ column) * column
    return np.array([column, row / np.linalg.norm(row)])


def _common_pixel_spacing(slices: list[Slice]) -> np.ndarray:
    spacings = np.array([one.pixel_spacing for one in slices])
    size = np.array([slices[0].header.Rows, slices[0].header.Columns])
    if (np.abs(spacings - spacings[0]) / spacings[0] * size).max() > ORIENTATION:
        low, high = spacings.min(axis=0), spacings.max(axis=0)
        text = " and ".join(f"{three_digits(a)} x {three_digits(b)}" for a, b in (low, high))
        raise InputError(f"expected slices of one kind. Received: mixed spacings: {label('PixelSpacing')} {text} mm")
    return spacings[0]


def _check_distinct(slices: list[Slice], along: np.ndarray) -> None:
    steps = np.diff(along)
    distinct = steps[steps > _SAME_PLACE]
    tolerance = max(_SAME_PLACE, SPACING * float(np.median(distinct))) if distinct.size else np.inf
    places = np.concatenate([[0], np.cumsum(steps > tolerance)])
    if len(set(places.tolist())) < len(slices):
        raise InputError(selection.duplicates_message(slices, places.tolist()))


def _check_straight(places: np.ndarray, step: np.ndarray, axes: np.ndarray, spacing: np.ndarray) -> None:
    """Raises `InputError` where slices are shifted within their plane, other than evenly along the stack."""
    expected = places[0] + np.arange(len(places))[:, np.newaxis] * step
    shift = np.abs((places - expected) @ axes.T) / spacing[::-1]
    if shift.max() > IN_PLANE:
        worst = int(shift.max(axis=1).argmax())
        raise InputError(
            f"expected slices behind each other. Received: {counted(len(places), 'slice')} shifted in their plane, "
            f"slice {worst + 1} by {three_digits(float(shift.max()))} pixels"
        )


def _grid(
    slices: list[Slice], origin: np.ndarray, step: np.ndarray, axes: np.ndarray, spacing: np.ndarray
) -> VolumeGrid:
    distance = float(np.linalg.norm(step))
    shape = (len(slices), int(slices[0].header.Rows), int(slices[0].header.Columns))
    directions = (triple(step / distance), triple(axes[1]), triple(axes[0]))
    return VolumeGrid(shape, triple((distance, *spacing)), triple(origin), directions)


def _angle(step: np.ndarray, normal: np.ndarray) -> float:
    return math.degrees(math.atan2(float(np.linalg.norm(np.cross(step, normal))), float(step @ normal)))
