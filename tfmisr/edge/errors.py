"""The one exception that means: the user can mend this."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A mistake in the input, told in one line: what was expected, what came, what to do.

    Commands print the message without a traceback and exit with status 2.
    """


def hint(name: str, known: Iterable[str], cutoff: float = 0.3) -> str:
    """Returns "; did you mean NAME?" with the nearest of `known`, or "" where none is near.

    Args:
        name: What was given.
        known: What there is.
        cutoff: Least similarity, 0 to 1, as in `difflib.get_close_matches`; capitals count as small letters.
    """
    lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), lower, 1, cutoff)
    return f"; did you mean {lower[close[0]]}?" if close else ""


def check_name(kind: str, name: str, known: list[str]) -> None:
    """Raises an `InputError` that names the nearest of `known` where `name` is not one of them."""
    if name not in known:
        raise InputError(f"{kind} must be one of {', '.join(known)}. Received: {name}{hint(name, known)}")
