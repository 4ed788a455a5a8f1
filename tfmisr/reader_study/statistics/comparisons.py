"""Two arms against each other: tests that respect readers and cases, effect sizes, and many tests at once."""

import dataclasses

import numpy as np
import scipy.stats

from tfmisr.reader_study.statistics.intervals import Interval, over_readers_and_cases


@dataclasses.dataclass(frozen=True)
class Wilcoxon:
    """Wilcoxon's signed-rank test over cases, and its effect size.

    Attributes:
        p_value: Two-sided, from the normal approximation with Pratt's zeros; None where there is nothing to rank.
        rank_biserial: From -1 to 1: the ranks in favour of the first arm less those against, as a share.
        cases: Number of cases.
        zeros: Cases without a difference; they keep their ranks (Pratt), as they speak for equality.
        note: Why something is missing.
    """

    p_value: float | None
    rank_biserial: float | None
    cases: int
    zeros: int
    note: str = ""


def holm(p_values: list[float | None]) -> list[float | None]:
    """Returns p values adjusted for their number, in the same order; None stays None and is not counted.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979,
        https://www.jstor.org/stable/4615733
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - place) * p))
        adjusted[i] = highest
    return adjusted


def case_averaged_wilcoxon(differences: np.ndarray) -> Wilcoxon:
    """Returns Wilcoxon's test of the differences between two arms, averaged over readers within each case.

    Answers of several readers to one case are not independent. Taken one by one they would count a case as often as
    there are readers and give p values that are far too small; so they are averaged, and there is no way around it.
    The result is about cases, for these readers.

    Args:
        differences: Array (readers, cases) of score differences, nan where one of the two is missing.

    Reference:
        Pratt, Remarks on Zeros and Ties in the Wilcoxon Signed Rank Procedures, JASA 1959,
        https://doi.org/10.1080/01621459.1959.10501526
        Kerby, The Simple Difference Formula, Comprehensive Psychology 2014, https://doi.org/10.2466/11.IT.3.1
    """
    differences = np.asarray(differences, np.float64)
    differences = differences[:, ~np.isnan(differences).all(axis=0)]
    # Averages of different numbers of readers that are equal must be tied.
    means = np.round(np.nanmean(differences, axis=0), 9) if differences.size else np.zeros(0)
    zeros, cases = int((means == 0).sum()), len(means)
    if zeros == cases:
        return Wilcoxon(None, None, cases, zeros, "no case with a difference")
    ranks = scipy.stats.rankdata(np.abs(means))
    up, down = float(ranks[means > 0].sum()), float(ranks[means < 0].sum())
    share = (up - down) / (up + down)
    if cases < 2:
        return Wilcoxon(None, share, cases, zeros, "one case: no test over cases")
    found = scipy.stats.wilcoxon(means, zero_method="pratt", method="approx")
    return Wilcoxon(float(found.pvalue), share, cases, zeros)


def common_language(differences: np.ndarray) -> Interval:
    """Returns how probable it is that the first arm's image gets the higher score, a draw counting half.

    Args:
        differences: Array (readers, cases) of score differences, nan where one of the two is missing.

    Reference:
        McGraw and Wong, A Common Language Effect Size Statistic, Psychological Bulletin 1992,
        https://doi.org/10.1037/0033-2909.111.2.361
    """
    return over_readers_and_cases((np.sign(differences) + 1) / 2).within(0.0, 1.0)
