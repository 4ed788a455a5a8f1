"""The primary test: every pair of arms in the ordinal mixed model, or in its fallback where that has no estimate."""

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
        second: Index of the other.
        test: `ORDINAL`, or `LINEAR` where that has no estimate.
        p_value: Two-sided; None where there is no test.
        odds_ratio: Odds of a score above any given one, first arm over second; None from the linear model.
        low: Lower end of its 95 % interval, None without one.
        high: Upper end.
        freedom: Degrees of freedom of Student's t.
        note: Why the fallback, why no test, or what it is limited to.
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
        arms: The arms in the ordinal model.
        fit: That model, None where it has no estimate.
        note: Which arms are not in the model and why, or why there is none.
    """

    pairs: list[PairTest]
    arms: tuple[int, ...]
    fit: ordinal.Fit | None
    note: str = ""


def test_pairs(scores: np.ndarray) -> Primary:
    """Tests all pairs of arms.

    Odds ratios are those of the ordinal model; their standard errors and Student's t come from
    `influence`. With the model's own standard errors a nominal 5 % test errs in 13 to 39 % of
    studies where readers differ in how they take to arms; with these, in 3 to 7 % (benchmarks/study_coverage.py).

    An arm with all answers at one end of the scale has no finite odds ratio. It is left out of the ordinal model, and
    its pairs are tested in the linear one: the mean difference by its standard error over readers and cases.

    Args:
        scores: Array (arms, readers, cases) of scores, nan where there is no answer.
    """
    arms, why = _finite_arms(scores)
    model = _Model.of(scores[list(arms)]) if len(arms) > 1 else "fewer than two arms with answers that differ"
    if isinstance(model, str):
        model, why = None, "; ".join(filter(None, [why, model]))
    pairs = []
    for second, first in itertools.combinations(range(len(scores)), 2):
        if model and {first, second} <= set(arms):
            pairs.append(model.test(arms, first, second))
        else:
            pairs.append(_linear(scores, first, second, why))
    return Primary(pairs, arms if model else (), model and model.fit, why)


def within_arms(scores: np.ndarray, arms: tuple[int, ...]) -> ordinal.Fit | None:
    """Returns the ordinal model with effects of readers and cases within arms, whose spread a next study needs.

    Args:
        scores: Array (arms, readers, cases), as above.
        arms: Those in the model: `Primary.arms`.
    """
    try:
        return ordinal.fit(*_listed(scores[list(arms)]), by_arm=True) if arms else None
    except ordinal.NotFitted:
        return None


def _listed(scores):
    """Returns score, arm, reader and case of each answer, the indices without gaps."""
    arm, reader, case = np.nonzero(~np.isnan(scores))
    answers = scores[arm, reader, case].astype(np.int64)
    return answers, arm, *(np.unique(index, return_inverse=True)[1] for index in (reader, case))


def _finite_arms(scores):
    """Returns the arms whose answers are not all at one end of those in use, and a sentence about the others."""
    answered = [i for i, arm in enumerate(scores) if not np.isnan(arm).all()]
    if not answered:
        return (), "no answers"
    low, high = np.nanmin(scores), np.nanmax(scores)
    ends = [i for i in answered if np.nanmax(scores[i]) == low or np.nanmin(scores[i]) == high]
    why = "an arm with all answers at one end of the scale has no finite odds ratio" if ends else ""
    return tuple(i for i in answered if i not in ends), why


class _Model:
    """The ordinal model of some arms and the pseudo-values of their effects."""

    def __init__(self, fit, pseudo):
        self.fit, self.pseudo = fit, pseudo

    @classmethod
    def of(cls, scores):
        """Returns the model, or why there is none."""
        answers, arm, reader, case = _listed(scores)
        try:
            fit = ordinal.fit(answers, arm, reader, case)
        except ordinal.NotFitted as error:
            return f"the ordinal model has no estimate: {error}"
        return cls(fit, influence.contributions(fit, arm, reader, case))

    def test(self, arms, first, second):
        i, j = arms.index(first), arms.index(second)
        value, _ = self.fit.contrast(i, j)
        spread = over_readers_and_cases(self.pseudo[i] - self.pseudo[j])
        if not spread.error:
            return PairTest(first, second, ORDINAL, None, math.exp(value), note=spread.note)
        half = float(scipy.stats.t.ppf(0.975, spread.freedom)) * spread.error
        p_value = float(2 * scipy.stats.t.sf(abs(value) / spread.error, spread.freedom))
        ends = (_exp(end) for end in (value, value - half, value + half))
        return PairTest(first, second, ORDINAL, p_value, *ends, spread.freedom, spread.note)


def _exp(value):
    """With one degree of freedom an interval can reach beyond all numbers."""
    return math.exp(min(max(value, -700.0), 700.0))


def _linear(scores, first, second, why):
    found = over_readers_and_cases(scores[first] - scores[second])
    note = "; ".join(filter(None, [why, found.note]))
    return PairTest(first, second, LINEAR, found.p_value(), freedom=found.freedom, note=note)
