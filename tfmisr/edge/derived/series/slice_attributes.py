"""Which Attributes of the acquired slices the new slices have (V-11).

An Attribute that is equal in all acquired slices describes the series and is copied, byte by byte. One that differs
describes a single slice, which the new slices are not:

| Attribute | of a new slice |
|---|---|
| Image Position (Patient), Slice Location, Trigger Time | at its place: on the new grid; linear between the slices |
| Instance Number, UIDs, Image Type, dates of processing, Pixel Data, limits | recomputed |
| Window Center and Width | the median of all slices, the same for the whole series |
| Rescale Slope and Intercept | one pair for the whole series, see `rescale` |
| what identifies patient, study, series and equipment, or tells kinds of images apart | the source is refused |
| what must be present (Type 2) | present and empty |
| all others: times, exposure, comments, references of one slice | removed |

Counts of slices are removed even where they are equal: the new series has another number of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from tfmisr.edge.derived import verbatim
from tfmisr.edge.derived.series.sources import Slices
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

_EQUAL = (
    "SpecificCharacterSet TimezoneOffsetFromUTC SOPClassUID Modality StudyInstanceUID SeriesInstanceUID "
    "FrameOfReferenceUID PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "Rows Columns SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation "
    "PixelPaddingValue PixelPaddingRangeLimit RescaleType ScanningSequence SequenceVariant BurnedInAnnotation "
    "EchoTime EchoNumbers DiffusionBValue TemporalPositionIdentifier"
).split()
_EMPTY = (
    "AcquisitionNumber KVP ScanOptions MRAcquisitionType EchoTrainLength RepetitionTime InversionTime TriggerTime "
    "PositionReferenceIndicator PatientOrientation Manufacturer ReferringPhysicianName Laterality"
).split()
_PER_SLICE = (
    "SOPInstanceUID InstanceNumber ImageType ImagePositionPatient SliceLocation TriggerTime WindowCenter WindowWidth "
    "RescaleSlope RescaleIntercept SmallestImagePixelValue LargestImagePixelValue InstanceCreationDate "
    "InstanceCreationTime ContentDate ContentTime SourceImageSequence LossyImageCompression LossyImageCompressionRatio "
    "LossyImageCompressionMethod"
).split()
_NEARLY_EQUAL = ("ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
# Counts and indices of slices, and references of one slice to others.
_REMOVED = (
    "NumberOfSlices ImagesInAcquisition ImageIndex StackID InStackPositionNumber NumberOfFrames FrameIncrementPointer "
    "ConcatenationFrameOffsetNumber SourceImageSequence"
).split()


def _tags(keywords: list[str] | tuple[str, ...]) -> set[int]:
    return {int(Tag(keyword)) for keyword in keywords}


_EQUAL_TAGS, _EMPTY_TAGS, _PER_SLICE_TAGS = _tags(_EQUAL), _tags(_EMPTY), _tags(_PER_SLICE)
_NEARLY_TAGS, _REMOVED_TAGS = _tags(_NEARLY_EQUAL), _tags(_REMOVED)


def common(slices: Slices) -> tuple[verbatim.Verbatim, list[str]]:
    """Returns the Attributes of the series, and remarks on those that were removed.

    The Attributes that are written for each slice are those of the first acquired slice.

    Raises:
        InputError: The slices differ in what must be equal; the message names the Attribute.
    """
    headers = slices.headers
    target = verbatim.copy_dataset(headers[0], lambda holder, tag: holder is not headers[0] or _is_copied(tag))
    differing = [tag for tag in sorted({tag for header in headers for tag in header.keys()}) if differs(headers, tag)]
    _check_equal(headers, differing)
    removed = []
    for tag in differing:
        if tag in _PER_SLICE_TAGS or tag in _NEARLY_TAGS or not _is_copied(tag):
            continue
        if tag in _EMPTY_TAGS:
            target[tag] = pydicom.DataElement(tag, dictionary_VR(tag), None)
        else:
            target.pop(tag, None)
        removed.append(_name(tag))
    _write_windows(target, headers)
    _write_lossy(target, headers)
    remarks = [f"removed, as they differ between slices: {', '.join(removed)}"] if removed else []
    return target, [*remarks, *overlay_remarks(headers)]


def _is_copied(tag: int) -> bool:
    return tag not in _REMOVED_TAGS and not 0x60000000 <= tag < 0x61000000


def overlay_remarks(headers: Sequence[pydicom.Dataset]) -> list[str]:
    """Returns a remark for each overlay plane, which is not copied."""
    groups = {tag.group for header in headers for tag in header.keys() if 0x6000 <= tag.group < 0x6100}
    return [f"overlay plane {group:04X} is removed" for group in sorted(groups)]


def _name(tag: int) -> str:
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def differs(headers: Sequence[pydicom.Dataset], tag: int) -> bool:
    """Whether a Data Element is not the same in all Data Sets; an empty one equals an absent one."""
    first = _content(headers[0], tag)
    return any(_content(header, tag) != first for header in headers[1:])


def _content(ds: pydicom.Dataset, tag: int) -> object:
    """Returns what a Data Element says, for comparison; an empty one equals an absent one."""
    element = ds.get_item(tag)
    if element is None:
        return None
    if element.VR == "SQ":
        items = [tuple((t, _content(item, t)) for t in sorted(item.keys())) for item in element.value or ()]
        return tuple(items) or None
    if not isinstance(element, RawDataElement):
        return None if element.is_empty else repr(element.value)
    value = (element.value or b"").rstrip(b" \0")
    if element.VR in ("DS", "IS"):
        try:
            return tuple(float(part) for part in value.split(b"\\")) if value else None
        except ValueError:
            pass
    return value or None


def _check_equal(headers: list[verbatim.Verbatim], differing: list[BaseTag]) -> None:
    if names := [label(tag) for tag in differing if tag in _EQUAL_TAGS]:
        raise InputError(f"expected one series of one kind of image; its slices differ in {', '.join(names)}")
    for keyword in ("ImageOrientationPatient", "PixelSpacing"):
        values = [np.array(header.get(keyword) or [], float) for header in headers]
        if not all(value.shape == values[0].shape and np.allclose(value, values[0], atol=1e-3) for value in values):
            raise InputError(f"the slices differ in {label(keyword)}")
    if len({_image_kind(header) for header in headers}) > 1:
        raise InputError(f"the slices differ in value 3 of {label('ImageType')}: they are different kinds of images")


def _image_kind(header: verbatim.Verbatim) -> str:
    types: Any = header.get("ImageType") or ()
    return str(types[2]) if not isinstance(types, str) and len(types) > 2 else ""


def _write_windows(target: verbatim.Verbatim, headers: list[verbatim.Verbatim]) -> None:
    """Writes one window for the series where the slices have their own: the median of their first ones."""
    keywords = ("WindowCenter", "WindowWidth")
    if not any(differs(headers, int(Tag(keyword))) for keyword in keywords):
        return
    numbers = [first_window(header) for header in headers]
    for keyword in (*keywords, "WindowCenterWidthExplanation"):
        target.pop(keyword, None)
    if present := [pair for pair in numbers if pair is not None]:
        for keyword, value in zip(keywords, np.median(present, axis=0), strict=True):
            setattr(target, keyword, pydicom.valuerep.DSfloat(float(value), auto_format=True))


def first_window(holder: pydicom.Dataset) -> tuple[float, float] | None:
    """Returns the first Window Center and Width of a Data Set, `None` without them."""
    values = [holder.get(keyword) for keyword in ("WindowCenter", "WindowWidth")]
    if any(value is None or value == "" for value in values):
        return None
    center, width = (value[0] if isinstance(value, pydicom.multival.MultiValue) else value for value in values)
    return float(center), float(width)


def _write_lossy(target: verbatim.Verbatim, headers: list[verbatim.Verbatim]) -> None:
    """Marks the series as compressed with loss where one slice was, with the largest ratio (D-37)."""
    lossy = [header for header in headers if header.get("LossyImageCompression") == "01"]
    if not lossy:
        return
    worst = max(lossy, key=lambda header: _largest(header.get("LossyImageCompressionRatio")))
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        target.pop(keyword, None)
        if keyword in worst:
            target[keyword] = worst.get_item(keyword)


def _largest(ratio: object) -> float:
    values = ratio if isinstance(ratio, pydicom.multival.MultiValue) else [ratio or 0]
    return max(map(float, values), default=0.0)
