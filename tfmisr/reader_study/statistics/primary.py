"""The primary analysis: tests of all pairs of arms by an ordinal mixed model, with a linear model as the fallback."""

import dataclasses
import itertools
import math

import numpy as np
import scipy.stats

from tfmisr.reader_study.statistics import influence, ordinal
from tfmisr.reader_study.statistics.intervals import over_readers_and_cases

ORDINAL = "ordinal mixed model"
LINEAR = "linear mixed model"


@dataclasses.dataclass(frozen=True)
class PairTest:
    """The test of one pair.

    Attributes:
        first: Index of one arm.
        second: Index of the other arm.
        test: `ORDINAL`, or `LINEAR` if the ordinal model has no estimate.
        p_value: Two-sided; `None` without a test.
        odds_ratio: Cumulative odds ratio of a higher score, first arm over second; `None` for the linear model.
        low: Lower limit of its 95 % interval, `None` without one.
        high: Upper limit.
        freedom: Degrees of freedom of the t distribution.
        note: Why the fallback was used, why there is no test, or what it does not generalize to.
    """

    first: int
    second: int
    test: str
    p_value: float | None
    odds_ratio: float | None = None
    low: float | None = None
    high: float | None = None
    freedom: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Primary:
    """The tests of all pairs of one question.

    Attributes:
        pairs: Every pair once, the later arm first.
        arms: Indices of the arms in the ordinal model.
        fit: The ordinal model, `None` without an estimate.
        note: Why arms are not in the model, or why there is no model; usually empty.
    """

    pairs: list[PairTest]
    arms: tuple[int, ...]
    fit: ordinal.Fit | None
    note: str = ""


def test_pairs(scores: np.ndarray) -> Primary:
    """Tests all pairs of arms.

    Odds ratios are those of the ordinal model; standard errors and degrees of freedom come from its pseudo-values (see
    `influence`). If there are reader-by-arm interactions, a nominal 5 % test with the model-based standard errors has a
    type I error of 13 to 39 %, this one of 3 to 7 % (benchmarks/study_coverage.py).

    An arm with all answers at one end of the scale has no finite odds ratio (complete separation). It is left out of
    the ordinal model, and its pairs are tested by the linear model: the mean difference and its standard error over
    readers and cases.

    Args:
        scores: Array (arms, readers, cases) of scores, nan without an answer.
    """
    arms, reason = _finite_arms(scores)
    model = _Model.of(scores[list(arms)]) if len(arms) > 1 else "fewer than two arms with answers that differ"
    if isinstance(model, str):
        model, reason = None, "; ".join(filter(None, [reason, model]))
    pairs = []
    for second, first in itertools.combinations(range(len(scores)), 2):
        if model and {first, second} <= set(arms):
            pairs.append(model.test(arms, first, second))
        else:
            pairs.append(_linear(scores, first, second, reason))
    return Primary(pairs, arms if model else (), model and model.fit, reason)


def within_arms(scores: np.ndarray, arms: tuple[int, ...]) -> ordinal.Fit | None:
    """Returns the ordinal model with reader:arm and case:arm terms, for planning the sample size of a next study.

    Args:
        scores: Array (arms, readers, cases) of scores, nan without an answer.
        arms: Arms in the model: `Primary.arms`.

    Returns:
        The model, or `None` without an estimate.
    """
    try:
        return ordinal.fit(*_long_format(scores[list(arms)]), by_arm=True) if arms else None
    except ordinal.NotFitted:
        return None


def _long_format(scores: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns score, arm, reader and case of each answer, the indices without gaps."""
    arm, reader, case = np.nonzero(~np.isnan(scores))
    answers = scores[arm, reader, case].astype(np.int64)
    return answers, arm, *(np.unique(index, return_inverse=True)[1] for index in (reader, case))


def _finite_arms(scores: np.ndarray) -> tuple[tuple[int, ...], str]:
    """Returns the arms whose answers are not all at one end of the used scale, and a sentence about the others."""
    answered = [i for i, arm in enumerate(scores) if not np.isnan(arm).all()]
    if not answered:
        return (), "no answers"
    low, high = np.nanmin(scores), np.nanmax(scores)
    separated = [i for i in answered if np.nanmax(scores[i]) == low or np.nanmin(scores[i]) == high]
    reason = "an arm with all answers at one end of the scale has no finite odds ratio" if separated else ""
    return tuple(i for i in answered if i not in separated), reason


class _Model:
    """The ordinal model of some arms and the pseudo-values of their effects."""

    def __init__(self, fit: ordinal.Fit, pseudovalues: np.ndarray):
        self.fit, self.pseudovalues = fit, pseudovalues

    @classmethod
    def of(cls, scores: np.ndarray) -> "_Model | str":
        """Returns the model, or why it has no estimate."""
        answers, arm, reader, case = _long_format(scores)
        try:
            fit = ordinal.fit(answers, arm, reader, case)
        except ordinal.NotFitted as error:
            return f"the ordinal model has no estimate: {error}"
        return cls(fit, influence.pseudovalues(fit, arm, reader, case))

    def test(self, arms: tuple[int, ...], first: int, second: int) -> PairTest:
        """Returns the test of one pair of arms; `arms` are those in the model."""
        i, j = arms.index(first), arms.index(second)
        log_odds, _ = self.fit.contrast(i, j)
        interval = over_readers_and_cases(self.pseudovalues[i] - self.pseudovalues[j])
        if not interval.error:
            return PairTest(first, second, ORDINAL, None, math.exp(log_odds), note=interval.note)
        half_width = float(scipy.stats.t.ppf(0.975, interval.freedom)) * interval.error
        p_value = float(2 * scipy.stats.t.sf(abs(log_odds) / interval.error, interval.freedom))
        odds = (_exp(value) for value in (log_odds, log_odds - half_width, log_odds + half_width))
        return PairTest(first, second, ORDINAL, p_value, *odds, interval.freedom, interval.note)


def _exp(value: float) -> float:
    """With one degree of freedom a limit can overflow; it is clipped."""
    return math.exp(min(max(value, -700.0), 700.0))


def _linear(scores: np.ndarray, first: int, second: int, reason: str) -> PairTest:
    interval = over_readers_and_cases(scores[first] - scores[second])
    note = "; ".join(filter(None, [reason, interval.note]))
    return PairTest(first, second, LINEAR, interval.p_value(), freedom=interval.freedom, note=note)
