"""Verdicts on differences in AUC: better, worse, equivalent, undecided, with a margin that is chosen beforehand."""

from tfmisr.evaluation.protocol import REFERENCE
from tfmisr.observers import windows
from tfmisr.reader_study.statistics import comparisons


def adjust(summary: dict[str, dict]) -> None:
    """Adds `p_holm` to the arms other than HR, LR and the reference: Holm's adjustment of their `p_value` over arms."""
    tested = [arm for arm in summary if arm not in (windows.HR, windows.LR, REFERENCE)]
    for arm, adjusted in zip(tested, comparisons.holm([summary[arm]["p_value"] for arm in tested]), strict=True):
        summary[arm]["p_holm"] = adjusted


def verdict(arm: str, values: dict, margin: float) -> str:
    """Returns how an arm compares with the reference: better, worse, equivalent, undecided, or nothing for itself.

    Better and worse: the interval of the difference excludes 0, and so does Holm's test where the arm is tested.
    Equivalent: the interval lies within the margin. A difference can be both; then it is better or worse, but small.

    Args:
        arm: Name of the arm.
        values: Its entry of `tfmisr.observers.results.measure`.
        margin: As of `tfmisr.observers.results.Settings`.
    """
    if arm == REFERENCE:
        return ""
    low, high = values["difference_low"], values["difference_high"]
    significant = low * high > 0 and values.get("p_holm", 0.0) <= 0.05
    within = -margin < low and high < margin
    if significant:
        return ("better" if low > 0 else "worse") + (", within the margin" if within else "")
    return "equivalent" if within else "undecided"
