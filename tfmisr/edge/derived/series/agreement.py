"""Checks, before anything is written, that the new slices agree with the acquired ones (D-31 along the slice axis).

Averaged over the slice profile, the new slices must give the acquired ones again. Slices in the wrong order, at wrong
places or in another unit do not. Interpolation does not take the averaging back, least of all over gaps, so that what
linear interpolation differs by is allowed; `tfmisr.edge.volumes.consistency` makes both agree within half a level
(V-07).
"""

import numpy as np

from tfmisr.edge.derived.series.single_frames import Series
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, resampling
from tfmisr.edge.volumes.slice_matrices import apply
from tfmisr.edge.volumes.slice_profile import SliceProfile

_MEAN = 0.01  # of the range from the 1st to the 99th percentile of the acquired values
_MORE = 1.2  # than linear interpolation differs by


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
    if result.grid.spacing[0] > source.grid.spacing[0]:
        return
    padding = series.slices.padding
    valid = np.ones(source.values.shape, bool) if padding is None else ~padding
    if not valid.any():
        return
    averaging = profile.matrix(source.grid, result.grid)
    usual = averaging @ resampling.matrix(source.grid, result.grid, "linear")
    found = _differences(apply(averaging, result.values), source.values, valid)
    allowed = _differences(apply(usual, source.values), source.values, valid)
    low, high = np.percentile(source.values[valid], (1, 99))
    product, step = series.product, abs(series.mapping.slope)
    if product.mean_limit is not None:
        limit = max(product.mean_limit * step, _MEAN * (high - low), _MORE * allowed[0])
        if found[0] > limit:
            raise InputError(_explained(f"their mean differs by {found[0]:.3g}, limit {limit:.3g}"))
    if product.p99_limit is not None:
        limit = max(product.p99_limit * (high - low), step, _MORE * allowed[1])
        if found[1] > limit:
            raise InputError(_explained(f"1 % of the voxels differ by more than {found[1]:.3g}, limit {limit:.3g}"))


def _differences(averaged: np.ndarray, acquired: np.ndarray, valid: np.ndarray) -> tuple[float, float]:
    """Returns the magnitude of the mean difference, and the 99th percentile of the magnitudes."""
    errors = (averaged - acquired)[valid]
    return abs(float(errors.mean(dtype=np.float64))), float(np.percentile(np.abs(errors), 99))


def _explained(difference: str) -> str:
    return (
        f"averaged over the slice profile, the new slices do not agree with the acquired ones: {difference}; use "
        "another method, or write a .nii.gz instead"
    )
