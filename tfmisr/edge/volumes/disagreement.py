"""The size of the error of new slices, before calibration: where orientations disagree, and what was added (V-08).

The scale of a voxel is the root mean square, over its neighborhood, of three signs of an error: half the difference of
the results from the sagittal and the coronal planes, what the network added to the interpolation, and the steepness
along the slice axis. The disagreement of orientations is a small ensemble (Lakshminarayanan et al., Simple and Scalable
Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017); alone it tells little, because one network
refined both orientations and errs alike in them. `docs/volumes.md` has the measurements;
`tfmisr.edge.volumes.half_width` calibrates it.
"""

from collections.abc import Sequence

import numpy as np

RADIUS = 2  # voxels: the neighborhood has 5 on each side
STEEPNESS_WEIGHT = 0.25
FLOOR = 0.005  # of the full scale: about one of 256 levels, where nothing is seen of an error
_SLAB = 16  # slices that are computed at once


def scale_map(refined: Sequence[np.ndarray], base: np.ndarray, full_scale: float) -> np.ndarray:
    """Returns the scale of the error of each voxel, above 0.

    Args:
        refined: Results of each orientation, float32 (slices, rows, columns); one, or more.
        base: The interpolation that the network started from, of the same shape.
        full_scale: Difference between the values that the network sees as 1 and 0, in the unit of `base`.

    Returns:
        float32 array of the same shape, in the unit of `base`.
    """
    scale, count, margin = np.empty_like(base, np.float32), len(base), RADIUS + 1
    for start in range(0, count, _SLAB):
        stop = min(start + _SLAB, count)
        part = slice(max(start - margin, 0), min(stop + margin, count))
        signs = _squared_signs([each[part] for each in refined], base[part], full_scale)
        near = _local_mean(signs)[start - part.start : stop - part.start]
        scale[start:stop] = np.sqrt(near + np.float32(FLOOR**2)) * np.float32(full_scale)
    return scale


def _squared_signs(refined: list[np.ndarray], base: np.ndarray, full_scale: float) -> np.ndarray:
    mean = sum(refined) / np.float32(len(refined))
    squared = sum((each - mean) ** 2 for each in refined) / np.float32(len(refined))
    squared += (mean - base) ** 2
    steepness = np.gradient(mean, axis=0) if len(mean) > 1 else np.zeros_like(mean)
    return (squared + (np.float32(STEEPNESS_WEIGHT) * steepness) ** 2) / np.float32(full_scale**2)


def _local_mean(values: np.ndarray) -> np.ndarray:
    """Returns means over neighborhoods of 5 voxels on each side, fewer at the faces of the volume."""
    for axis in range(3):
        count = values.shape[axis]
        sums = np.cumsum(np.moveaxis(values, axis, 0), axis=0, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(sums[:1]), sums])
        first, end = np.maximum(np.arange(count) - RADIUS, 0), np.minimum(np.arange(count) + RADIUS + 1, count)
        means = (sums[end] - sums[first]) / (end - first).reshape(-1, 1, 1)
        values = np.moveaxis(means.astype(np.float32), 0, axis)
    return values
