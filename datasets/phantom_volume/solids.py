"""Ellipsoids and round tubes in patient coordinates, and the voxels of a grid that they cover."""

import dataclasses

import numpy as np

from tfmisr.edge.volumes import VolumeGrid


@dataclasses.dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid of one value.

    Args:
        center: Patient coordinates in mm.
        radii: Half axes in mm along x, y, z before the rotation.
        value: What is inside, in the unit of the volume.
        turn: Rotation about the patient's z axis in radians.
    """

    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    value: float
    turn: float = 0.0

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lowest and the highest x, y, z, mm."""
        extent = np.linalg.norm(self._rotation() * self.radii, axis=1)
        return self.center - extent, self.center + extent

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Returns whether points (3, ...) lie inside or on the surface."""
        local = np.tensordot(self._rotation().T, points - _column(self.center, points), 1)
        return np.sum(np.square(local / _column(self.radii, points)), axis=0) <= 1

    def volume(self) -> float:
        """Returns the volume in mm³."""
        return float(4 / 3 * np.pi * np.prod(self.radii))

    def _rotation(self):
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


@dataclasses.dataclass(frozen=True)
class Tube:
    """A straight piece of a vessel with round ends.

    Args:
        start: Patient coordinates of the center of one end, mm.
        end: Of the other end.
        radius: mm.
        value: What is inside, in the unit of the volume.
    """

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    value: float

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lowest and the highest x, y, z, mm."""
        return np.minimum(self.start, self.end) - self.radius, np.maximum(self.start, self.end) + self.radius

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Returns whether points (3, ...) are at most `radius` from the axis."""
        axis = np.subtract(self.end, self.start)
        away = points - _column(self.start, points)
        along = np.clip(np.tensordot(axis, away, 1) / max(float(axis @ axis), 1e-12), 0, 1)
        return np.sum(np.square(away - along * _column(axis, points)), axis=0) <= self.radius**2

    def volume(self) -> float:
        """Returns the volume in mm³."""
        length = float(np.linalg.norm(np.subtract(self.end, self.start)))
        return float(np.pi * self.radius**2 * (length + 4 / 3 * self.radius))


Solid = Ellipsoid | Tube


class Scene:
    """Solids on a grid; later ones cover earlier ones.

    Args:
        solids: The solids.
        grid: Where the voxels lie.
        samples: Points per voxel and axis within a slice, at the centers of equal parts of the voxel.
        background: Value outside of all solids.
    """

    def __init__(self, solids: list[Solid], grid: VolumeGrid, samples: int, background: float):
        self._grid, self._samples, self._background = grid, samples, background
        self._rows, self._columns = ((np.arange(n * samples) + 0.5) / samples - 0.5 for n in grid.shape[1:])
        inverse = np.linalg.inv(grid.affine)
        self._solids = [(solid, *_index_bounds(solid, inverse)) for solid in solids]

    def slice_mean(self, index: float) -> np.ndarray:
        """Returns the means over the voxels of one infinitely thin slice, float64 (rows, columns).

        Args:
            index: Slice index; fractions lie between slices.
        """
        plane = np.full((self._rows.size, self._columns.size), self._background, np.float32)
        for solid, low, high in self._solids:
            if low[0] <= index <= high[0]:
                rows = slice(*np.searchsorted(self._rows, (low[1], high[1])))
                columns = slice(*np.searchsorted(self._columns, (low[2], high[2])))
                inside = solid.covers(self._points(index, self._rows[rows], self._columns[columns]))
                plane[rows, columns][inside] = solid.value
        shape = self._grid.shape
        return plane.reshape(shape[1], self._samples, shape[2], self._samples).mean(axis=(1, 3), dtype=np.float64)

    def _points(self, index, rows, columns):
        affine = self._grid.affine
        start = (affine[:3, 3] + affine[:3, 0] * index)[:, None, None]
        return start + affine[:3, 1, None, None] * rows[:, None] + affine[:3, 2, None, None] * columns


def _column(vector, points):
    return np.reshape(vector, (3, *[1] * (points.ndim - 1)))


def _index_bounds(solid, inverse):
    """Returns the lowest and the highest slice, row and column that the solid's box covers."""
    corners = np.array(np.meshgrid(*zip(*solid.bounds(), strict=True), indexing="ij")).reshape(3, 8)
    places = (inverse @ np.vstack([corners, np.ones(8)]))[:3]
    return places.min(axis=1), places.max(axis=1)
