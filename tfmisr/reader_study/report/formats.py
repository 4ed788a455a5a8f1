"""Formats numbers for the page; a missing number is a dash."""

from collections.abc import Callable

NONE = "–"


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """Returns a rounded number with a typographic minus sign.

    Args:
        value: The number, `None` if missing.
        digits: Decimal places.
        sign: Whether positive numbers get a plus sign.
    """
    if value is None:
        return NONE
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return (text if float(text) else f"{0:.{digits}f}").replace("-", "−")


def interval(values: dict, sign: bool = False) -> str:
    """Returns `mean (low to high)` of a dictionary with these keys."""
    mean, low, high = (values[key] for key in ("mean", "low", "high"))
    if low is None:
        return number(mean, sign=sign)
    return f"{number(mean, sign=sign)} ({number(low, sign=sign)} to {number(high, sign=sign)})"


def bootstrap(values: dict, sign: bool = False) -> str:
    """Returns `low to high` of the bootstrap interval."""
    low, high = values["bootstrap_low"], values["bootstrap_high"]
    return NONE if low is None else f"{number(low, sign=sign)} to {number(high, sign=sign)}"


def ratio_text(values: dict) -> str:
    """Returns an odds ratio and its interval with three significant digits."""
    if values["mean"] is None:
        return NONE
    ratios = [values[key] for key in ("mean", "low", "high") if values[key] is not None]
    estimate, *limits = (f"{ratio:.3g}" if ratio < 1000 else "> 999" for ratio in ratios)
    return f"{estimate} ({' to '.join(limits)})" if limits else estimate


def p_text(value: float | None) -> str:
    """Returns a p value with three decimal places, or `< 0.001`."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Returns a share in whole percent."""
    return NONE if value is None else f"{value:.0%}"


def coefficient(values: dict, formatted: Callable[[float | None], str] = number) -> str:
    """Returns `value (low to high)` of a measure of agreement.

    Args:
        values: A `tfmisr.reader_study.statistics.icc.Coefficient` as a dictionary.
        formatted: Format of value and limits.
    """
    if values["value"] is None or values["low"] is None:
        return formatted(values["value"])
    return f"{formatted(values['value'])} ({formatted(values['low'])} to {formatted(values['high'])})"
