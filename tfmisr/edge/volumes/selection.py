"""Splits a series that has several slices at one place by time, echo, b-value or another of its dimensions.

Neither the order of files nor Instance Number decides: a slice is selected by the value of an Attribute.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

import pydicom

from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.text import counted
from tfmisr.edge.volumes.slices import Slice

Select = str | Mapping[str, str] | None
# The order is that in which they are proposed. No Attribute here identifies a patient.
DIMENSIONS = (
    "TemporalPositionIdentifier TemporalPositionIndex EchoTime EffectiveEchoTime EchoNumbers DiffusionBValue "
    "NominalPercentageOfCardiacPhase TriggerTime NominalCardiacTriggerDelayTime InversionTime InversionTimes FlipAngle "
    "RepetitionTime KVP ComplexImageComponent FrameType ImageType AcquisitionNumber StackID "
    "DiffusionGradientOrientation"
).split()
# Where DiffusionBValue (0018,9087) is absent: private creator, its group and element, as in the vendors' statements.
_PRIVATE_B_VALUES = (
    ("SIEMENS MR HEADER", 0x0019, 0x0C),
    ("GEMS_PARM_01", 0x0043, 0x39),
    ("Philips Imaging DD 001", 0x2001, 0x03),
)
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}(?:\\[A-Z0-9_ ]{0,16}){0,15}")  # of a Code String


def parse(select: Select) -> dict[str, str]:
    """Returns keyword to value of "EchoTime=4.6" or "EchoTime=4.6,ComplexImageComponent=MAGNITUDE".

    Raises:
        InputError: The text has another form, or names no Attribute that distinguishes slices.
    """
    if isinstance(select, Mapping):
        chosen = {str(key): str(value) for key, value in select.items()}
    else:
        parts = [part.partition("=") for part in str(select or "").split(",") if part.strip()]
        if not all(equals and value.strip() for _, equals, value in parts):
            raise InputError("expected --select KEYWORD=VALUE of a DICOM series, such as EchoTime=4.6")
        chosen = {key.strip(): value.strip() for key, _, value in parts}
    for key in chosen:
        if key not in DIMENSIONS:
            raise InputError(f"--select takes one of {', '.join(DIMENSIONS)}. Received: {key}{hint(key, DIMENSIONS)}")
    return chosen


def apply(slices: list[Slice], select: Select) -> list[Slice]:
    """Returns the slices with the chosen values.

    Raises:
        InputError: No slice has them; the message lists the values of the first Attribute that excludes all.
    """
    for keyword, value in parse(select).items():
        kept = [one for one in slices if _equals(dimension(one.header, keyword), value)]
        if not kept:
            present = _shown({dimension(one.header, keyword) for one in slices} - {""})
            raise InputError(f"no slice has {label(keyword)} = {value}; expected {present or 'no such Attribute'}")
        slices = kept
    return slices


def dimension(header: pydicom.Dataset, keyword: str) -> str:
    """Returns the value of an Attribute as text, "" where it is absent or neither numbers nor a Code String."""
    value = header.get(keyword)
    if value in (None, "") and keyword == "DiffusionBValue":
        value = _private_b_value(header)
    values = [value] if isinstance(value, str | int | float) else list(value or ())
    text = "\\".join(f"{float(v):.10g}" if _is_number(v) else str(v).strip() for v in values)
    is_safe = all(map(_is_number, values)) or _CODE.fullmatch(text)
    return text if is_safe else ""


def _private_b_value(header: pydicom.Dataset) -> float | None:
    for creator, group, element in _PRIVATE_B_VALUES:
        try:
            value = header.private_block(group, creator)[element].value
            first = value if isinstance(value, str | int | float) else value[0]
            return float(first) % 1e9  # GE adds a multiple of 1e9
        except (KeyError, IndexError, TypeError, ValueError):
            continue
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _equals(value: str, chosen: str) -> bool:
    try:
        return abs(float(value) - float(chosen)) <= 1e-6 * max(1.0, abs(float(chosen)))
    except ValueError:
        return chosen.upper() in (value, *value.split("\\"))


def duplicates_message(slices: list[Slice], places: list[int]) -> str:
    """Returns the error for several slices at one place.

    Args:
        slices: The slices.
        places: For each slice, which place it has.
    """
    found = f"{counted(len(slices), 'slice')} at {counted(len(set(places)), 'place')}"
    keywords = separating(slices, places)
    if keywords:
        choices = ",".join(f"{keyword}=..." for keyword in keywords)
        values = "; ".join(f"{keyword}: {_shown(_values(slices, keyword))}" for keyword in keywords)
        differ = " and ".join(map(label, keywords))
        return f"found {found}: they differ in {differ}; choose with --select {choices} ({values})"
    uids = [str(one.header.get("SOPInstanceUID", "")) for one in slices]
    if len(set(uids)) < len(uids) and slices[0].frame is None:
        return f"found {found}: the same SOP Instance more than once; remove the copies"
    return f"found {found}, with nothing that --select knows to choose by; expected one slice at each place"


def separating(slices: list[Slice], places: list[int]) -> tuple[str, ...]:
    """Returns the first Attribute, or pair, whose values split the slices so that each place occurs once in a part."""
    varying = [keyword for keyword in DIMENSIONS if len(_values(slices, keyword)) > 1]
    sets: Iterable[tuple[str, ...]] = (*((keyword,) for keyword in varying), *combinations(varying, 2))
    return next((keywords for keywords in sets if _separates(slices, places, keywords)), ())


def _separates(slices: list[Slice], places: list[int], keywords: tuple[str, ...]) -> bool:
    keys = [tuple(dimension(one.header, keyword) for keyword in keywords) for one in slices]
    return all(all(key) for key in keys) and len(set(zip(keys, places, strict=True))) == len(slices)


def _values(slices: list[Slice], keyword: str) -> set[str]:
    return {dimension(one.header, keyword) for one in slices}


def _shown(values: set[str]) -> str:
    key: Callable[[str], tuple] = lambda v: (0, float(v), v) if re.fullmatch(r"-?[\d.e+-]+", v) else (1, 0.0, v)  # noqa: E731
    ordered = sorted(values, key=key)
    return " or ".join(ordered[:8]) + (f" or {len(ordered) - 8} more" if len(ordered) > 8 else "")
