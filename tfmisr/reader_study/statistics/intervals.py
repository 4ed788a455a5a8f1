"""Means over readers and cases, with intervals for both as random samples (multi-reader multi-case, MRMC)."""

import dataclasses
import math

import numpy as np
import scipy.stats

# Bootstrap weights in memory at a time, of 8 bytes each.
_CHUNK = 2**22


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its interval.

    Attributes:
        mean: Mean of all answers; `None` without any.
        low: Lower limit, `None` without an interval.
        high: Upper limit.
        error: Standard error.
        freedom: Degrees of freedom of the t distribution.
        answers: Number of answers.
        readers: Number of readers.
        cases: Number of cases.
        note: What the interval does not generalize to, or why there is none; usually empty.
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
        """Returns the two-sided p value of `mean == null`; `None` without an interval."""
        if self.error is None:
            return None
        if self.error == 0:
            return 1.0 if self.mean == null else None
        return float(2 * scipy.stats.t.sf(abs(self.mean - null) / self.error, self.freedom))

    def within(self, low: float, high: float) -> "Interval":
        """Returns the interval with its limits clipped to [`low`, `high`], the ends of a scale."""
        if self.low is None:
            return self
        return dataclasses.replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))


@dataclasses.dataclass(frozen=True)
class _VarianceComponents:
    """Components of the variance of the mean: readers (including the residual), cases, and the residual alone."""

    by_reader: float
    by_case: float
    residual: float


def over_readers_and_cases(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Returns the mean of a table and its interval over readers and cases together.

    Readers and cases are both random samples. The variance of the mean is estimated from the mean squares of readers,
    cases and the residual, as by Obuchowski and Rockette and by Dorfman, Berbaum and Metz, with Hillis' degrees of
    freedom; missing answers are handled by Henderson's Method 1. A bootstrap over readers and cases is unreliable with
    three to five readers: in simulations its nominal 95 % interval covered 88 to 100 %, this one 92 to 97 %; see
    benchmarks/study_coverage.py.

    Args:
        values: Array (readers, cases), nan without an answer.
        confidence: Confidence level of the interval.

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
    size = {"answers": answers, "readers": values.shape[0], "cases": values.shape[1]}
    if not answers:
        return Interval(None, None, None, None, None, 0, 0, 0, "no answers")
    mean = float(np.nanmean(values))
    if answers == 1:
        return Interval(mean, None, None, None, None, **size, note="one answer: no interval")
    if np.nanmin(values) == np.nanmax(values):
        return Interval(mean, mean, mean, 0.0, math.inf, **size, note="all values are equal: an interval of width 0")
    variance, freedom, note = _variance(values)
    if variance is None:
        return Interval(mean, None, None, None, None, **size, note=note)
    error = math.sqrt(variance)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Interval(mean, mean - half, mean + half, error, freedom, **size, note=note)


def bootstrap(
    values: np.ndarray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float | None, float | None]:
    """Returns the percentile interval of the mean from a bootstrap over readers and cases (pigeonhole bootstrap).

    It is too narrow with few readers that differ, and too wide with readers that do not; see `over_readers_and_cases`.

    Args:
        values: Array (readers, cases), nan without an answer.
        confidence: Confidence level of the interval.
        resamples: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        Lower and upper limit; (None, None) without answers.

    Reference:
        Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007, https://doi.org/10.1214/07-AOAS122
    """
    values = np.asarray(values, np.float64)
    answered = ~np.isnan(values)
    if not answered.any():
        return None, None
    rng = np.random.default_rng(seed)
    readers, cases = values.shape
    filled, means = np.where(answered, values, 0.0), []
    chunk = max(1, _CHUNK // values.size)
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        by_reader = rng.multinomial(readers, np.full(readers, 1 / readers), count)
        by_case = rng.multinomial(cases, np.full(cases, 1 / cases), count)
        sums = np.einsum("bj,jk,bk->b", by_reader, filled, by_case, optimize=True)
        counts = np.einsum("bj,jk,bk->b", by_reader, answered.astype(np.float64), by_case, optimize=True)
        means.append(sums[counts > 0] / counts[counts > 0])
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _variance(values: np.ndarray) -> tuple[float | None, float | None, str]:
    """Returns the variance of the mean, its degrees of freedom, and a note on its limitations."""
    readers, cases = values.shape
    if readers == 1 or cases == 1:
        line = values[~np.isnan(values)]
        note = (
            "one reader: the interval is over cases and holds for this reader only"
            if readers == 1
            else "one case: the interval is over readers and holds for this case only"
        )
        return float(line.var(ddof=1) / len(line)), len(line) - 1, note
    components = _henderson(values)
    if components is None:
        return None, None, "too few answers in common: no interval"
    by_reader, by_case = max(components.by_reader, 0.0), max(components.by_case, 0.0)
    residual_freedom = (readers - 1) * (cases - 1)
    if by_reader <= 1e-12 * components.residual:  # the readers' means are equal: only the residual is left
        by_reader, degrees = components.residual, residual_freedom
    else:
        degrees = readers - 1
    total = by_reader + by_case
    if total <= 0:
        return None, None, "readers and cases explain all variance: no interval"
    freedom = total**2 / (by_reader**2 / degrees + by_case**2 / (cases - 1))
    note = "two readers: one degree of freedom, so the interval is very wide" if readers == 2 else ""
    return total, freedom, note


def _henderson(values: np.ndarray) -> _VarianceComponents | None:
    """Henderson's Method 1: equates three sums of squares with their expectations; `None` if these are singular."""
    answered = ~np.isnan(values)
    # Centered first: only then is the sum of squares of equal values exactly 0.
    filled = np.where(answered, values - np.nanmean(values), 0.0)
    n, per_reader, per_case = answered.sum(), answered.sum(axis=1), answered.sum(axis=0)
    readers, cases = values.shape
    spread_readers, spread_cases = (per_reader**2).sum() / n, (per_case**2).sum() / n
    total = (filled**2).sum()
    between_readers = (filled.sum(axis=1) ** 2 / per_reader).sum()
    between_cases = (filled.sum(axis=0) ** 2 / per_case).sum()
    correction = filled.sum() ** 2 / n
    expected = np.array(
        [
            [n - spread_readers, readers - spread_cases, readers - 1],
            [cases - spread_readers, n - spread_cases, cases - 1],
            [spread_readers - cases, spread_cases - readers, n - readers - cases + 1],
        ],
        np.float64,
    )
    observed = [
        between_readers - correction,
        between_cases - correction,
        total - between_readers - between_cases + correction,
    ]
    if np.linalg.cond(expected) > 1e8:
        return None
    reader, case, residual = np.linalg.solve(expected, observed)
    residual = max(residual, 0.0)
    return _VarianceComponents(
        reader * spread_readers / n + residual / n, max(case, 0.0) * spread_cases / n, residual / n
    )
