"""Non-inferiority: whether an arm is worse than the reference by no more than a margin fixed beforehand."""

import dataclasses

from tfmisr.reader_study.statistics.intervals import Interval

VERDICTS = ("inferior", "inconclusive", "non-inferior")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A verdict and its reason in words.

    Attributes:
        verdict: One of `VERDICTS`.
        reason: The comparison of interval and margin, and what else a reader of the verdict must know.
    """

    verdict: str
    reason: str


def judge(difference: Interval, margin: float) -> Verdict:
    """Returns the verdict from the 95 % interval of `arm - reference`; its lower end is a one-sided 97.5 % bound.

    Args:
        difference: Mean difference and its interval over readers and cases.
        margin: The largest loss that would not matter, in points of the scale, above 0.

    Reference:
        Piaggio et al., Reporting of Noninferiority and Equivalence Randomized Trials, JAMA 2012,
        https://doi.org/10.1001/jama.2012.87802
    """
    low, high = difference.low, difference.high
    if low is None:
        return Verdict("inconclusive", f"no interval: {difference.note}")
    ends = f"{low:+.2f} to {high:+.2f}"
    if low > -margin:
        worse = "; worse than the reference nevertheless, by less than the margin" if high < 0 else ""
        return Verdict("non-inferior", f"{ends} lies above {-margin:g}{worse}{_limit(difference)}")
    if high <= -margin:
        return Verdict("inferior", f"{ends} lies below {-margin:g}{_limit(difference)}")
    worse = "; worse than the reference by an amount that is not settled" if high < 0 else ""
    return Verdict("inconclusive", f"{ends} includes {-margin:g}{worse}{_limit(difference)}")


def _limit(difference):
    return f" ({difference.note})" if difference.note else ""
