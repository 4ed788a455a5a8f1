"""How numbers are written on the page; what is missing is a dash."""

from collections.abc import Callable

NONE = "–"


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """Returns a number for the page, with a true minus sign."""
    if value is None:
        return NONE
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return (text if float(text) else f"{0:.{digits}f}").replace("-", "−")


def interval(found: dict, sign: bool = False) -> str:
    """Returns `mean (low to high)`."""
    if found["low"] is None:
        return number(found["mean"], sign=sign)
    return (
        f"{number(found['mean'], sign=sign)} ({number(found['low'], sign=sign)} to {number(found['high'], sign=sign)})"
    )


def bootstrap(found: dict, sign: bool = False) -> str:
    """Returns the bootstrap's `low to high`."""
    low, high = found["bootstrap_low"], found["bootstrap_high"]
    return NONE if low is None else f"{number(low, sign=sign)} to {number(high, sign=sign)}"


def ratio_text(found: dict) -> str:
    """Returns an odds ratio, of which three figures say enough."""
    if found["mean"] is None:
        return NONE
    ends = [found[key] for key in ("mean", "low", "high") if found[key] is not None]
    middle, *rest = (f"{end:.3g}" if end < 1000 else "> 999" for end in ends)
    return f"{middle} ({' to '.join(rest)})" if rest else middle


def p_text(value: float | None) -> str:
    """Returns a p value."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Returns a share."""
    return NONE if value is None else f"{value:.0%}"


def coefficient(found: dict, written: Callable = number) -> str:
    """Returns a measure of agreement with its interval, each end written as the value is."""
    if found["value"] is None or found["low"] is None:
        return written(found["value"])
    return f"{written(found['value'])} ({written(found['low'])} to {written(found['high'])})"
