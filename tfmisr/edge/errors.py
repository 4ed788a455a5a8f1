"""Errors that commands print as one line: what a user can correct (exit status 2), and an end by SIGTERM (143)."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A user-correctable error; the message states what was expected, what was received and what to do, in one line.

    Commands print the message without a traceback and exit with status 2.
    """


class Terminated(BaseException):
    """SIGTERM ended the command; the message says at what point."""


def hint(name: str, known: Iterable[str], cutoff: float = 0.3) -> str:
    """Returns "; did you mean NAME?" with the most similar of `known`, or "" if none is similar.

    Args:
        name: The name received.
        known: The valid names.
        cutoff: Minimum similarity, 0 to 1, as in `difflib.get_close_matches`; case is ignored.
    """
    lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), lower, 1, cutoff)
    return f"; did you mean {lower[close[0]]}?" if close else ""


def check_name(kind: str, name: str, known: list[str]) -> None:
    """Raises an `InputError` that suggests the most similar of `known` if `name` is not one of them.

    Args:
        kind: What the name is of, to begin the message with.
        name: The name received.
        known: The valid names.
    """
    if name not in known:
        raise InputError(f"{kind} must be one of {', '.join(known)}. Received: {name}{hint(name, known)}")
