"""Checks, before anything is written, that the new slices agree with the acquired ones (D-31 along the slice axis).

Averaged over the slice profile, the new slices must give the acquired ones again. Slices in the wrong order, at wrong
places or in another unit do not. The limits are wide enough for interpolation, which does not take the averaging back;
`tfmisr.edge.volumes.consistency` makes both agree within half a level (V-07).
"""

import numpy as np

from tfmisr.edge.derived.series.single_frames import Series
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume
from tfmisr.edge.volumes.slice_matrices import apply
from tfmisr.edge.volumes.slice_profile import SliceProfile

_MEAN = 0.01  # of the range from the 1st to the 99th percentile of the acquired values


def check(series: Series, source: Volume, result: Volume, profile: SliceProfile) -> None:
    """Compares the averages of a new volume with the volume that was acquired.

    Args:
        series: Its product has the limits; `mean_limit` or `p99_limit` of `None` disables one.
        source: The acquired slices.
        result: The new ones; with fewer slices than the source nothing is checked.
        profile: Of the acquired slices.

    Raises:
        InputError: They differ by more than the limits.
    """
    product, padding = series.product, series.slices.padding
    if result.grid.spacing[0] > source.grid.spacing[0]:
        return
    difference = apply(profile.matrix(source.grid, result.grid), result.values) - source.values
    valid = np.ones(source.values.shape, bool) if padding is None else ~padding
    values, errors = source.values[valid], difference[valid]
    if not values.size:
        return
    step = abs(series.mapping.slope)
    low, high = np.percentile(values, (1, 99))
    limit = _MEAN * (high - low)
    mean, p99 = abs(float(errors.mean(dtype=np.float64))), float(np.percentile(np.abs(errors), 99))
    if product.mean_limit is not None and mean > max(product.mean_limit * step, limit):
        raise InputError(_explained(f"their mean differs by {mean:.3g}"))
    if product.p99_limit is not None and p99 > max(product.p99_limit * (high - low), step):
        raise InputError(_explained(f"1 % of the voxels differ by more than {p99:.3g}"))


def _explained(difference: str) -> str:
    return (
        f"averaged over the slice profile, the new slices do not agree with the acquired ones: {difference}; use "
        "another method, or write a .nii.gz instead"
    )
