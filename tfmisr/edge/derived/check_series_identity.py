"""Checks identity, provenance and copied Attributes of a derived series (V-11a, V-11b, V-11i, V-11j, V-11p, V-11q).

Each rule returns a sentence on what is wrong, or `None`. No rule quotes an Attribute value.
"""

from collections.abc import Iterator

import pydicom
from pydicom import uid
from pydicom.datadict import keyword_for_tag
from pydicom.tag import Tag

from tfmisr.edge.derived.check_series import Image, SeriesPair
from tfmisr.edge.derived.checking import PROCESSING_EVENTS, Contents, Path, codes, is_empty

_PARTS = ("Date", "Time")
_CONTEXT = (
    "StudyInstanceUID FrameOfReferenceUID PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime "
    "StudyID AccessionNumber Modality SpecificCharacterSet"
).split()
_SAME_IN_SERIES = (
    "SOPClassUID SeriesNumber SeriesDescription SeriesDate SeriesTime Manufacturer "
    "ManufacturerModelName SoftwareVersions DeviceSerialNumber StationName WindowCenter WindowWidth"
).split()
_ENHANCED = {
    uid.CTImageStorage: uid.EnhancedCTImageStorage,
    uid.MRImageStorage: uid.EnhancedMRImageStorage,
}
# Written for the new slices, and checked by other rules.
_WRITTEN = (
    "SOPInstanceUID SeriesInstanceUID SeriesNumber SeriesDescription SeriesDate SeriesTime InstanceNumber ImageType "
    "InstanceCreationDate InstanceCreationTime ContentDate ContentTime DerivationCodeSequence DerivationDescription "
    "SourceImageSequence ContributingEquipmentSequence Manufacturer ManufacturerModelName SoftwareVersions "
    "DeviceSerialNumber StationName DeviceUID UDISequence GantryID ContentQualification ImagePositionPatient "
    "ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices SliceLocation TriggerTime WindowCenter "
    "WindowWidth WindowCenterWidthExplanation RescaleSlope RescaleIntercept SmallestImagePixelValue "
    "LargestImagePixelValue PixelData Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation "
    "LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod"
).split()
# Describe the source's bytes, its pixels or the number of its slices.
_REMOVED = (
    "DigitalSignaturesSequence MACParametersSequence EncryptedAttributesSequence DataSetTrailingPadding "
    "PixelDataProviderURL RetrieveURL RetrieveURI RetrieveAETitle InstanceAvailability InstanceCreatorUID PyramidUID "
    "PyramidLabel PyramidDescription ConcatenationUID SOPInstanceUIDOfConcatenationSource InConcatenationNumber "
    "InConcatenationTotalNumber ConcatenationFrameOffsetNumber ExtendedOffsetTable ExtendedOffsetTableLengths "
    "IconImageSequence HistogramSequence VerticesOfTheRegion ShutterOverlayGroup SmallestPixelValueInSeries "
    "LargestPixelValueInSeries SmallestImagePixelValueInPlane LargestImagePixelValueInPlane FramePixelShiftSequence "
    "PixelShiftSequence ExposureControlSensingRegionsSequence ZoomCenter NumberOfSlices ImagesInAcquisition ImageIndex "
    "StackID InStackPositionNumber"
).split()
_WRITTEN_TAGS = {int(Tag(keyword)) for keyword in (*_WRITTEN, *_CONTEXT)}
_REMOVED_TAGS = {int(Tag(keyword)) for keyword in _REMOVED}


def identifiers(pair: SeriesPair) -> str | None:
    """V-11a: all UIDs are new, those of the instances unique, and there is one new series."""
    old = {str(image.ds.get(k)) for image in pair.source for k in ("SOPInstanceUID", "SeriesInstanceUID")}
    series = {str(image.ds.get("SeriesInstanceUID") or "") for image in pair.result}
    if len(series) > 1 or "" in series or series & old:
        return "the new slices must belong to one new series"
    if len({image.identity for image in pair.result}) < len(pair.result):
        return "each new slice must have a SOP Instance UID of its own"
    for image in pair.result:
        new = str(image.ds.get("SOPInstanceUID") or "")
        if not new or new in old:
            return "SOP Instance UIDs must be new ones"
        if new != image.ds.file_meta.get("MediaStorageSOPInstanceUID"):
            return "SOP Instance UID differs from that in File Meta Information"
    return None


def context(pair: SeriesPair) -> str | None:
    """V-11b: patient, study, frame of reference and modality are the source's."""
    expected = pair.source[0].contents
    for image in pair.result:
        if names := [k for k in _CONTEXT if _bytes(image, k) != expected.get(_path(k), ("", b""))[1]]:
            return f"{', '.join(names)} must be the source's"
    kind = pair.source[0].ds.SOPClassUID
    allowed = (_ENHANCED.get(kind, kind),) if pair.enhanced else (kind,)
    if any(image.ds.get("SOPClassUID") not in allowed for image in pair.result):
        return "SOP Class UID must be the source's, or that of the Enhanced object"
    return None


def _path(keyword: str) -> Path:
    return ((int(Tag(keyword)), 0),)


def _bytes(image: Image, keyword: str) -> bytes:
    return image.contents.get(_path(keyword), ("", b""))[1]


