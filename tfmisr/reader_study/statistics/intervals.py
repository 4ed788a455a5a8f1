"""Means over readers and cases, with intervals that hold for other readers and other cases of the same kind."""

import dataclasses
import math

import numpy as np
import scipy.stats

# Draws of a bootstrap held at once, of 8 bytes each.
_CHUNK = 2**22


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its interval.

    Attributes:
        mean: Over all answers there are; None without any.
        low: Lower end, None where there is no interval.
        high: Upper end.
        error: Standard error.
        freedom: Degrees of freedom of the t distribution.
        answers: Number of answers.
        readers: Number of readers.
        cases: Number of cases.
        note: What the interval does not hold for, or why there is none; empty in the ordinary case.
    """

    mean: float | None
    low: float | None
    high: float | None
    error: float | None
    freedom: float | None
    answers: int
    readers: int
    cases: int
    note: str = ""

    def p_value(self, null: float = 0.0) -> float | None:
        """Returns the two-sided p value of `mean == null`; None without an interval."""
        if self.error is None:
            return None
        if self.error == 0:
            return 1.0 if self.mean == null else None
        return float(2 * scipy.stats.t.sf(abs(self.mean - null) / self.error, self.freedom))

    def within(self, low: float, high: float) -> "Interval":
        """Returns the interval cut off at the ends of a scale."""
        if self.low is None:
            return self
        return dataclasses.replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Variance of the mean: what varies with readers (their noise included), and with cases."""

    by_reader: float
    by_case: float
    noise: float
    readers: int
    cases: int


def over_readers_and_cases(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Returns the mean of a table and its interval over readers and cases together.

    Readers and cases are both samples. The variance of the mean is estimated from the mean squares of readers, cases
    and the rest, as Obuchowski and Rockette and Dorfman, Berbaum and Metz do, with Hillis' degrees of freedom; missing
    answers by Henderson's first method. A bootstrap over readers and cases resamples three to five readers, which has
    too few of them to see how much readers differ: in simulations its nominal 95 % covered 88 to 100 %, this one 92
    to 97 %; see benchmarks/study_coverage.py.

    Args:
        values: Array (readers, cases), nan where there is no answer.
        confidence: Coverage of the interval.

    Reference:
        Hillis, A comparison of denominator degrees of freedom methods for multiple observer ROC analysis, Statistics
        in Medicine 2007, https://doi.org/10.1002/sim.2532
        Henderson, Estimation of Variance and Covariance Components, Biometrics 1953,
        https://doi.org/10.2307/3001853
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values).all(axis=1)]
    values = values[:, ~np.isnan(values).all(axis=0)]
    answers = int((~np.isnan(values)).sum())
    size = dict(answers=answers, readers=values.shape[0], cases=values.shape[1])
    if not answers:
        return Interval(None, None, None, None, None, 0, 0, 0, "no answers")
    mean = float(np.nanmean(values))
    if answers == 1:
        return Interval(mean, None, None, None, None, **size, note="one answer: no interval")
    if np.nanmin(values) == np.nanmax(values):
        return Interval(mean, mean, mean, 0.0, math.inf, **size, note="all values are equal: an interval without width")
    variance, freedom, note = _variance(values)
    if variance is None:
        return Interval(mean, None, None, None, None, **size, note=note)
    error = math.sqrt(variance)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Interval(mean, mean - half, mean + half, error, freedom, **size, note=note)


def bootstrap(values: np.ndarray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0):
    """Returns the percentile interval of the mean, drawing readers and cases together; (None, None) without answers.

    Too narrow with few readers that differ, too wide with readers that do not; see `over_readers_and_cases`.

    Reference:
        Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007, https://doi.org/10.1214/07-AOAS122
    """
    values = np.asarray(values, np.float64)
    there = ~np.isnan(values)
    if not there.any():
        return None, None
    rng = np.random.default_rng(seed)
    readers, cases = values.shape
    filled, means = np.where(there, values, 0.0), []
    chunk = max(1, _CHUNK // values.size)
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        by_reader = rng.multinomial(readers, np.full(readers, 1 / readers), count)
        by_case = rng.multinomial(cases, np.full(cases, 1 / cases), count)
        sums = np.einsum("bj,jk,bk->b", by_reader, filled, by_case, optimize=True)
        counts = np.einsum("bj,jk,bk->b", by_reader, there.astype(np.float64), by_case, optimize=True)
        means.append(sums[counts > 0] / counts[counts > 0])
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _variance(values):
    """Returns the variance of the mean, its degrees of freedom, and what it leaves out."""
    readers, cases = values.shape
    if readers == 1 or cases == 1:
        line = values[~np.isnan(values)]
        note = (
            "one reader: the interval is over cases, and holds for this reader only"
            if readers == 1
            else "one case: the interval is over readers, and holds for this case only"
        )
        return float(line.var(ddof=1) / len(line)), len(line) - 1, note
    parts = _mean_squares(values)
    if parts is None:
        return None, None, "too few answers in common: no interval"
    by_reader, by_case = max(parts.by_reader, 0.0), max(parts.by_case, 0.0)
    rest = (readers - 1) * (cases - 1)
    if by_reader <= 1e-12 * parts.noise:  # the readers' means happen to be equal: nothing but noise to go by
        by_reader, degrees = parts.noise, rest
    else:
        degrees = readers - 1
    total = by_reader + by_case
    if total <= 0:
        return None, None, "readers and cases explain all differences: no interval"
    freedom = total**2 / (by_reader**2 / degrees + by_case**2 / (cases - 1))
    note = "two readers: one degree of freedom, so the interval is very wide" if readers == 2 else ""
    return total, freedom, note


def _mean_squares(values):
    """Henderson's first method: three sums of squares, equal to what they are expected to be."""
    there = ~np.isnan(values)
    # The mean square between equal values is exactly 0 only if nothing is left of the mean.
    filled = np.where(there, values - np.nanmean(values), 0.0)
    n, per_reader, per_case = there.sum(), there.sum(axis=1), there.sum(axis=0)
    readers, cases = values.shape
    spread_readers, spread_cases = (per_reader**2).sum() / n, (per_case**2).sum() / n
    total = (filled**2).sum()
    between_readers = (filled.sum(axis=1) ** 2 / per_reader).sum()
    between_cases = (filled.sum(axis=0) ** 2 / per_case).sum()
    middle = filled.sum() ** 2 / n
    expected = np.array(
        [
            [n - spread_readers, readers - spread_cases, readers - 1],
            [cases - spread_readers, n - spread_cases, cases - 1],
            [spread_readers - cases, spread_cases - readers, n - readers - cases + 1],
        ],
        np.float64,
    )
    found = [between_readers - middle, between_cases - middle, total - between_readers - between_cases + middle]
    if np.linalg.cond(expected) > 1e8:
        return None
    reader, case, noise = np.linalg.solve(expected, found)
    noise = max(noise, 0.0)
    return _Parts(reader * spread_readers / n + noise / n, max(case, 0.0) * spread_cases / n, noise / n, readers, cases)
