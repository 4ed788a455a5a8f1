"""Validates the Attribute values that are computed with; an error names the first invalid one (D-44).

All other Data Elements are copied without being read, and may be broken.
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

# Whether the values must be integers, and their number; 0 for pairs.
_Rule = tuple[bool, int]

_FORMS = ("Shutter", "Collimator")
_EDGES = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
_COLORS = ("Red", "Green", "Blue")
# Of the Data Set, where there is a value.
_NUMBERS = {
    (True, 1): "Rows Columns SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation PlanarConfiguration "
    "NumberOfFrames PixelPaddingValue PixelPaddingRangeLimit SeriesNumber "
    + " ".join(f"{form}{edge}Edge" for form in _FORMS for edge in _EDGES)
    + " RadiusOfCircularShutter RadiusOfCircularCollimator",
    (True, 2): "CenterOfCircularShutter CenterOfCircularCollimator",
    (True, 3): " ".join(f"{color}PaletteColorLookupTableDescriptor" for color in _COLORS),
    (True, 0): "VerticesOfThePolygonalShutter VerticesOfThePolygonalCollimator",
    (False, 1): "RescaleSlope RescaleIntercept",
    (False, 2): "PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing",
    (False, 3): "ImagePositionPatient",
    (False, 6): "ImageOrientationPatient",
}
# Of Items of Sequences.
_ITEM_NUMBERS = {
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
_ITEM_RULES = _RULES | _by_tag(_ITEM_NUMBERS)
_MACROS = (
    "PixelMeasuresSequence PlanePositionSequence PlaneOrientationSequence PixelValueTransformationSequence "
    "CTImageFrameTypeSequence MRImageFrameTypeSequence"
).split()
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_ITEM_SEQUENCES = ("SequenceOfUltrasoundRegions", "MaskSubtractionSequence", "ModalityLUTSequence")
_SEQUENCES = {
    Tag(keyword)
    for keyword in (
        "DerivationCodeSequence SourceImageSequence ContributingEquipmentSequence SourceImageEvidenceSequence "
        "PurposeOfReferenceCodeSequence DerivationImageSequence ReferencedSeriesSequence ReferencedSOPSequence"
    ).split()
    + [*_MACROS, *_GROUPS, *_ITEM_SEQUENCES]
}
# What decoding the pixels depends on; the other Attributes describe their geometry.
_PIXEL_TAGS = {
    Tag(keyword)
    for keyword in (
        "Rows Columns SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation PlanarConfiguration "
        "NumberOfFrames PixelPaddingValue PixelPaddingRangeLimit RescaleSlope RescaleIntercept LUTDescriptor "
        "ModalityLUTSequence PixelValueTransformationSequence"
    ).split()
    + [*_GROUPS, *(f"{color}PaletteColorLookupTableDescriptor" for color in _COLORS)]
}
_NUMERIC = ("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV")
_NEEDED = ("SamplesPerPixel", "BitsAllocated", "BitsStored")
# Digits and separators: cannot be a patient's name.
_SAFE = re.compile(rb"[0-9+\-., \\]{1,80}")


def label(element: int | str) -> str:
    """Returns the name of an Attribute with its tag, as in "Pixel Spacing (0028,0030)".

    Args:
        element: A tag or a keyword.
    """
    tag = Tag(element)
    try:
        name = "private Data Element" if tag.is_private else dictionary_description(tag)
    except KeyError:
        name = "Data Element"
    return f"{name} ({tag.group:04X},{tag.element:04X})"


def check(ds: pydicom.Dataset, pixels_only: bool = False) -> None:
    """Checks the Attribute values that are computed with, in an image and in the Items of its Sequences.

    Args:
        ds: The image.
        pixels_only: Check only what decoding depends on, not the geometry.

    Raises:
        InputError: A value is missing or not a number; the message names the Attribute.
    """
    for holder in _data_sets(ds):
        rules = _RULES if holder is ds else _ITEM_RULES
        for tag in holder.keys():
            if pixels_only and tag not in _PIXEL_TAGS:
                continue
            if tag in rules:
                _check_numbers(holder, tag, *rules[tag])
            elif tag in _SEQUENCES and (vr := _vr_of(holder, tag)) != "SQ":
                raise InputError(f"{label(tag)} must be a Sequence; its Value Representation is {vr}")
    for keyword in _NEEDED:
        if ds.get(keyword) is None:
            raise InputError(f"{label(keyword)} is missing")


def time_zone(ds: pydicom.Dataset) -> datetime.tzinfo | None:
    """Returns Timezone Offset From UTC (0008,0201), or `None` where it is absent or malformed."""
    try:
        offset = str(ds.get("TimezoneOffsetFromUTC") or "").strip()
        return datetime.datetime.strptime(offset, "%z").tzinfo if offset else None
    except ValueError:
        return None


def _data_sets(ds: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    yield ds
    for keyword in _ITEM_SEQUENCES:
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
    except Exception as error:  # noqa: BLE001
        raise InputError(f"{label(tag)} cannot be read ({type(error).__name__})") from None


def _check_numbers(holder: pydicom.Dataset, tag: BaseTag, whole: bool, count: int) -> None:
    written = holder.get_item(tag).value
    try:
        value = holder[tag].value
        values = [value] if isinstance(value, int | float | str | bytes) or value is None else list(value)
        counted = len(values) == count if count else len(values) % 2 == 0
        if values in ([], [None], [""]) or (counted and all(_is_number(value, whole) for value in values)):
            return
        received = _received(holder[tag], values)
    except Exception:  # pydicom's errors quote the value  # noqa: BLE001
        received = "text"
    is_safe = isinstance(written, bytes) and _SAFE.fullmatch(written.strip(b" \0"))
    if is_safe:
        received = written.decode("ascii").strip(" \0") + _unexpected(holder.get_item(tag).VR)
    raise InputError(f"{label(tag)} must be {_expected(whole, count)}, not {received}")


def _unexpected(vr: str | None) -> str:
    return "" if vr is None or vr in _NUMERIC else f" with Value Representation {vr}"


def _is_number(value: Any, whole: bool = False) -> bool:
    finite = isinstance(value, int | float | decimal.Decimal) and math.isfinite(value)
    return finite and (not whole or value == int(value))


def _received(element: pydicom.DataElement, values: list) -> str:
    if all(map(_is_number, values)):
        return f"{len(values)} of them"
    return "text" + _unexpected(element.VR)


def _expected(whole: bool, count: int) -> str:
    number = "whole number" if whole else "decimal number"
    if count == 1:
        return f"a {number}"
    return f"{count} {number}s" if count else f"pairs of {number}s"
