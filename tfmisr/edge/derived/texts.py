"""Appends sentences to text values of the source, whose bytes are preserved (D-05, D-13, D-18, D-43)."""

import re

from pydicom.charset import decode_bytes

from tfmisr.edge.derived import verbatim
from tfmisr.edge.derived.verbatim import Encodings
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

# Escape sequences that change G0, the lower half of the code table (ISO 2022); multi-byte ones must be reset to ASCII.
_LOWER_HALF = re.compile(rb"\x1b(?:\([BJ]|\$[@B]|\$\(D)")
_ASCII = b"\x1b(B"


def append(target: verbatim.Verbatim, keyword: str, vr: str, suffix: str, limit: int) -> None:
    """Appends ASCII to a text value, which is truncated if both together are too long.

    Args:
        target: Changed in place.
        keyword: Keyword of the Attribute.
        vr: Value Representation of the new value.
        suffix: Characters that are the same in every character set.
        limit: Maximum number of characters of the value.

    Raises:
        InputError: The text must be truncated, but is not valid in its character set.
    """
    element = target.get_item(keyword)
    before = b"" if element is None else element.value or b""
    if not isinstance(before, bytes):
        raise InputError(f"{label(keyword)} must be a text; its Value Representation is {element.VR}")
    encodings = target.original_character_set
    encodings = encodings if isinstance(encodings, str) else list(encodings)
    text = joined(before.rstrip(b" \0"), suffix, limit, encodings)
    if text is None:
        raise InputError(
            f"{label(keyword)} does not fit Specific Character Set (0008,0005) and has no room for "
            f"{len(suffix)} more characters; correct one of them"
        )
    target[keyword] = verbatim.raw_element(keyword, vr, text)


def joined(text: bytes, suffix: str, limit: int, encodings: Encodings) -> bytes | None:
    """Returns a text with a suffix, at most `limit` characters together, `None` if it cannot be truncated.

    Args:
        text: Encoded in its character set, without trailing spaces.
        suffix: ASCII.
        limit: Maximum number of characters.
        encodings: Python's names of the character sets.
    """
    full = _with(text, suffix)
    if len(full) <= limit:  # there are at most as many characters as bytes
        return full
    encodings = [encodings] if isinstance(encodings, str) else encodings
    characters = _decoded(text, encodings)
    if characters is None or len(characters) + len(suffix) <= limit:
        return None if characters is None else full
    expected = characters[: limit - len(suffix)] + suffix
    ends = (_with(text[:end], suffix) for end in range(len(text), -1, -1))
    return next((part for part in ends if _decoded(part, encodings) == expected), None)


def _with(text: bytes, suffix: str) -> bytes:
    escapes = _LOWER_HALF.findall(text)
    back = _ASCII if escapes and b"$" in escapes[-1] else b""
    return text + back + (suffix if text else suffix.lstrip()).encode("ascii")


def _decoded(text: bytes, encodings: list[str]) -> str | None:
    """Returns the decoded characters, `None` if the bytes are not valid in the character set."""
    try:
        characters = decode_bytes(text, encodings, set())
    except (UnicodeError, LookupError, ValueError):
        return None
    return None if "\ufffd" in characters else characters
