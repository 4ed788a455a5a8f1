"""Measurement bias: what a reader or a program would measure differently in the restored image.

Differences are restored minus reference, in stored levels: Hounsfield units of a CT slice (`HU + 1024`, `max_val`
4095). Per image each is one number; over patients `tfmisr.evaluation` adds the mean with its interval and the limits
of agreement, mean -+ 1.96 standard deviations of the patients' means.

Bland and Altman, Statistical methods for assessing agreement between two methods of clinical measurement, Lancet 1986,
https://doi.org/10.1016/S0140-6736(86)90837-8
"""

import functools

import numpy as np
from scipy import ndimage

from tfmisr.metrics._metric import Metric
from tfmisr.metrics._region import luma, pair
from tfmisr.metrics.ct_windows import CT_MAX_VAL, WINDOWS

_HU_ZERO = 1024
_MAX_EDGES = 200  # steepest places at which the width of an edge is measured
_REACH = 8  # pixels of an edge's profile to either side
_SAMPLES_PER_PIXEL = 8


def bias(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Mean of restored minus reference over all pixels and channels, in stored levels (HU in CT); 0 is ideal."""
    y_true, y_pred = pair(y_true, y_pred, max_val)
    return float(np.mean(y_pred - y_true))


BIAS = Metric(
    "bias",
    bias,
    "bias: mean of SR - HR in stored levels",
    "bias [levels, HU in CT]",
    "+.3f",
    ideal=0.0,
    interval=True,
    agreement=True,
    order=160,
)


def bias_spread(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Standard deviation over the pixels of restored minus reference, in stored levels (HU in CT); 0 is ideal."""
    y_true, y_pred = pair(y_true, y_pred, max_val)
    return float(np.std(y_pred - y_true))


BIAS_SPREAD = Metric(
    "bias_spread",
    bias_spread,
    "spread: standard deviation of SR - HR in stored levels",
    "spread of differences [levels]",
    ".2f",
    "lower",
    ideal=0.0,
    order=161,
)


def _window_bias(window, y_true, y_pred, max_val):
    """Mean of restored minus reference in HU where the reference lies within a display window."""
    y_true, y_pred = pair(y_true, y_pred, max_val)
    center, width = WINDOWS[window]
    inside = np.abs(y_true - _HU_ZERO - center) <= width / 2
    return float(np.mean((y_pred - y_true)[inside])) if max_val == CT_MAX_VAL and inside.any() else float("nan")


BIAS_LUNG = Metric(
    "bias_lung",
    functools.partial(_window_bias, "lung"),
    "bias in HU where HR is in the lung window, -600 / 1500 HU",
    "bias in the lung window [HU]",
    "+.3f",
    ideal=0.0,
    undefined="no CT slice in Hounsfield units, or nothing of it in this window",
    interval=True,
    agreement=True,
    order=162,
)

BIAS_SOFT_TISSUE = Metric(
    "bias_soft_tissue",
    functools.partial(_window_bias, "soft_tissue"),
    "bias in HU where HR is in the soft tissue window, 50 / 400 HU",
    "bias in the soft tissue window [HU]",
    "+.3f",
    ideal=0.0,
    undefined="no CT slice in Hounsfield units, or nothing of it in this window",
    interval=True,
    agreement=True,
    order=163,
)

BIAS_BONE = Metric(
    "bias_bone",
    functools.partial(_window_bias, "bone"),
    "bias in HU where HR is in the bone window, 400 / 1800 HU",
    "bias in the bone window [HU]",
    "+.3f",
    ideal=0.0,
    undefined="no CT slice in Hounsfield units, or nothing of it in this window",
    interval=True,
    agreement=True,
    order=164,
)


def _area_change(above_hu, y_true, y_pred, max_val):
    """Change of the area of pixels above a threshold, in percent of that in the reference."""
    y_true, y_pred = pair(y_true, y_pred, max_val)
    if max_val != CT_MAX_VAL:
        return float("nan")
    true, pred = ((image - _HU_ZERO > above_hu).sum() for image in (y_true, y_pred))
    return float(100 * (pred / true - 1)) if true else float("nan")


AREA_TISSUE = Metric(
    "area_tissue",
    functools.partial(_area_change, -500),
    "area above -500 HU, change in percent of HR",
    "area above -500 HU, change [%]",
    "+.2f",
    ideal=0.0,
    undefined="no CT slice in Hounsfield units, or nothing of it above the threshold",
    interval=True,
    agreement=True,
    order=165,
)

AREA_BONE = Metric(
    "area_bone",
    functools.partial(_area_change, 200),
    "area above 200 HU, change in percent of HR",
    "area above 200 HU, change [%]",
    "+.2f",
    ideal=0.0,
    undefined="no CT slice in Hounsfield units, or nothing of it above the threshold",
    interval=True,
    agreement=True,
    order=166,
)


def _quantile_shift(quantile, y_true, y_pred, max_val):
    """Quantile of the restored image's values minus that of the reference's, in stored levels."""
    y_true, y_pred = pair(y_true, y_pred, max_val)
    return float(np.quantile(y_pred, quantile) - np.quantile(y_true, quantile))


SHIFT_P5 = Metric(
    "shift_p5",
    functools.partial(_quantile_shift, 0.05),
    "shift of the 5th percentile, SR - HR in stored levels",
    "5th percentile, shift [levels]",
    "+.2f",
    ideal=0.0,
    agreement=True,
    order=167,
)

SHIFT_P95 = Metric(
    "shift_p95",
    functools.partial(_quantile_shift, 0.95),
    "shift of the 95th percentile, SR - HR in stored levels",
    "95th percentile, shift [levels]",
    "+.2f",
    ideal=0.0,
    agreement=True,
    order=168,
)


def edge_width(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Median widening of edges, in pixels of the high-resolution image: 0 is ideal, above 0 is blurred.

    The profiles across the 200 steepest places of the reference are differentiated to line spread functions; of each
    the full width at half maximum (FWHM) is measured in both images. nan where the reference has no such place, as in
    an image that is flat or below 17 pixels.
    """
    y_true, y_pred = (luma(image) for image in pair(y_true, y_pred, max_val))
    profiles = _edge_profiles(y_true)
    if profiles is None:
        return float("nan")
    true, pred = (_full_widths(image, profiles) for image in (y_true, y_pred))
    differences = (pred - true)[np.isfinite(true) & np.isfinite(pred)]
    return float(np.median(differences)) if len(differences) else float("nan")


EDGE_WIDTH = Metric(
    "edge_width",
    edge_width,
    "edge width: median of FWHM(SR) - FWHM(HR) across the 200 steepest places of HR",
    "edges wider by [pixels]",
    "+.3f",
    ideal=0.0,
    undefined="flat, or a side is below 17 pixels",
    agreement=True,
    order=169,
)


def _edge_profiles(image):
    """Returns rows and columns of points on lines across the steepest places, each `(places, points)`, or `None`."""
    if min(image.shape) <= 2 * _REACH:
        return None
    gradient = np.stack([ndimage.gaussian_filter(image, 1.0, order) for order in ((1, 0), (0, 1))])
    steepness = np.hypot(*gradient)
    inner = np.zeros_like(steepness)
    core = (slice(_REACH, -_REACH),) * 2
    inner[core] = steepness[core]
    # One place within each 5 x 5 pixels, so that a single bright marker is not all there is.
    inner[inner < ndimage.maximum_filter(inner, 5)] = 0
    order = np.argsort(inner, axis=None, kind="stable")[::-1][:_MAX_EDGES]
    rows, columns = np.unravel_index(order[inner.ravel()[order] > 1e-9], inner.shape)
    if not len(rows):
        return None
    normals = gradient[:, rows, columns] / steepness[rows, columns]
    along = np.linspace(-_REACH, _REACH, 2 * _REACH * _SAMPLES_PER_PIXEL + 1)
    lines = zip((rows, columns), normals, strict=True)
    return tuple(start[:, None] + normal[:, None] * along for start, normal in lines)


def _full_widths(image, profiles):
    """Returns the full width at half maximum of the line spread function of each profile, in pixels; nan: none."""
    values = ndimage.map_coordinates(image, profiles, order=3, mode="nearest")  # a cubic spline has a derivative
    return np.array([_full_width(row) for row in np.diff(values, axis=1)])


def _full_width(spread):
    middle = len(spread) // 2
    near = slice(middle - _SAMPLES_PER_PIXEL, middle + _SAMPLES_PER_PIXEL + 1)
    top = near.start + int(np.argmax(spread[near]))
    if spread[top] <= 0:
        return np.nan
    below = np.flatnonzero(spread < spread[top] / 2)
    left, right = below[below < top], below[below > top]
    if not (len(left) and len(right)):
        return np.nan
    half = spread[top] / 2
    ends = [_crossing(spread, i, j, half) for i, j in ((left[-1], left[-1] + 1), (right[0], right[0] - 1))]
    return (ends[1] - ends[0]) / _SAMPLES_PER_PIXEL


def _crossing(values, below, above, level):
    return below + (above - below) * (level - values[below]) / (values[above] - values[below])