def derivation(pair: SeriesPair) -> str | None:
    """V-11i: Image Type, derivation code and description, and equipment state how the slices were made."""
    expected = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"] if pair.enhanced else ["DERIVED", "SECONDARY"]
    for image, holder in zip(pair.result, pair.descriptions, strict=True):
        types = list(image.ds.get("ImageType") or [])
        frame_types = [list(m.FrameType) for m in image.group.values() if m.get("FrameType")]
        if any(found[: len(expected)] != expected for found in (types, *frame_types)):
            return f"Image Type must begin with {', '.join(expected)}"
        if "113085" not in codes(holder, "DerivationCodeSequence"):
            return "Derivation Code Sequence must have (113085, DCM, Spatial resampling)"
        text = str(holder.get("DerivationDescription") or "")
        needed = "not acquired", "slice profile", f"{pair.spacing:.6g}"[:4]
        if any(part not in text for part in needed) or len(text) > 1024:
            return "Derivation Description must state spacing and profile, and that pixels are not acquired"
        purposes = {code for item in image.ds.get("ContributingEquipmentSequence") or () for code in _purpose(item)}
        if not {"109101", "109102"} <= purposes:
            return "Contributing Equipment Sequence must name acquisition (109101) and processing equipment (109102)"
    return None


def _purpose(item: pydicom.Dataset) -> list[str]:
    return codes(item, "PurposeOfReferenceCodeSequence")


def series(pair: SeriesPair) -> str | None:
    """V-11j: number, description and dates of the series are new and equal in its instances, or it has no dates."""
    first, source = pair.result[0].ds, pair.source[0].ds
    if is_empty(first.get("SeriesNumber")) or first.SeriesNumber == source.get("SeriesNumber"):
        return "Series Number must be a new one"
    if " mm" not in str(first.get("SeriesDescription")) or len(str(first.SeriesDescription)) > 64:
        return "Series Description must state the new spacing, in 64 characters"
    if differing := [k for k in _SAME_IN_SERIES if len({_bytes(image, k) for image in pair.result}) > 1]:
        return f"{', '.join(differing)} must be equal in all slices"
    times = [image.ds.get(f"{event}{part}") for image in pair.result for event in PROCESSING_EVENTS for part in _PARTS]
    if not pair.enhanced and all(map(is_empty, times)):
        return None  # left out altogether (`identity.omit_times`)
    for event in PROCESSING_EVENTS:
        if any(is_empty(first.get(f"{event}{part}")) for part in _PARTS):
            return f"{event} Date and Time must be those of the processing"
        if all(first[k].value == source.get(k) for k in (f"{event}Date", f"{event}Time")):
            return f"{event} Date and Time must be those of the processing"
    return None


def slice_attributes(pair: SeriesPair) -> str | None:
    """V-11p: what is equal in all acquired slices is copied; what differs between them is not in the new ones."""
    elements = [image.contents for image in pair.source]
    paths = {path for contents in elements for path in contents if _is_copied(path)}
    single = {path[0][0] for path in paths if _differs(elements, path)}
    changed, kept = set(), set()
    for path in paths:
        found = {image.contents.get(path, ("", b""))[1] for image in pair.result}
        stated = {contents.get(path, ("", b""))[1] for contents in elements}  # several forms of one number
        if path[0][0] in single:
            kept |= {path[0][0]} if found != {b""} else set()
        elif not pair.enhanced and (len(found) > 1 or not found <= stated):
            changed.add(path[-1][0])
    if changed:
        return f"{_names(changed)} must equal the source's, byte by byte"
    return f"{_names(kept)} describe single acquired slices and must be removed" if kept else None


def _differs(elements: list[Contents], path: Path) -> bool:
    values = {contents.get(path, ("", b""))[1] for contents in elements}
    return len(values) > 1 and not _equal_numbers(values, path, elements)


def _equal_numbers(values: set[bytes], path: Path, elements: list[Contents]) -> bool:
    """Whether Decimal Strings differ only in how the same number is written."""
    if next(c[path][0] for c in elements if path in c) not in ("DS", "IS"):
        return False
    try:
        return len({tuple(float(part) for part in value.split(b"\\")) for value in values}) == 1
    except ValueError:
        return False


def _is_copied(path: Path) -> bool:
    tags = {tag for tag, _ in path}
    if path[0][0] in _WRITTEN_TAGS or tags & _REMOVED_TAGS or path[0][0] >> 16 == 0x5200:
        return False
    if any(tag >> 16 & 1 or not tag & 0xFFFF for tag in tags):
        return False
    return path[0][0] >> 24 not in (0x50, 0x60) and path[0][0] >> 16 >= 8


def _names(tags: set[int]) -> str:
    return ", ".join(sorted(keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags))


def removed(pair: SeriesPair) -> str | None:
    """V-11q: no private Data Elements, overlays or Attributes of the source's bytes; short Decimal Strings."""
    sources = {text for image in pair.source for text in _long_decimals(image.contents)}
    for image in pair.result[:1] if pair.enhanced else pair.result:
        if found := [k for k in _REMOVED if k in image.ds]:
            return f"{', '.join(found)} must be removed"
        if any(tag >> 16 & 1 or tag >> 24 == 0x60 for path in image.contents for tag, _ in path):
            return "private Data Elements and overlays must be removed"
        if set(_long_decimals(image.contents)) - sources:
            return "a Decimal String has more than 16 characters"
        if image.ds.file_meta.TransferSyntaxUID.is_deflated or not getattr(image.ds, "preamble", None):
            return "the file must have a preamble and a transfer syntax without loss"
    return None


def _long_decimals(contents: Contents) -> Iterator[bytes]:
    values = (value for vr, value in contents.values() if vr == "DS")
    return (part for value in values for part in value.split(b"\\") if len(part.strip()) > 16)


RULES = {
    "V-11a": identifiers,
    "V-11b": context,
    "V-11i": derivation,
    "V-11j": series,
    "V-11p": slice_attributes,
    "V-11q": removed,
}
