"""Whether the values that an image is computed from can be understood; the first that cannot is named (D-44).

Everything else in a header is copied without being read, and may be as broken as it is.
"""

import datetime
import decimal
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pydicom
from pydicom.datadict import dictionary_description
from pydicom.tag import BaseTag, Tag

from tfmisr.edge.errors import InputError

# Whether the values are whole numbers, and how many there are; 0 for pairs.
_Rule = tuple[bool, int]

_FORMS = ("Shutter", "Collimator")
_EDGES = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
_COLOURS = ("Red", "Green", "Blue")
# Where there is a value: whether the values are whole numbers, and how many there are; 0 for pairs.
_NUMBERS = {
    (True, 1): "Rows Columns SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation PlanarConfiguration "
    "NumberOfFrames PixelPaddingValue PixelPaddingRangeLimit SeriesNumber "
    + " ".join(f"{form}{edge}Edge" for form in _FORMS for edge in _EDGES)
    + " RadiusOfCircularShutter RadiusOfCircularCollimator",
    (True, 2): "CenterOfCircularShutter CenterOfCircularCollimator",
    (True, 3): " ".join(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    (True, 0): "VerticesOfThePolygonalShutter VerticesOfThePolygonalCollimator",
    (False, 1): "RescaleSlope RescaleIntercept",
    (False, 2): "PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing",
    (False, 3): "ImagePositionPatient",
    (False, 6): "ImageOrientationPatient",
}
# The same in items of sequences.
_OF_ITEMS = {
    (True, 1): "RegionLocationMinX0 RegionLocationMinY0 RegionLocationMaxX1 RegionLocationMaxY1 ReferencePixelX0 "
    "ReferencePixelY0 DopplerSampleVolumeXPosition DopplerSampleVolumeYPosition TMLinePositionX0 TMLinePositionY0 "
    "TMLinePositionX1 TMLinePositionY1",
    (True, 3): "LUTDescriptor",
    (False, 1): "PhysicalDeltaX PhysicalDeltaY ReferencePixelPhysicalValueX ReferencePixelPhysicalValueY",
    (False, 2): "MaskSubPixelShift",
}


def _by_tag(rules: dict[_Rule, str]) -> dict[int, _Rule]:
    return {Tag(keyword): rule for rule, keywords in rules.items() for keyword in keywords.split()}


_RULES = _by_tag(_NUMBERS)
_RULES_OF_ITEMS = _RULES | _by_tag(_OF_ITEMS)
_MACROS = (
    "PixelMeasuresSequence PlanePositionSequence PlaneOrientationSequence PixelValueTransformationSequence "
    "CTImageFrameTypeSequence MRImageFrameTypeSequence"
).split()
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_HOLDERS = ("SequenceOfUltrasoundRegions", "MaskSubtractionSequence", "ModalityLUTSequence")
_SEQUENCES = {
    Tag(keyword)
    for keyword in (
        "DerivationCodeSequence SourceImageSequence ContributingEquipmentSequence SourceImageEvidenceSequence "
        "PurposeOfReferenceCodeSequence DerivationImageSequence ReferencedSeriesSequence ReferencedSOPSequence"
    ).split()
    + [*_MACROS, *_GROUPS, *_HOLDERS]
}
# What pixels are read by; the rest decides where they lie.
_OF_PIXELS = {
    Tag(keyword)
    for keyword in (
        "Rows Columns SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation PlanarConfiguration "
        "NumberOfFrames PixelPaddingValue PixelPaddingRangeLimit RescaleSlope RescaleIntercept LUTDescriptor "
        "ModalityLUTSequence PixelValueTransformationSequence"
    ).split()
    + [*_GROUPS, *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS)]
}
_NUMERIC = ("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV")
_NEEDED = ("SamplesPerPixel", "BitsAllocated", "BitsStored")
# Digits and what separates them: no name of a patient is among these.
_SHOWN = re.compile(rb"[0-9+\-., \\]{1,80}")


