"""Comparison of two arms: Wilcoxon's test over cases, effect sizes, and Holm's adjustment for multiple tests."""

import dataclasses

import numpy as np
import scipy.stats

from tfmisr.reader_study.statistics.intervals import Interval, over_readers_and_cases


@dataclasses.dataclass(frozen=True)
class Wilcoxon:
    """Wilcoxon's signed-rank test over cases, and its effect size.

    Attributes:
        p_value: Two-sided, from the normal approximation with Pratt's zeros; `None` without differences.
        rank_biserial: Rank-biserial correlation, -1 to 1: favorable minus unfavorable share of the rank sum.
        cases: Number of cases.
        zeros: Number of cases without a difference; they keep their ranks (Pratt).
        note: Why a value is missing.
    """

    p_value: float | None
    rank_biserial: float | None
    cases: int
    zeros: int
    note: str = ""


def holm(p_values: list[float | None]) -> list[float | None]:
    """Returns Holm-adjusted p values in the same order; `None` stays `None` and is not counted as a test.

    Args:
        p_values: p values of one family of tests.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979,
        https://www.jstor.org/stable/4615733
    """
    ascending = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(ascending):
        highest = max(highest, min(1.0, (len(ascending) - rank) * p))
        adjusted[i] = highest
    return adjusted


def case_averaged_wilcoxon(differences: np.ndarray) -> Wilcoxon:
    """Returns Wilcoxon's test of the differences between two arms, averaged over readers within each case.

    Answers of several readers to one case are not independent: taken as separate observations they would give p values
    that are far too small. So they are averaged first. The result generalizes to other cases, not to other readers.

    Args:
        differences: Array (readers, cases) of score differences, nan if one of the two scores is missing.

    Reference:
        Pratt, Remarks on Zeros and Ties in the Wilcoxon Signed Rank Procedures, JASA 1959,
        https://doi.org/10.1080/01621459.1959.10501526
        Kerby, The Simple Difference Formula, Comprehensive Psychology 2014, https://doi.org/10.2466/11.IT.3.1
    """
    differences = np.asarray(differences, np.float64)
    differences = differences[:, ~np.isnan(differences).all(axis=0)]
    # Rounded, so that equal means over different numbers of readers are ties.
    means = np.round(np.nanmean(differences, axis=0), 9) if differences.size else np.zeros(0)
    zeros, cases = int((means == 0).sum()), len(means)
    if zeros == cases:
        return Wilcoxon(None, None, cases, zeros, "no case with a difference")
    ranks = scipy.stats.rankdata(np.abs(means))
    up, down = float(ranks[means > 0].sum()), float(ranks[means < 0].sum())
    share = (up - down) / (up + down)
    if cases < 2:
        return Wilcoxon(None, share, cases, zeros, "one case: no test over cases")
    test = scipy.stats.wilcoxon(means, zero_method="pratt", method="approx")
    return Wilcoxon(float(test.pvalue), share, cases, zeros)


def common_language(differences: np.ndarray) -> Interval:
    """Returns the common language effect size: the probability of a higher score for the first arm, ties counting half.

    Args:
        differences: Array (readers, cases) of score differences, nan if one of the two scores is missing.

    Reference:
        McGraw and Wong, A Common Language Effect Size Statistic, Psychological Bulletin 1992,
        https://doi.org/10.1037/0033-2909.111.2.361
    """
    return over_readers_and_cases((np.sign(differences) + 1) / 2).within(0.0, 1.0)
