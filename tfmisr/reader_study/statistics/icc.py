"""Intraclass correlations of readers who all judged the same images."""

import dataclasses

import numpy as np
import scipy.stats

FORMS = ("ICC(2,1)", "ICC(2,k)", "ICC(3,1)", "ICC(3,k)")


@dataclasses.dataclass(frozen=True)
class Coefficient:
    """A measure of agreement.

    Attributes:
        value: None where it is not defined.
        low: Lower end of the interval, None where there is none.
        high: Upper end.
        images: Number of images that it rests on.
        note: Why something is missing; empty in the ordinary case.
    """

    value: float | None
    low: float | None
    high: float | None
    images: int
    note: str = ""


def intraclass(ratings: np.ndarray, confidence: float = 0.95) -> dict[str, Coefficient]:
    """Returns the four intraclass correlations of Shrout and Fleiss for crossed designs.

    (2, .) take readers for a sample of all readers and count their different levels as disagreement, (3, .) do not;
    (., 1) is for one reader's score, (., k) for the mean of all of them. Images that not everybody judged are left
    out. Intervals come from the F distribution.

    Args:
        ratings: Array (images, readers), nan where there is no answer.
        confidence: Coverage of the intervals.

    Returns:
        `FORMS` to coefficients.

    Reference:
        Shrout and Fleiss, Intraclass Correlations, Psychological Bulletin 1979,
        https://doi.org/10.1037/0033-2909.86.2.420
        McGraw and Wong, Forming Inferences About Some Intraclass Correlation Coefficients, Psychological Methods
        1996, https://doi.org/10.1037/1082-989X.1.1.30
    """
    ratings = np.asarray(ratings, np.float64)
    ratings = ratings[~np.isnan(ratings).any(axis=1)]
    images, readers = ratings.shape
    why = _undefined(ratings)
    if why:
        return {form: Coefficient(None, None, None, images, why) for form in FORMS}
    found = _ShroutFleiss(*_mean_squares(ratings), images, readers, (1 - confidence) / 2).all()
    return {form: Coefficient(*map(_bounded, ends), images) for form, ends in found.items()}


def _undefined(ratings):
    images, readers = ratings.shape
    if readers < 2:
        return "one reader: nothing to agree with"
    if images < 2:
        return "fewer than two images that everybody judged"
    if ratings.min() == ratings.max():
        return "all answers are equal: readers agree fully, but no image differs from another"
    if np.ptp(ratings.sum(axis=1)) == 0:
        return "all images have the same mean score: there is nothing to tell apart"
    return ""


def _mean_squares(ratings):
    """Returns the mean squares of images, readers and the rest."""
    images, readers = ratings.shape
    middle = ratings.mean()
    by_image, by_reader = ratings.mean(axis=1), ratings.mean(axis=0)
    rest = ratings - by_image[:, None] - by_reader + middle
    return (
        readers * float(((by_image - middle) ** 2).sum()) / (images - 1),
        images * float(((by_reader - middle) ** 2).sum()) / (readers - 1),
        float((rest**2).sum()) / ((images - 1) * (readers - 1)),
    )


def _bounded(value):
    """Estimates and ends below -1, which averages can reach, say no more than -1."""
    return min(max(value, -1.0), 1.0)


class _ShroutFleiss:
    """Shrout and Fleiss' coefficients with McGraw and Wong's intervals: (value, low, high) each."""

    def __init__(self, images_square, readers_square, rest_square, images, readers, tail):
        self.bms, self.jms, self.ems = images_square, readers_square, rest_square
        self.n, self.k, self.tail = images, readers, tail

    def all(self):
        return dict(zip(FORMS, (*self._absolute(), *self._consistent()), strict=True))

    def _consistent(self):
        k = self.k
        if self.ems <= 1e-12 * self.bms:  # readers differ by constants only
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
        """Spearman and Brown's step from one reader to the mean of `k`, with a pole at `-1 / (k - 1)`."""
        below = 1 + (self.k - 1) * single
        return float(self.k * single / below) if below > 0 else -1.0