def label(element: int | str) -> str:
    """Returns the name of an element with its tag, as in "Pixel Spacing (0028,0030)".

    Args:
        element: A tag or a keyword.
    """
    tag = Tag(element)
    try:
        name = "private element" if tag.is_private else dictionary_description(tag)
    except KeyError:
        name = "element"
    return f"{name} ({tag.group:04X},{tag.element:04X})"


def check(ds: pydicom.Dataset, pixels_only: bool = False) -> None:
    """Checks the values that are computed with, in an image and the items of its sequences.

    Args:
        ds: The image.
        pixels_only: Where the image lies does not matter.

    Raises:
        InputError: One of them is missing, or is no number; the message has its name.
    """
    for holder in _holders(ds):
        rules = _RULES if holder is ds else _RULES_OF_ITEMS
        for tag in holder.keys():
            if pixels_only and tag not in _OF_PIXELS:
                continue
            if tag in rules:
                _check_numbers(holder, tag, *rules[tag])
            elif tag in _SEQUENCES and (vr := _vr_of(holder, tag)) != "SQ":
                raise InputError(f"{label(tag)} must be a sequence; its value representation is {vr}")
    for keyword in _NEEDED:
        if ds.get(keyword) is None:
            raise InputError(f"{label(keyword)} is missing")


def time_zone(ds: pydicom.Dataset) -> datetime.tzinfo | None:
    """Returns what Timezone Offset From UTC (0008,0201) says, or `None` where it is absent or not of its form."""
    try:
        offset = str(ds.get("TimezoneOffsetFromUTC") or "").strip()
        return datetime.datetime.strptime(offset, "%z").tzinfo if offset else None
    except ValueError:
        return None


def _holders(ds: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    yield ds
    for keyword in _HOLDERS:
        yield from _items(ds, keyword)
    for keyword in _GROUPS:
        for group in _items(ds, keyword):
            yield group
            for macro in _MACROS:
                yield from _items(group, macro)


def _items(ds: pydicom.Dataset, keyword: str) -> Iterable[pydicom.Dataset]:
    return ds[keyword].value or () if keyword in ds and _vr_of(ds, keyword) == "SQ" else ()


def _vr_of(holder: pydicom.Dataset, tag: int | str) -> str:
    try:
        return str(holder[tag].VR)
    except Exception as error:
        raise InputError(f"{label(tag)} cannot be read ({type(error).__name__})") from None


def _check_numbers(holder: pydicom.Dataset, tag: BaseTag, whole: bool, count: int) -> None:
    written = holder.get_item(tag).value
    try:
        value = holder[tag].value
        values = [value] if isinstance(value, int | float | str | bytes) or value is None else list(value)
        counted = len(values) == count if count else len(values) % 2 == 0
        if values in ([], [None], [""]) or counted and all(_is_number(value, whole) for value in values):
            return
        found = _found(holder[tag], values)
    except Exception:  # pydicom's errors quote the value
        found = "text"
    shown = isinstance(written, bytes) and _SHOWN.fullmatch(written.strip(b" \0"))
    if shown:
        found = written.decode("ascii").strip(" \0") + _unexpected(holder.get_item(tag).VR)
    raise InputError(f"{label(tag)} must be {_wanted(whole, count)}, not {found}")


def _unexpected(vr: str | None) -> str:
    return "" if vr is None or vr in _NUMERIC else f" with value representation {vr}"


def _is_number(value: Any, whole: bool = False) -> bool:
    finite = isinstance(value, int | float | decimal.Decimal) and math.isfinite(value)
    return finite and (not whole or value == int(value))


def _found(element: pydicom.DataElement, values: list) -> str:
    if all(map(_is_number, values)):
        return f"{len(values)} of them"
    return "text" + _unexpected(element.VR)


def _wanted(whole: bool, count: int) -> str:
    kind = "whole" if whole else "decimal"
    if count == 1:
        return f"a {kind} number"
    return f"{count} {kind} numbers" if count else f"pairs of {kind} numbers"
