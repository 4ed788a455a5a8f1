"""Checks of a rule with a volume method (G-19)."""

import math
import pathlib
from collections.abc import Iterator

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import resampling, series_upscaling
from tfmisr.gateway.config import SEND, Rule
from tfmisr.gateway.rules import COUNTS

LEAST_SECONDS = 1.0


def resolved(method: str, folder: pathlib.Path) -> str:
    """Returns a volume method with the path of its file relative to the configuration.

    Args:
        method: As in a rule.
        folder: That of the configuration.
    """
    if method and method not in resampling.METHODS and (folder / method).exists():
        return str((folder / method).absolute())
    return method


def changed(rule: Rule) -> list[str]:
    """Returns the keys of a rule that belong to a volume method and are not at their default."""
    return [
        key
        for key in ("spacing", "complete_after_seconds", "expected_images")
        if getattr(rule, key) != getattr(Rule, key)
    ]


def problems(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yields key and text of what is wrong with a rule that has keys of a volume method."""
    if not rule.volume:
        yield changed(rule)[0], f"{changed(rule)[0]} belongs to a rule with a volume method"
        return
    if rule.model or rule.scale:
        yield "model" if rule.model else "scale", "a rule with a volume method has no model and no scale"
    if rule.send != SEND[1]:
        yield "send", f"a rule with a volume method needs send = '{SEND[1]}'"
    checks = (("volume", series_upscaling.check_method), ("spacing", series_upscaling.check_spacing))
    for key, check in checks:
        try:
            check(getattr(rule, key))
        except InputError as error:
            yield key, str(error)
    if not LEAST_SECONDS <= rule.complete_after_seconds < math.inf:
        text = f"expected complete_after_seconds of at least {LEAST_SECONDS:g}. Received: {rule.complete_after_seconds}"
        yield "complete_after_seconds", text
    expected = rule.expected_images
    if expected not in COUNTS and (isinstance(expected, str) or expected < 0):
        names = " or ".join(COUNTS)
        yield "expected_images", f"expected a number of images, {names}. Received: {expected}"
