"""Intraclass correlation coefficients (Shrout and Fleiss) of readers who all rated the same images."""

import dataclasses

import numpy as np
import numpy.typing as npt
import scipy.stats

from tfmisr.reader_study.statistics.mean_squares import MeanSquares, mean_squares

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


def intraclass(
    ratings: npt.ArrayLike,
    confidence: float = 0.95,
    cases: npt.ArrayLike | None = None,
    arms: npt.ArrayLike | None = None,
) -> dict[str, Coefficient]:
    """Returns the four intraclass correlation coefficients of Shrout and Fleiss for crossed designs.

    ICC(2, .) treats readers as a random sample and counts their systematic differences as disagreement; ICC(3, .)
    treats them as fixed and does not. ICC(., 1) is for the score of one reader, ICC(., k) for the mean of all. Images
    that not all readers rated are left out. The intervals come from the F distribution; where images share a case or
    are of several arms, with effective degrees of freedom (see `mean_squares`). Nominal 95 % intervals then covered 93
    to 98 % in simulations, those for independent images 85 to 97 % (benchmarks/agreement_coverage.py).

    Args:
        ratings: Array (images, readers), nan without an answer.
        confidence: Confidence level of the intervals.
        cases: The case of each image (images,); without it, each image is a case of its own.
        arms: The arm of each image (images,), a fixed effect; without it, all images are of one arm.

    Returns:
        Name of the coefficient, one of `FORMS`, to the coefficient.

    Reference:
        Shrout and Fleiss, Intraclass Correlations, Psychological Bulletin 1979,
        https://doi.org/10.1037/0033-2909.86.2.420
        McGraw and Wong, Forming Inferences About Some Intraclass Correlation Coefficients, Psychological Methods
        1996, https://doi.org/10.1037/1082-989X.1.1.30
    """
    ratings = np.asarray(ratings, np.float64)
    complete = ~np.isnan(ratings).any(axis=1)
    cases = np.arange(len(ratings)) if cases is None else np.asarray(cases)
    arms = np.zeros(len(ratings), np.int64) if arms is None else np.asarray(arms)
    ratings, cases, arms = ratings[complete], cases[complete], arms[complete]
    reason = _reason_undefined(ratings)
    if reason:
        return {form: Coefficient(None, None, None, len(ratings), reason) for form in FORMS}
    squares = mean_squares(ratings, cases, arms)
    estimates = _ShroutFleiss(squares, (1 - confidence) / 2).all()
    found = {form: Coefficient(*map(_clipped, limits), len(ratings)) for form, limits in estimates.items()}
    if len(np.unique(cases)) > 1:
        return found
    alone = {"low": None, "high": None, "note": "one case: no interval"}
    return {form: dataclasses.replace(coefficient, **alone) for form, coefficient in found.items()}


def agreement_limits(squares: MeanSquares, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the interval of the agreement of single scores, ICC(2,1), clipped to [-1, 1].

    Args:
        squares: Mean squares of the scores.
        confidence: Confidence level of the interval.
    """
    _, low, high = _ShroutFleiss(squares, (1 - confidence) / 2).all()["ICC(2,1)"]
    return _clipped(low), _clipped(high)


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


def _clipped(value: float) -> float:
    """Clips to [-1, 1]: estimates for the mean of readers can lie below -1."""
    return min(max(value, -1.0), 1.0)


class _ShroutFleiss:
    """Shrout and Fleiss' coefficients with McGraw and Wong's intervals: (value, low, high) each.

    Args:
        squares: The mean squares.
        tail: Probability in each tail of the intervals.
    """

    def __init__(self, squares: MeanSquares, tail: float):
        self.bms, self.jms, self.ems = squares.bms, squares.jms, squares.ems
        self.n, self.k, self.tail = squares.images, squares.readers, tail
        self.freedom = squares.bms_freedom, squares.jms_freedom, squares.ems_freedom

    def all(self) -> dict[str, tuple[float, ...]]:
        """Returns the name of each coefficient in `FORMS` to its (value, low, high)."""
        return dict(zip(FORMS, (*self._absolute(), *self._consistent()), strict=True))

    def _consistent(self):
        k = self.k
        if self.ems <= 1e-12 * self.bms:  # readers differ by constants at most
            return (1.0,) * 3, (1.0,) * 3
        ratio = self.bms / self.ems
        degrees = self.freedom[0], self.freedom[2]
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
        of_images, of_readers, of_residual = self.freedom
        # With a negative coefficient the degrees of freedom can tend to 0, where F has no quantiles.
        degrees = max((a * jms + b * ems) ** 2 / ((a * jms) ** 2 / of_readers + (b * ems) ** 2 / of_residual), 1.0)
        low = scipy.stats.f.isf(self.tail, of_images, degrees)
        high = scipy.stats.f.isf(self.tail, degrees, of_images)
        readers = k * jms + (k * n - k - n) * ems
        return (
            float(n * (bms - low * ems) / (low * readers + n * bms)),
            float(n * (high * bms - ems) / (readers + n * high * bms)),
        )

    def _average(self, single):
        """Spearman-Brown formula from one reader to the mean of `k`, with a pole at `-1 / (k - 1)`."""
        below = 1 + (self.k - 1) * single
        return float(self.k * single / below) if below > 0 else -1.0
