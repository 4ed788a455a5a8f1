"""Through-plane super-resolution by a two-dimensional network that refines the planes along the slice axis.

The volume is interpolated by a cubic spline along the slice axis. The network refines each plane that contains this
axis, once those with the rows (sagittal planes of an axial series) and once those with the columns (coronal planes),
and the results are fused. Planes are refined slab by slab: beside the result, a slab is in memory.

Reference:
    Zhao et al., SMORE: A Self-supervised Anti-aliasing and Super-resolution Algorithm for MRI, IEEE TMI 2021 (planes
    at several rotations; Fourier burst accumulation); Weigert et al., Isotropic reconstruction of 3D fluorescence
    microscopy images, MICCAI 2017 (two orientations, mean)
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from tfmisr.edge.errors import InputError, check_name
from tfmisr.edge.text import counted
from tfmisr.edge.volumes import fusion as fusions
from tfmisr.edge.volumes import resampling, rotation
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.slice_matrices import apply
from tfmisr.edge.volumes.volume import Volume

PLANES = ("sagittal", "coronal")
Predict = Callable[[np.ndarray], np.ndarray]
_GIB = 2**30
_NETWORK_SHARE = 0.15  # of `memory`: what a batch may take within the network
_BYTES_PER_PIXEL = 4 * 64 * 4  # of a network with 64 channels, of which four arrays are in memory at once
_MOST_PLANES = 32  # of a batch


class Scale(Protocol):
    """The values that a network sees as 0 and 1, such as `tfmisr.edge.levels.IntensityScale`."""

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Returns float32 values for the network."""

    def from_unit(self, fractions: np.ndarray) -> np.ndarray:
        """Returns float32 values in the unit of the volume."""


