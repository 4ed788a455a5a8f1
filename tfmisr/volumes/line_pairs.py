"""Training pairs from a volume's own slices: in-plane lines, thickened as its slices are, and interpolated again.

A line of pixels is averaged over the slice profile at the distance of the slices and interpolated by the cubic spline
to the new distance, at the places that these slices and new slices have in the volume. Where the new distance differs
from the pixel spacing, the lines that the network is to restore are resampled to it: averaged where it is larger,
interpolated where it is smaller. So a pair has the geometry of the planes that the network will refine.
"""

import dataclasses
import math

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import resampling
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.slice_profile import SliceProfile

_AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
_FEWEST_SLICES = 3  # of a thickened line: fewer are mostly border
_SAME = 0.005  # relative difference of spacings that is a rounding of headers


@dataclasses.dataclass(frozen=True)
class LinePairs:
    """The two matrices that make a training pair of a line of pixels.

    Attributes:
        degraded: float32 (new samples, pixels): thickened and interpolated.
        target: float32 (new samples, pixels): at the new distance.
        thick: float32 (thick slices, pixels): thickened.
        thick_grid: Grid of the thickened samples, along the first axis.
        thin_grid: Grid of the new samples.
    """

    degraded: np.ndarray
    target: np.ndarray
    thick: np.ndarray
    thick_grid: VolumeGrid
    thin_grid: VolumeGrid

    def sample_of(self, pixel: int) -> int:
        """Returns the new sample at a pixel, or the nearest one."""
        return int(np.argmax(self.target[:, pixel])) if self.target[:, pixel].any() else len(self.target) // 2


def line_pairs(count: int, pixel: float, thick: float, thin: float, profile: SliceProfile) -> LinePairs:
    """Returns the pairs of one in-plane axis.

    Args:
        count: Pixels of the lines.
        pixel: Their distance in mm.
        thick: Distance of the acquired slices in mm.
        thin: Distance of the new slices in mm.
        profile: Profile of the acquired slices.

    Raises:
        InputError: The lines are too short for three slices.
    """
    slices = math.floor(count * pixel / thick + 1e-6)
    while slices >= _FEWEST_SLICES and _grid(slices, thick).with_slice_spacing(thin).extent > count * pixel * 1.000001:
        slices -= 1
    if slices < _FEWEST_SLICES:
        raise InputError(
            f"expected slices of at least {_FEWEST_SLICES * thick:.3g} mm on each side to train on, three times their "
            f"distance. Received: {count * pixel:.3g} mm; use --method spline"
        )
    pixels = _grid(count, pixel)
    thick_grid, thin_grid = _placed(slices, thick, thin, pixels)
    averaging = profile.matrix(thick_grid, pixels)
    degraded = resampling.matrix(thick_grid, thin_grid) @ averaging
    matrices = (degraded, _target(pixels, thin_grid), averaging)
    return LinePairs(*(np.ascontiguousarray(m, np.float32) for m in matrices), thick_grid, thin_grid)


def _grid(count, spacing, origin=0.0):
    return VolumeGrid((count, 1, 1), (spacing, 1.0, 1.0), (0.0, 0.0, origin), _AXES)


def _placed(slices, thick, thin, pixels):
    """Returns the grids in the middle of the line, such that the first new sample is on the center of a pixel."""
    thin_grid = _grid(slices, thick).with_slice_spacing(thin)
    middle = (pixels.extent - thin_grid.extent) / 2 + (thin - pixels.spacing[0]) / 2
    first = math.floor(max(middle, 0.0) / pixels.spacing[0] + 1e-6) * pixels.spacing[0]
    shift = first - thin_grid.origin[2]
    return _grid(slices, thick, shift), _grid(thin_grid.shape[0], thin, first)


def _target(pixels, thin_grid):
    pixel, thin = pixels.spacing[0], thin_grid.spacing[0]
    if thin > pixel * (1 + _SAME):
        return SliceProfile("rectangular", thin).matrix(thin_grid, pixels)
    return resampling.matrix(pixels, thin_grid, "linear" if thin > pixel * (1 - _SAME) else "spline")
