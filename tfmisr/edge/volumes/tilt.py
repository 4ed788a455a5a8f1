"""Resamples a sheared stack, as CT with a tilted gantry acquires, to an orthogonal grid.

Slices stay where they are along their normal: each is only moved within its plane, by a fraction of a pixel that is the
same for all its pixels: Lagrange interpolation with six taps, exact for polynomials of degree 5, so that no centroid
moves (T. I. Laakso et al., Splitting the unit delay, IEEE Signal Processing Magazine 13, 1996). The grid is enlarged
within the plane so that no pixel of any slice is lost.
"""

import dataclasses
import math

import numpy as np

from tfmisr.edge.volumes.grid import VolumeGrid, triple


@dataclasses.dataclass(frozen=True)
class Shear:
    """How a sheared grid lies in an orthogonal one.

    Attributes:
        grid: The orthogonal grid.
        shifts: Pixels (rows, columns) by which each slice lies in it: float64 (slices, 2), none negative.
    """

    grid: VolumeGrid
    shifts: np.ndarray


def orthogonal(grid: VolumeGrid) -> Shear:
    """Returns the orthogonal grid of the same slices and pixels that covers a sheared one."""
    row, column = (np.asarray(axis) for axis in grid.directions[1:])
    normal = np.cross(column, row)
    step = np.asarray(grid.directions[0]) * grid.spacing[0]
    sign = 1.0 if step @ normal > 0 else -1.0
    per_slice = np.array([step @ row / grid.spacing[1], step @ column / grid.spacing[2]])
    shifts = np.arange(grid.shape[0])[:, np.newaxis] * per_slice
    before = np.ceil(np.maximum(0, -shifts.min(axis=0)) - 1e-9).astype(int)
    after = np.ceil(np.maximum(0, shifts.max(axis=0)) - 1e-9).astype(int)
    origin = grid.position(0, -float(before[0]), -float(before[1]))
    rows, columns = (int(n + b + a) for n, b, a in zip(grid.shape[1:], before, after, strict=True))
    spacing = (float(abs(step @ normal)), *grid.spacing[1:])
    directions = (triple(sign * normal), *grid.directions[1:])
    return Shear(VolumeGrid((grid.shape[0], rows, columns), spacing, triple(origin), directions), shifts + before)


def resample(values: np.ndarray, shear: Shear, outside: float) -> tuple[np.ndarray, np.ndarray]:
    """Moves each slice to its place in the orthogonal grid.

    Args:
        values: float32 (slices, rows, columns) on the sheared grid.
        shear: From `orthogonal`.
        outside: Value where a slice has no pixels.

    Returns:
        float32 of the shape of `shear.grid`, and a mask that is true where a slice has no pixels.
    """
    result = np.empty(shear.grid.shape, np.float32)
    mask = np.empty(shear.grid.shape, bool)
    for index, (rows, columns) in enumerate(shear.shifts):
        moved = _shifted(_shifted(values[index], rows, shear.grid.shape[1]).T, columns, shear.grid.shape[2]).T
        inside = np.ix_(*(_covered(n, s, m) for n, s, m in _sides(values.shape, (rows, columns), shear.grid.shape)))
        mask[index] = True
        mask[index][inside] = False
        result[index] = np.where(mask[index], np.float32(outside), moved)
    return result, mask


def _sides(shape: tuple, shifts: tuple, size: tuple) -> list[tuple[int, float, int]]:
    return [(shape[1], shifts[0], size[1]), (shape[2], shifts[1], size[2])]


def _covered(length: int, shift: float, size: int) -> np.ndarray:
    """Returns the indices of the result whose centers lie within the outer faces of the slice."""
    places = np.arange(size) - shift
    return np.flatnonzero((places >= -0.5) & (places <= length - 0.5))


def _shifted(values: np.ndarray, shift: float, size: int) -> np.ndarray:
    """Returns float32 (size, n): row `r` of the values lies at `r + shift`; the edges are replicated."""
    start = math.floor(-shift)
    fraction = -shift - start
    result = np.zeros((size, values.shape[1]), np.float32)
    for tap, weight in _taps(fraction):
        index = np.clip(np.arange(size) + start + tap, 0, len(values) - 1)
        result += np.float32(weight) * values[index]
    return result


def _taps(fraction: float) -> list[tuple[int, float]]:
    """Returns (offset, weight) of the rows that contribute at `fraction` of a pixel after row 0; the sum is 1."""
    if min(fraction, 1 - fraction) < 1e-6:
        return [(round(fraction), 1.0)]
    offsets = range(-2, 4)
    return [(o, math.prod((fraction - m) / (o - m) for m in offsets if m != o)) for o in offsets]