@dataclasses.dataclass(frozen=True)
class UnitScale:
    """A `Scale` by the values of a volume, for a network that is trained on this volume alone.

    Args:
        low: What the network sees as 0.
        high: What it sees as 1.
    """

    low: float
    high: float

    @property
    def shift(self) -> float:
        """`low`, by the name that `IntensityScale` has for it."""
        return self.low

    @property
    def max_val(self) -> float:
        """`high - low`, by the name that `IntensityScale` has for it."""
        return self.high - self.low

    @classmethod
    def of(cls, values: np.ndarray) -> "UnitScale":
        """Returns the scale from the lowest value to the 99.9th percentile; values above it are above 1."""
        low, high = float(values.min()), float(np.percentile(values[:: max(1, len(values) // 32)], 99.9))
        return cls(low, high if high > low else max(float(values.max()), low + 1.0))

    @classmethod
    def like(cls, scale: "Scale") -> "UnitScale":
        """Returns another scale, by the values of the volume that are 0 and 1 in it."""
        low, high = map(float, scale.from_unit(np.array([0.0, 1.0])))
        return cls(low, high)

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """As of `Scale`."""
        return (np.asarray(values, np.float32) - np.float32(self.low)) / np.float32(self.high - self.low)

    def from_unit(self, fractions: np.ndarray) -> np.ndarray:
        """As of `Scale`."""
        return np.asarray(fractions, np.float32) * np.float32(self.high - self.low) + np.float32(self.low)


def upsample(
    volume: Volume,
    grid: VolumeGrid,
    predict: Predict,
    planes: Sequence[str] = PLANES,
    fusion: str = "mean",
    rotations: int = 1,
    scale: Scale | None = None,
    memory: float = 4.0,
    progress: Callable[[float], None] | None = None,
) -> Volume:
    """Returns the volume at another slice spacing, refined by a network.

    Args:
        volume: The acquired slices.
        grid: Target; differs from the volume's only along the slice axis.
        predict: The network: float32 (planes, slices, width, 1) in the unit of `scale`, the cubic-spline interpolation,
            to the refined planes of the same shape.
        planes: `sagittal` (slices, rows) and `coronal` (slices, columns), as the planes of an axial series are called.
        fusion: `mean`, or `fourier`, of each coefficient the one of largest magnitude.
        rotations: Number of rotations about the slice axis, evenly within 90 degrees, at which both planes are refined.
        scale: The values that the network sees as 0 and 1; by default those of `UnitScale.of`.
        memory: GiB that this function may take beside `volume`.
        progress: Called with the fraction of the work that was done since the last call.

    Returns:
        float32 values in the unit of the volume, not rounded, not clipped; slices as thick as they are apart.

    Raises:
        InputError: An unknown plane or fusion, or the result does not fit the memory.
    """
    job = _Job(volume, grid, predict, tuple(planes), fusion, rotations, scale, memory, progress)
    return Volume(job.run(), grid, grid.spacing[0], volume.modality)


@dataclasses.dataclass
class _Job:
    volume: Volume
    grid: VolumeGrid
    predict: Predict
    planes: tuple[str, ...]
    fusion: str
    rotations: int
    scale: Scale | None
    memory: float
    progress: Callable[[float], None] | None

    def __post_init__(self) -> None:
        for plane in self.planes:
            check_name("the plane", plane, list(PLANES))
        check_name("the fusion", self.fusion, list(fusions.FUSIONS))
        if not self.planes or self.rotations < 1:
            raise InputError("expected at least one plane and one rotation")
        self.unit: Scale = self.scale or UnitScale.of(self.volume.values)
        self.matrix = resampling.matrix(self.volume.grid, self.grid)
        check_memory(self.grid, self.memory, self.fusion, self.rotations)

    def run(self) -> np.ndarray:
        low, high = self.unit.from_unit(np.array([0.0, 1.0]))
        fused = fusions.make(self.fusion, self.grid.shape, self._base, float(high - low))
        for index in range(self.rotations):
            turn = rotation.Rotation(90.0 * index / self.rotations, self.volume.values.shape[1:])
            source = turn.forward(self.volume.values)
            for plane in self.planes:
                fused.add(self._residual(source, plane), turn)
        return fused.result()

    def _base(self, rows: slice) -> np.ndarray:
        return apply(self.matrix, self.volume.values[:, rows])

    def _residual(self, source: np.ndarray, plane: str) -> Iterator[tuple[tuple, np.ndarray]]:
        """Yields (index, what the network adds to the interpolation there) of slabs, in the unit of the scale."""
        axis = 1 if plane == "coronal" else 2  # of the array: the one across the planes
        step = self._planes_per_batch(source.shape[3 - axis])
        for first in range(0, source.shape[axis], step):
            index = (slice(None),) * axis + (slice(first, first + step),)
            slab = np.moveaxis(apply(self.matrix, self.unit.to_unit(source[index])), axis, 0)[..., None]
            slab = np.ascontiguousarray(slab, np.float32)
            refined = np.asarray(self.predict(slab), np.float32)
            yield index, np.moveaxis((refined - slab)[..., 0], 0, axis)
            if self.progress:
                done = slab.shape[0] / source.shape[axis]
                self.progress(done / self.rotations / len(self.planes))

    def _planes_per_batch(self, width: int) -> int:
        pixels = self.grid.shape[0] * width
        return int(np.clip(self.memory * _GIB * _NETWORK_SHARE // (_BYTES_PER_PIXEL * pixels), 1, _MOST_PLANES))


def check_memory(grid: VolumeGrid, memory: float, fusion: str = "mean", rotations: int = 1, more: int = 0) -> None:
    """Checks that the result fits a memory in GiB, with the copies of it that the fusion takes.

    Args:
        grid: Grid of the result.
        memory: GiB.
        fusion: As of `upsample`.
        rotations: As of `upsample`.
        more: Further copies that are held at once.

    Raises:
        InputError: It does not; the message says how much is needed.
    """
    copies = max(fusions.copies(fusion, rotations), 1 + more)
    needed = copies * 4 * np.prod(grid.shape, dtype=float) / _GIB / (1 - _NETWORK_SHARE)
    if needed > memory:
        held = f"{counted(copies, 'float32 array')} of {grid.shape[0]} x {grid.shape[1]} x {grid.shape[2]} voxels"
        raise InputError(
            f"expected at least {needed:.1f} GiB for {held}, held at once. Received: --memory {memory:g}; give more, "
            "or a larger spacing"
        )
