"""Consistency along the slice axis: averaged over the slice profile, the result gives the acquired slices again.

The operator `A` (`SliceProfile.matrix`) acts on each line along the slice axis by itself and has few rows, so that the
projection is exact and not iterative as in two dimensions (`tfmisr.edge.consistency`):

    e = shrink(y - A x, t)      shrink(e, t) = sign(e) max(|e| - t, 0)
    x = x + S e                 with A S = 1

Then `|y - A x| <= t` at every voxel: within the dead zone `t`, the rounding error of the acquired slices that must not
be copied. `S = U (A U)^-1`, where `U` is cubic-spline interpolation, corrects smoothly; detail that the slices do not
determine (the null space of `A`) is kept. Where `A U` is nearly singular, as for slices that overlap much, `S` is the
Moore-Penrose inverse of `A`, which amplifies rounding errors least.

Reference:
    Irani and Peleg, CVGIP 1991 (back-projection); Youla and Webb, IEEE Trans. Medical Imaging 1982 (projections onto
    convex sets); Bahat and Michaeli, Explorable Super Resolution, CVPR 2020 (exact
    consistency by a projection)
"""

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import resampling
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.slice_matrices import apply, row_slabs
from tfmisr.edge.volumes.slice_profile import SliceProfile

DEAD_ZONE = 0.25  # levels of the source: half of what V-07 allows
_LARGEST_GAIN = 4.0  # of a correction at any place, by the sum of absolute weights
_TURNS = 2  # a third one changed less than 0.01 dB


class SliceConsistency:
    """Corrects a volume until its averages over the slice profile are the acquired slices.

    Args:
        profile: Profile of the acquired slices.
        thick: Their grid.
        thin: Grid of the result.

    Raises:
        InputError: The thin slices do not determine the acquired ones: there are fewer of them.
    """

    def __init__(self, profile: SliceProfile, thick: VolumeGrid, thin: VolumeGrid) -> None:
        self.averaging = profile.matrix(thick, thin)
        if thin.shape[0] < thick.shape[0]:
            raise InputError(
                f"expected at least as many thin slices as acquired ones. Received: {thin.shape[0]} and "
                f"{thick.shape[0]}; choose a smaller spacing, or leave consistency out"
            )
        self.correction = _right_inverse(self.averaging, resampling.matrix(thick, thin))

    def correct(
        self, result: np.ndarray, acquired: np.ndarray, level: float = 0.0, lowest: float | None = None
    ) -> None:
        """Corrects a result in place, slab by slab.

        Args:
            result: float32 (thin slices, rows, columns).
            acquired: (thick slices, rows, columns), in the same unit.
            level: Distance between two levels of the acquired values; 0 for values that are not rounded.
            lowest: Value that nothing in the object lies below, such as the lowest acquired one: the result is
                projected onto both sets in turn (projections onto convex sets), at last onto the acquired slices.
        """
        for rows in row_slabs(result.shape[1]):
            for _ in range(1 if lowest is None else _TURNS):
                if lowest is not None:
                    np.maximum(result[:, rows], np.float32(lowest), out=result[:, rows])
                error = acquired[:, rows] - apply(self.averaging, result[:, rows])
                error = np.sign(error) * np.maximum(np.abs(error) - DEAD_ZONE * level, 0)
                result[:, rows] += apply(self.correction, error)

    def largest_error(self, result: np.ndarray, acquired: np.ndarray) -> float:
        """Returns the largest absolute difference between the acquired slices and the averages of a result."""
        errors = (
            np.abs(acquired[:, r] - apply(self.averaging, result[:, r])).max() for r in row_slabs(result.shape[1])
        )
        return float(max(errors))


def _right_inverse(averaging: np.ndarray, interpolation: np.ndarray) -> np.ndarray:
    for basis in (interpolation, averaging.T):
        inverse = basis @ np.linalg.pinv(averaging @ basis)
        if np.abs(inverse).sum(axis=1).max() <= _LARGEST_GAIN:
            break
    inverse[np.abs(inverse) < 1e-9] = 0.0
    return inverse
