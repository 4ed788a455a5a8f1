"""Matrices that act along the slice axis of a volume, applied block by block with NumPy."""

import numpy as np

from tfmisr.edge.banded import Banded
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes.grid import VolumeGrid

_BLOCK = 64  # rows of a block: dense enough for BLAS, and few zeros beside the band are multiplied
_TOLERANCE = 1e-3  # of a voxel
_SLAB = 32  # rows of the volume


def apply(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the products of a matrix with all lines along the slice axis.

    Args:
        matrix: (new slices, slices), usually banded.
        values: (slices, ...), of any number of further axes.

    Returns:
        float32 (new slices, ...).
    """
    flat = np.ascontiguousarray(values, np.float32).reshape(len(values), -1)
    return Banded.of(matrix, _BLOCK).along_rows(flat).reshape(len(matrix), *values.shape[1:])


def row_slabs(rows: int) -> list[slice]:
    """Returns the ranges of rows that are worked on at once, so that what is computed from a volume stays small."""
    return [slice(first, first + _SLAB) for first in range(0, rows, _SLAB)]


def check_same_planes(first: VolumeGrid, second: VolumeGrid) -> None:
    """Checks that two grids differ only in number, distance and offset of the slices.

    Raises:
        InputError: They differ otherwise.
    """
    offset = np.subtract(second.origin, first.origin)
    across = offset - np.dot(offset, first.directions[0]) * np.asarray(first.directions[0])
    same = first.shape[1:] == second.shape[1:] and np.allclose(first.directions, second.directions, atol=1e-4)
    same = same and np.allclose(first.spacing[1:], second.spacing[1:], rtol=1e-4)
    if not same or np.abs(across).max() > _TOLERANCE * min(first.spacing[1:]):
        raise InputError(
            f"expected grids that differ only along the slice axis. Received: {first.shape} at {first.spacing} mm and "
            f"{second.shape} at {second.spacing} mm, or other directions or positions; resample in plane before"
        )
