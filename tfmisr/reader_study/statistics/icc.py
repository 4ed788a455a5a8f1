"""Intraclass correlation coefficients (Shrout and Fleiss) of readers who all rated the same images."""

import dataclasses

import numpy as np
import scipy.stats

FORMS = ("ICC(2,1)", "ICC(2,k)", "ICC(3,1)", "ICC(3,k)")


@dataclasses.dataclass(frozen=True)
class Coefficient:
    """A measure of agreement.

    Attributes:
        value: The coefficient, `None` if it is not defined.
        low: Lower limit of the interval, `None` without one.
        high: Upper limit.
        images: Number of images it is computed from.
        note: Why value or interval is missing; usually empty.
    """

    value: float | None
    low: float | None
    high: float | None
    images: int
    note: str = ""


def intraclass(ratings: np.ndarray, confidence: float = 0.95) -> dict[str, Coefficient]:
    """Returns the four intraclass correlation coefficients of Shrout and Fleiss for crossed designs.

    ICC(2, .) treats readers as a random sample and counts their systematic differences as disagreement; ICC(3, .)
    treats them as fixed and does not. ICC(., 1) is for the score of one reader, ICC(., k) for the mean of all. Images
    that not all readers rated are left out. The intervals come from the F distribution.

    Args:
        ratings: Array (images, readers), nan without an answer.
        confidence: Confidence level of the intervals.

    Returns:
        Name of the coefficient, one of `FORMS`, to the coefficient.

    Reference:
        Shrout and Fleiss, Intraclass Correlations, Psychological Bulletin 1979,
        https://doi.org/10.1037/0033-2909.86.2.420
        McGraw and Wong, Forming Inferences About Some Intraclass Correlation Coefficients, Psychological Methods
        1996, https://doi.org/10.1037/1082-989X.1.1.30
    """
    ratings = np.asarray(ratings, np.float64)
    ratings = ratings[~np.isnan(ratings).any(axis=1)]
    images, readers = ratings.shape
    reason = _reason_undefined(ratings)
    if reason:
        return {form: Coefficient(None, None, None, images, reason) for form in FORMS}
    estimates = _ShroutFleiss(*_mean_squares(ratings), images, readers, (1 - confidence) / 2).all()
    return {form: Coefficient(*map(_clipped, limits), images) for form, limits in estimates.items()}


def _reason_undefined(ratings: np.ndarray) -> str:
    images, readers = ratings.shape
    if readers < 2:
        return "one reader: no agreement between readers"
    if images < 2:
        return "fewer than two images that all readers rated"
    if ratings.min() == ratings.max():
        return "all answers are equal: the readers agree, but the images do not differ"
    if np.ptp(ratings.sum(axis=1)) == 0:
        return "all images have the same mean score: no variance between images"
    return ""


def _mean_squares(ratings: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean squares of images (BMS), readers (JMS) and the residual (EMS)."""
    images, readers = ratings.shape
    grand_mean = ratings.mean()
    by_image, by_reader = ratings.mean(axis=1), ratings.mean(axis=0)
    residual = ratings - by_image[:, None] - by_reader + grand_mean
    return (
        readers * float(((by_image - grand_mean) ** 2).sum()) / (images - 1),
        images * float(((by_reader - grand_mean) ** 2).sum()) / (readers - 1),
        float((residual**2).sum()) / ((images - 1) * (readers - 1)),
    )


def _clipped(value: float) -> float:
    """Clips to [-1, 1]: estimates for the mean of readers can lie below -1."""
    return min(max(value, -1.0), 1.0)


class _ShroutFleiss:
    """Shrout and Fleiss' coefficients with McGraw and Wong's intervals: (value, low, high) each.

    Args:
        bms: Mean square of images.
        jms: Mean square of readers.
        ems: Residual mean square.
        images: Number of images, n.
        readers: Number of readers, k.
        tail: Probability in each tail of the intervals.
    """

    def __init__(self, bms: float, jms: float, ems: float, images: int, readers: int, tail: float):
        self.bms, self.jms, self.ems = bms, jms, ems
        self.n, self.k, self.tail = images, readers, tail

    def all(self) -> dict[str, tuple[float, ...]]:
        """Returns the name of each coefficient in `FORMS` to its (value, low, high)."""
        return dict(zip(FORMS, (*self._absolute(), *self._consistent()), strict=True))

    def _consistent(self):
        k = self.k
        if self.ems <= 1e-12 * self.bms:  # readers differ by constants at most
            return (1.0,) * 3, (1.0,) * 3
        ratio = self.bms / self.ems
        degrees = self.n - 1, (self.n - 1) * (k - 1)
        low = ratio / scipy.stats.f.isf(self.tail, *degrees)
        high = ratio * scipy.stats.f.isf(self.tail, *degrees[::-1])
        single = [float((f - 1) / (f + k - 1)) for f in (ratio, low, high)]
        return tuple(single), tuple(map(self._average, single))

    def _absolute(self):
        k, n, bms, jms, ems = self.k, self.n, self.bms, self.jms, self.ems
        if max(jms, ems) <= 1e-12 * bms:
            return (1.0,) * 3, (1.0,) * 3
        value = (bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n)
        single = value, *self._absolute_ends(value)
        return single, tuple(map(self._average, single))

    def _absolute_ends(self, value):
        k, n, bms, jms, ems = self.k, self.n, self.bms, self.jms, self.ems
        a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
        spread = (a * jms) ** 2 / (k - 1) + (b * ems) ** 2 / ((n - 1) * (k - 1))
        degrees = (a * jms + b * ems) ** 2 / spread
        low = scipy.stats.f.isf(self.tail, n - 1, degrees)
        high = scipy.stats.f.isf(self.tail, degrees, n - 1)
        readers = k * jms + (k * n - k - n) * ems
        return (
            float(n * (bms - low * ems) / (low * readers + n * bms)),
            float(n * (high * bms - ems) / (readers + n * high * bms)),
        )

    def _average(self, single):
        """Spearman-Brown formula from one reader to the mean of `k`, with a pole at `-1 / (k - 1)`."""
        below = 1 + (self.k - 1) * single
        return float(self.k * single / below) if below > 0 else -1.0
