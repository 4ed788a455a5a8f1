"""Sentences appended to texts of the source, whose bytes stay as they are (D-05, D-13, D-18, D-43)."""

import re

from pydicom.charset import decode_bytes

from tfmisr.edge.derived import verbatim
from tfmisr.edge.derived.verbatim import Encodings
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

# Escape sequences that change the lower half of the code table (ISO 2022); after the last two, ASCII is not ASCII.
_LOWER_HALF = re.compile(rb"\x1b(?:\([BJ]|\$[@B]|\$\(D)")
_ASCII = b"\x1b(B"


def append(target: verbatim.Verbatim, keyword: str, vr: str, suffix: str, limit: int) -> None:
    """Appends ASCII to a text, which is cut where there are too many characters for both.

    Args:
        target: Changed in place.
        keyword: Of the element.
        vr: Value Representation that it has then.
        suffix: Of characters that every character set has.
        limit: Number of characters that the element may have.

    Raises:
        InputError: The text must be cut, but its characters are not known: it does not fit its character set.
    """
    element = target.get_item(keyword)
    before = b"" if element is None else element.value or b""
    if not isinstance(before, bytes):
        raise InputError(f"{label(keyword)} must be a text; its value representation is {element.VR}")
    encodings = target.original_character_set
    encodings = encodings if isinstance(encodings, str) else list(encodings)
    text = joined(before.rstrip(b" \0"), suffix, limit, encodings)
    if text is None:
        raise InputError(
            f"{label(keyword)} does not fit Specific Character Set (0008,0005) and has no place for "
            f"{len(suffix)} more characters; correct one of them"
        )
    target[keyword] = verbatim.raw(keyword, vr, text)


def joined(text: bytes, suffix: str, limit: int, encodings: Encodings) -> bytes | None:
    """Returns a text with a suffix, at most `limit` characters together, or `None` if it cannot be cut.

    Args:
        text: In its character set, without trailing spaces.
        suffix: ASCII.
        limit: Number of characters.
        encodings: Python's names of the character sets.
    """
    whole = _with(text, suffix)
    if len(whole) <= limit:  # there are no more characters than bytes
        return whole
    encodings = [encodings] if isinstance(encodings, str) else encodings
    characters = _decoded(text, encodings)
    if characters is None or len(characters) + len(suffix) <= limit:
        return None if characters is None else whole
    wanted = characters[: limit - len(suffix)] + suffix
    ends = (_with(text[:end], suffix) for end in range(len(text), -1, -1))
    return next((part for part in ends if _decoded(part, encodings) == wanted), None)


def _with(text: bytes, suffix: str) -> bytes:
    escapes = _LOWER_HALF.findall(text)
    back = _ASCII if escapes and b"$" in escapes[-1] else b""
    return text + back + (suffix if text else suffix.lstrip()).encode("ascii")


def _decoded(text: bytes, encodings: list[str]) -> str | None:
    """Returns the characters, or `None` where they are not those of the character set."""
    try:
        characters = decode_bytes(text, encodings, set())
    except (UnicodeError, LookupError, ValueError):
        return None
    return None if "\ufffd" in characters else characters
