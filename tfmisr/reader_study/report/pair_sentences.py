"""The report's sentences about pairs of arms: differences with effect sizes and p values, and why these diverge."""

import math
from collections.abc import Iterator

from tfmisr.reader_study.report.formats import interval, number, p_text, percent, ratio_text

LEVEL = 0.05
# Two differences are called equal up to this many points, half of the first decimal place.
_EQUAL = 0.05
# A half width or a log odds ratio this much larger is given as a reason.
_LARGER = 1.1


def order(pair: dict) -> str:
    """Returns which arm of a pair scored higher, by the odds ratio or, without one, by the difference."""
    first, second = _ordered(pair)
    return f"{first} over {second}"


def described(pair: dict, higher_first: bool = True) -> str:
    """Returns the effect sizes of a pair, first arm against second, and its adjusted p value.

    Args:
        pair: A pair of a question of results.json.
        higher_first: Whether the arm that scored higher comes first, as in `order`, or the order is that of the pair.
    """
    sign = -1 if higher_first and _ordered(pair)[0] != pair["first"] else 1
    parts = [f"difference {interval(_turned(pair['difference'], sign), sign=True)}"]
    if pair["odds_ratio"] is not None:
        parts.append(f"odds ratio {ratio_text({'mean': pair['odds_ratio'] ** sign, 'low': None, 'high': None})}")
    if (higher := pair["common_language"]["mean"]) is not None:
        parts.append(f"higher score in {percent(higher if sign > 0 else 1 - higher)}")
    return ", ".join([*parts, f"p {p_text(pair['p_holm'])}"])


def equal_differences(question: dict, tests: int) -> Iterator[str]:
    """Yields a sentence for each pair without a significant difference while one no larger is significant.

    Args:
        question: A question of results.json.
        tests: Number of tests for which p values are adjusted.
    """
    tested = [p for p in question["pairs"] if p["p_holm"] is not None and p["difference"]["mean"] is not None]
    significant = [pair for pair in tested if pair["p_holm"] < LEVEL]
    for pair in tested:
        if pair["p_holm"] < LEVEL:
            continue
        no_larger = [other for other in significant if _size(other) <= _size(pair) + _EQUAL]
        if no_larger:
            yield _compared(pair, max(no_larger, key=_size), tests)


def _compared(pair: dict, other: dict, tests: int) -> str:
    sizes = number(_size(other)), number(_size(pair))
    same = "the same" if sizes[0] == sizes[1] else "a similar" if _size(pair) <= _size(other) + _EQUAL else "a larger"
    return (
        f"The difference of {sizes[0]} between {_between(other)} is significant (adjusted p {p_text(other['p_holm'])}) "
        f"and {same} one of {sizes[1]} between {_between(pair)} is not (adjusted p {p_text(pair['p_holm'])}), because "
        f"{'; '.join(_reasons(pair, other, tests))}."
    )


def _reasons(pair: dict, other: dict, tests: int) -> list[str]:
    """Returns why `pair` is not significant while `other` is."""
    reasons = []
    widths = _half_width(pair["difference"]), _half_width(other["difference"])
    if widths[1] and widths[0] > _LARGER * widths[1]:
        fewer = pair["difference"]["answers"], other["difference"]["answers"]
        of = f" from {fewer[0]} answers against {fewer[1]}" if fewer[0] < fewer[1] else ""
        reasons.append(
            f"readers and cases vary more in the second (95 % interval ± {number(widths[0])} "
            f"against ± {number(widths[1])}){of}"
        )
    odds = _log_odds(pair), _log_odds(other)
    if None not in odds and odds[1] > _LARGER * odds[0]:
        ratios = (f"{math.exp(value):.3g}" for value in odds)
        reasons.append(f"the test is of odds, and the odds ratio of the second is {' against '.join(ratios)}")
    if pair["p_value"] < LEVEL:
        reasons.append(
            f"its p of {p_text(pair['p_value'])} is significant alone but not after adjustment for {tests} tests"
        )
    return reasons or [
        f"the two p values ({p_text(other['p_value'])} and {p_text(pair['p_value'])}) lie close together"
    ]


def _ordered(pair: dict) -> tuple[str, str]:
    up = pair["odds_ratio"] > 1 if pair["odds_ratio"] is not None else (pair["difference"]["mean"] or 0) > 0
    return (pair["first"], pair["second"]) if up else (pair["second"], pair["first"])


def _turned(difference: dict, sign: int) -> dict:
    if sign > 0 or difference["mean"] is None:
        return difference
    low, high = (None if difference[end] is None else -difference[end] for end in ("high", "low"))
    return {"mean": -difference["mean"], "low": low, "high": high}


def _between(pair: dict) -> str:
    return f"{pair['first']} and {pair['second']}"


def _size(pair: dict) -> float:
    return abs(pair["difference"]["mean"])


def _half_width(difference: dict) -> float:
    return 0.0 if difference["low"] is None else (difference["high"] - difference["low"]) / 2


def _log_odds(pair: dict) -> float | None:
    return None if not pair["odds_ratio"] else abs(math.log(pair["odds_ratio"]))
