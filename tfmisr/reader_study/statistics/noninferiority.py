"""Non-inferiority: whether an arm is worse than the reference by less than a margin that was fixed in advance."""

import dataclasses

from tfmisr.edge.deprecation import renamed
from tfmisr.reader_study.statistics.intervals import Interval

VERDICTS = ("inferior", "inconclusive", "non-inferior")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A verdict and its reason.

    Attributes:
        verdict: One of `VERDICTS`.
        reason: The comparison of interval and margin in words, with the limitations of the interval.
    """

    verdict: str
    reason: str


def evaluate(difference: Interval, margin: float) -> Verdict:
    """Compares the 95 % interval of `arm - reference` with the margin; its lower end is a one-sided 97.5 % bound.

    Args:
        difference: Mean difference and its interval over readers and cases.
        margin: Non-inferiority margin, in points of the scale, above 0.

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
        return Verdict("non-inferior", f"{ends} lies above {-margin:g}{worse}{_limitation(difference)}")
    if high <= -margin:
        return Verdict("inferior", f"{ends} lies below {-margin:g}{_limitation(difference)}")
    worse = "; worse than the reference by an amount that remains uncertain" if high < 0 else ""
    return Verdict("inconclusive", f"{ends} includes {-margin:g}{worse}{_limitation(difference)}")


def _limitation(difference: Interval) -> str:
    return f" ({difference.note})" if difference.note else ""


__getattr__ = renamed(__name__, judge="evaluate")
