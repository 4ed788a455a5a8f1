"""Measures of the calibrated half-width `w` of a model: coverage, width, patients that hold, and rank correlation.

Measured on all pixels of the full image, without regard to `crop_border`, because that is what the calibration
promises: `SR +- w` at the level alpha = 0.1. See `tfmisr.edge.half_width` for the method and its papers.
"""

import numpy as np
from scipy import stats

from tfmisr.metrics._metric import Metric
from tfmisr.metrics._region import pair

ALPHA = 0.1  # level that is measured; the definitions below name it


def _within(y_true, y_pred, max_val, half_width):
    y_true, y_pred = pair(y_true, y_pred, max_val)
    return np.abs(y_true - y_pred) <= np.asarray(half_width, np.float64).reshape(y_true.shape) * max_val


def coverage(y_true: np.ndarray, y_pred: np.ndarray, max_val: float, half_width: np.ndarray) -> float:
    """Share of the pixels and channels whose reference lies within SR +- w."""
    return float(np.mean(_within(y_true, y_pred, max_val, half_width)))


COVERAGE = Metric(
    "coverage",
    coverage,
    "coverage: share of all pixels with |SR - HR| <= w, calibrated for 90 % of a patient's pixels",
    "coverage of 90 % half-width",
    ".3f",
    half_width=True,
    order=180,
)


def interval_width(y_true: np.ndarray, y_pred: np.ndarray, max_val: float, half_width: np.ndarray) -> float:
    """Mean of the half-width w, in stored levels; the interval SR +- w is twice as wide."""
    return float(np.mean(half_width, dtype=np.float64) * max_val)


INTERVAL_WIDTH = Metric(
    "interval_width",
    interval_width,
    "interval width: mean of the half-width w for 90 % of a patient's pixels, in stored levels",
    "90 % half-width [levels]",
    ".2f",
    "lower",
    half_width=True,
    order=181,
)


def pixels_beyond_required(y_true: np.ndarray, y_pred: np.ndarray, max_val: float, half_width: np.ndarray) -> float:
    """Number of pixels within SR +- w minus the 90 % that are required; a patient's images are added."""
    within = _within(y_true, y_pred, max_val, half_width)
    return float(np.count_nonzero(within) - (1 - ALPHA) * within.size)


PATIENTS_HELD = Metric(
    "patients_held",
    pixels_beyond_required,
    "patients held: share of patients with |SR - HR| <= w in at least 90 % of the pixels of all of their images "
    "together; interval: Clopper-Pearson",
    "patients that hold 90 %",
    ".3f",
    half_width=True,
    share_of_patients=True,
    interval=True,
    order=182,
)


def error_correlation(y_true: np.ndarray, y_pred: np.ndarray, max_val: float, half_width: np.ndarray) -> float:
    """Spearman's rank correlation of w and |SR - HR| over the pixels of an image; nan where either is constant."""
    y_true, y_pred = pair(y_true, y_pred, max_val)
    error, width = np.abs(y_true - y_pred).ravel(), np.asarray(half_width).ravel()
    if error.size < 2 or np.ptp(error) == 0 or np.ptp(width) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(error), stats.rankdata(width))[0, 1])


ERROR_CORRELATION = Metric(
    "error_correlation",
    error_correlation,
    "error correlation: Spearman's rank correlation of w and |SR - HR| over the pixels of an image, ties averaged",
    "rank correlation of half-width and error",
    ".3f",
    "higher",
    undefined="the error or the half-width is the same everywhere",
    half_width=True,
    order=183,
)
