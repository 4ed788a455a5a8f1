"""Split conformal prediction with patients as the exchangeable units.

The score of a patient is the multiplier `r` that the patient needs: the 1 - alpha quantile of error / scale over all
pixels of all of the patient's images. The calibrated multiplier is the k-th smallest of n scores. A new patient's score
lies above it with probability at most delta, if patients are exchangeable; given the calibration patients, the share of
new patients that it serves has a Beta(k, n + 1 - k) distribution, or one that is larger where scores are tied.

References:
    Lei et al., Distribution-Free Predictive Inference for Regression, JASA 2018, https://arxiv.org/abs/1604.04173
    Vovk, Conditional Validity of Inductive Conformal Predictors, ACML 2012, https://arxiv.org/abs/1209.2673
"""

import dataclasses
import math

import numpy as np

_BINS_PER_E = 1000  # of the logarithm of a ratio: quantiles are rounded up, by at most 0.1 %
_LIMIT = 12  # ratios of e^-12 and less, or e^12 and more, are not resolved
_COUNT = 2 * _LIMIT * _BINS_PER_E


def order(patients: int, delta: float, confidence: float | None = None) -> int:
    """Returns k: the multiplier is the k-th smallest of the patients' scores. Too few patients make it larger than n.

    Args:
        patients: Number n of calibration patients.
        delta: Share of new patients that may need more, in (0, 1).
        confidence: `None`: the share holds on average over calibration sets, k = ceil((n + 1) (1 - delta)). Otherwise
            the probability, in (0, 1), that it holds for the set in hand: the smallest k for which the quantile
            1 - confidence of Beta(k, n + 1 - k) is at least 1 - delta.
    """
    if confidence is None:
        return math.ceil((patients + 1) * (1 - delta) - 1e-9)
    from scipy import stats

    k = np.arange(1, patients + 1)
    enough = stats.beta.ppf(1 - confidence, k, patients + 1 - k) >= 1 - delta
    return int(k[enough][0]) if enough.any() else patients + 1


def least_patients(delta: float, confidence: float | None = None) -> int:
    """Returns the smallest number of patients with which `order` has a solution; arguments as there."""
    if confidence is None:
        return math.ceil(1 / delta - 1e-9) - 1
    return math.ceil(math.log(1 - confidence) / math.log(1 - delta) - 1e-9)


def beta_interval(k: int, patients: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the central interval of the share of new patients that a calibration with these k and n serves."""
    from scipy import stats

    tail = (1 - level) / 2
    low, high = stats.beta.ppf([tail, 1 - tail], k, patients + 1 - k)
    return float(low), float(high)


def multiplier(scores: np.ndarray, delta: float, confidence: float | None = None) -> float:
    """Returns the k-th smallest of the patients' scores; infinite for too few patients.

    Args:
        scores: The score of each calibration patient.
        delta: As of `order`.
        confidence: As of `order`.
    """
    k = order(len(scores), delta, confidence)
    return float(np.sort(scores)[k - 1]) if k <= len(scores) else math.inf


def left_out(scores: np.ndarray, delta: float, confidence: float | None = None) -> np.ndarray | None:
    """Returns for each patient whether a calibration with the others serves it; `None` for too few of them.

    Args:
        scores: The score of each patient.
        delta: As of `order`.
        confidence: As of `order`.
    """
    k = order(len(scores) - 1, delta, confidence)
    if k > len(scores) - 1:
        return None
    ordered = np.sort(scores)
    # Without a score among the k smallest, the k-th of the others is the next one.
    return np.asarray(scores) <= np.where(scores <= ordered[k - 1], ordered[k], ordered[k - 1])


@dataclasses.dataclass
class Ratios:
    """The distribution of error / scale over the pixels of one patient, in memory that does not grow with the images.

    Attributes:
        counts: Number of pixels in each bin of the logarithm.
    """

    counts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(_COUNT + 1, np.int64))

    def add(self, logarithms: np.ndarray) -> None:
        """Adds pixels.

        Args:
            logarithms: log(error / scale), any shape; -inf where the error is 0.
        """
        scaled = np.clip(logarithms, -_LIMIT, _LIMIT).ravel() * np.float32(_BINS_PER_E)
        bins = np.ceil(scaled).astype(np.int32) + _LIMIT * _BINS_PER_E
        self.counts += np.bincount(bins, minlength=len(self.counts))

    @property
    def pixels(self) -> int:
        """Number of pixels that were added."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float:
        """Returns the smallest ratio, rounded up to a bin, that at least a share of the pixels do not exceed.

        Infinite where that is beyond the bins, nan without pixels.
        """
        if not self.pixels:
            return math.nan
        needed = math.ceil(share * self.pixels - 1e-6)
        at = int(np.searchsorted(np.cumsum(self.counts), max(needed, 1)))
        return math.inf if at == _COUNT else math.exp((at - _LIMIT * _BINS_PER_E) / _BINS_PER_E)
