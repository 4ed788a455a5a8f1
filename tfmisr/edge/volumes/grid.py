"""The regular grid of a volume in the patient coordinate system of DICOM (PS3.3 C.7.6.2.1.1).

Coordinates are in mm, x to the patient's left, y to the back, z to the head. Indices count voxel centers from 0, in the
order of the array: slice, row, column. The outer faces of the volume lie half a voxel beyond the outermost centers.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from tfmisr.edge.errors import InputError

Triple = tuple[float, float, float]


def triple(values: Iterable[float]) -> Triple:
    """Returns three numbers as Python floats."""
    first, second, third = (float(value) for value in values)
    return first, second, third


@dataclasses.dataclass(frozen=True)
class VolumeGrid:
    """Where the voxels of an array (slices, rows, columns) lie.

    Args:
        shape: Slices, rows, columns.
        spacing: Distances between voxel centers in mm along these three axes.
        origin: Patient coordinates of the center of voxel (0, 0, 0), mm.
        directions: Unit vectors in which the slice, row and column index grow. DICOM's Image Orientation (Patient) is
            the direction of the column index, then that of the row index.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    origin: Triple
    directions: tuple[Triple, Triple, Triple]

    @property
    def affine(self) -> np.ndarray:
        """The matrix (4, 4) from (slice, row, column, 1) to patient coordinates in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.transpose(self.directions) * self.spacing
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def extent(self) -> float:
        """Distance in mm between the outer faces along the slice axis."""
        return self.shape[0] * self.spacing[0]

    def position(self, slice_index: float, row: float = 0.0, column: float = 0.0) -> np.ndarray:
        """Returns the patient coordinates (3,) of an index, in mm; fractions lie between voxel centers."""
        return (self.affine @ (slice_index, row, column, 1.0))[:3]

    def with_slice_spacing(self, spacing: float) -> "VolumeGrid":
        """Returns the grid with another distance between slices and the same middle, on half-voxel centers.

        Where the ratio of the spacings is an integer the outer faces are the same; otherwise the number of slices is
        rounded, and both faces move by less than half a new slice.

        Raises:
            InputError: The spacing is not a positive number.
        """
        if not 0 < spacing < float("inf"):
            raise InputError(f"expected a distance between slices above 0 mm. Received: {spacing:g}")
        count = max(1, round(self.extent / spacing))
        shift = (self.extent - self.spacing[0] - (count - 1) * spacing) / 2  # of the first center
        origin = np.asarray(self.origin) + shift * np.asarray(self.directions[0])
        return VolumeGrid((count, *self.shape[1:]), (spacing, *self.spacing[1:]), triple(origin), self.directions)

    def slice_coordinates(self, other: "VolumeGrid") -> np.ndarray:
        """Returns, for each slice of `other` (same axes), its place in slice indices of this grid, float64."""
        start = np.dot(np.subtract(other.origin, self.origin), self.directions[0])
        return (start + np.arange(other.shape[0]) * other.spacing[0]) / self.spacing[0]
