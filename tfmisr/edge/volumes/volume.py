"""`Volume`: values of a CT or MR volume with the grid they lie on."""

import dataclasses

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes.grid import VolumeGrid


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume in the unit of its source.

    Args:
        values: float32 (slices, rows, columns): after the Modality LUT, HU for CT; for NIfTI after `scl_slope`.
        grid: Where the voxels lie.
        slice_thickness: mm over which a slice averages; `None` where the source does not state it.
        modality: `CT`, `MR` or empty, where the source does not state it.

    Raises:
        InputError: `values` and `grid` do not fit.
    """

    values: np.ndarray
    grid: VolumeGrid
    slice_thickness: float | None = None
    modality: str = ""

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape:
            raise InputError(f"expected values of shape {self.grid.shape}. Received: {self.values.shape}")

    @property
    def gap(self) -> float | None:
        """mm between slices that no slice averages over; negative where they overlap; `None` where unknown."""
        return None if self.slice_thickness is None else self.grid.spacing[0] - self.slice_thickness
