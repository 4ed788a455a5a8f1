"""Attribute matching of a search (PS3.4 C.2.2.2, PS3.18 8.3.4): single value, list of UIDs, wildcards, ranges."""

import dataclasses
import fnmatch
import functools
import re

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from tfmisr.gateway.dicomweb import tables
from tfmisr.gateway.dicomweb.messages import Refused

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")  # of a name in DICOM JSON, in the order of PS3.5 6.2
_WITH_RANGES = ("DA", "TM")
_WITH_WILDCARDS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
MAX_LIMIT = 1000  # results of one response


@dataclasses.dataclass(frozen=True)
class Query:
    """The parameters of a search.

    Attributes:
        keys: Keyword to the value that must match; an empty value always matches.
        included: Keywords of `includefield`.
        not_kept: What `includefield` asks for and the index does not have.
        all_fields: Whether everything that the index has is asked for.
        offset: Results that are skipped.
        limit: Largest number of results.
    """

    keys: dict[str, str]
    included: tuple[str, ...] = ()
    not_kept: tuple[str, ...] = ()
    all_fields: bool = False
    offset: int = 0
    limit: int = MAX_LIMIT


def parse(parameters: tuple[tuple[str, str], ...], level: str) -> Query:
    """Returns the query of a search for a level (PS3.18 10.6.1.2).

    Raises:
        Refused: A parameter, key or value is not offered; the message names it (400).
    """
    levels = tables.LEVELS[: tables.LEVELS.index(level) + 1]
    offered = {name for each in levels for name in tables.MATCHED[each]}
    kept = offered | {name for each in levels for name in (*tables.RETURNED[each], *tables.INCLUDED[each])}
    keys: dict[str, str] = {}
    included: list[str] = []
    numbers = {"offset": 0, "limit": MAX_LIMIT}
    for name, value in parameters:
        if name == "includefield":
            included += [_keyword(each) or each for each in value.split(",") if each]
        elif name in numbers:
            numbers[name] = _number(name, value)
        elif name == "fuzzymatching":
            if value.lower() != "false":
                raise Refused(400, "fuzzymatching is not offered")
        elif name != "accept":
            _add_key(keys, _keyword(name), value, offered, level)
    return Query(
        keys,
        tuple(name for name in included if name in kept),
        tuple(sorted({_printable(name) for name in included if name not in kept and name != "all"})),
        "all" in included,
        numbers["offset"],
        min(numbers["limit"], MAX_LIMIT),
    )


def _add_key(keys: dict[str, str], keyword: str, value: str, offered: set[str], level: str) -> None:
    if keyword not in offered:
        names = ", ".join(sorted(offered))
        raise Refused(400, f"a search for {level} level results matches {names}, and no other key; it was not made")
    if keyword in keys:
        raise Refused(400, f"expected {keyword} once")
    value = value.strip(" ")
    vr = dictionary_VR(keyword)
    pattern = {"DA": r"\d{8}", "TM": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"}.get(vr, "")
    if value and pattern and not re.fullmatch(rf"{pattern}|{pattern}-|-{pattern}|{pattern}-{pattern}", value):
        raise Refused(400, f"expected a value or range of {vr} for {keyword}")
    if value and vr == "UI" and not re.fullmatch(r"[\d.]+([,\\][\d.]+)*", value):
        raise Refused(400, f"expected UIDs for {keyword}")
    if value and vr == "IS" and not re.fullmatch(r"[+-]?\d{1,12}", value):
        raise Refused(400, f"expected a whole number for {keyword}")
    if vr != "UI" and re.search(r"[,\\]" if vr == "CS" else r"\\", value):  # characters of no value
        raise Refused(400, f"expected one value for {keyword}: lists are offered for UIDs alone")
    keys[keyword] = value


def _keyword(name: str) -> str:
    """Returns the keyword of an attribute ID, a keyword or tag (PS3.18 8.3.4.1); empty for any other text."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        return keyword_for_tag(int(name, 16))
    return name if tag_for_keyword(name) is not None else ""


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise Refused(400, f"expected a whole number for {name}")
    return int(value)


def _printable(name: str) -> str:
    return name if re.fullmatch(r"\w{1,64}", name, re.ASCII) else "other names"


@functools.cache
def tag_of(keyword: str) -> str:
    """Returns the tag of a keyword as DICOM JSON has it."""
    return f"{tag_for_keyword(keyword):08X}"


@functools.cache
def vr_of(keyword: str) -> str:
    """Returns the Value Representation of a keyword."""
    return dictionary_VR(keyword)


def matches(attributes: dict, keyword: str, wanted: str) -> bool:
    """Whether an Attribute of a data set has a value.

    Args:
        attributes: Data set as of DICOM JSON.
        keyword: The Attribute.
        wanted: Value as of `Query.keys`.
    """
    vr = vr_of(keyword)
    if not wanted.strip("*" if vr in _WITH_WILDCARDS else ""):
        return True  # universal matching (PS3.4 C.2.2.2.3 and C.2.2.2.4)
    if vr == "PN" and "=" in wanted:
        return any(_has_groups(name, wanted.split("=")) for name in _content(attributes, keyword))
    test = _test(vr, wanted)
    return any(test(value) for value in values(attributes, keyword))


def values(attributes: dict, keyword: str) -> list[str]:
    """Returns the values of an Attribute as texts; of a person's name all its component groups."""
    texts: list[str] = []
    for value in _content(attributes, keyword):
        texts += [str(group) for group in value.values()] if isinstance(value, dict) else [str(value)]
    return texts


def _content(attributes: dict, keyword: str) -> list:
    found = attributes.get(tag_of(keyword), {}).get("Value", [])
    return [value for value in found if value is not None]


def _has_groups(name: dict[str, str], wanted: list[str]) -> bool:
    """Whether the component groups of a name are those wanted; an empty one matches any."""
    pairs = zip(GROUPS, wanted, strict=False)
    fits = all(not text or _test("PN", text)(name.get(group, "")) for group, text in pairs)
    return fits and len(wanted) <= len(GROUPS)


def _test(vr: str, wanted: str):
    if vr == "UI":
        return re.split(r"[,\\]", wanted).__contains__
    if vr == "IS":
        return lambda value: value.strip().lstrip("+-").isdigit() and int(value) == int(wanted)
    if vr in _WITH_RANGES:
        low, dash, high = wanted.partition("-")
        first = _digits(low, "0")
        last = _digits(high, "9") if high else "9" * 12 if dash else first
        return lambda value: bool(value.strip(" ")) and first <= _digits(value, "0") <= last
    if vr in _WITH_WILDCARDS and re.search(r"[*?]", wanted):
        # `fnmatch` tries each asterisk once: with `.*` the time is a power of their number.
        pattern = re.compile(fnmatch.translate(wanted.replace("[", "[[]")), re.IGNORECASE if vr == "PN" else 0)
        return lambda value: bool(pattern.match(value.rstrip(" ")))
    if vr == "PN":
        return lambda value: value.rstrip(" ^").lower() == wanted.rstrip(" ^").lower()
    return lambda value: value.strip(" ") == wanted


def _digits(value: str, digit: str) -> str:
    """Returns a date or time as twelve digits; `10` as the end of a range is 10:59:59.999999."""
    return re.sub(r"\D", "", value).ljust(12, digit)
