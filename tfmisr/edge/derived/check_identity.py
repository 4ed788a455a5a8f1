"""Checks identity, provenance and removed Attributes of a derived image (D-01 to D-18, D-37 to D-43).

Each rule returns a sentence on what is wrong, or `None`. No rule quotes an Attribute value.
"""

from collections.abc import Iterable, Iterator

import pydicom
from pydicom import uid

from tfmisr.edge.derived import checking
from tfmisr.edge.derived.checking import Pair, codes, first_item, frame_groups, is_empty, same

_ALLOWED = {
    "ComputedRadiographyImageStorage",
    "DigitalXRayImageStorageForPresentation",
    "DigitalMammographyXRayImageStorageForPresentation",
    "CTImageStorage",
    "MRImageStorage",
    "UltrasoundImageStorage",
    "UltrasoundMultiFrameImageStorage",
    "SecondaryCaptureImageStorage",
    "MultiFrameGrayscaleByteSecondaryCaptureImageStorage",
    "MultiFrameGrayscaleWordSecondaryCaptureImageStorage",
    "MultiFrameTrueColorSecondaryCaptureImageStorage",
    "XRayAngiographicImageStorage",
    "XRayRadiofluoroscopicImageStorage",
    "PositronEmissionTomographyImageStorage",
    "EnhancedCTImageStorage",
    "EnhancedMRImageStorage",
}
_ACQUISITION_TIMES = ("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime")
_REMOVED = (
    "DigitalSignaturesSequence MACParametersSequence DataSetTrailingPadding PixelDataProviderURL PyramidUID "
    "ConcatenationUID SOPInstanceUIDOfConcatenationSource InConcatenationNumber ConcatenationFrameOffsetNumber "
    "EncryptedAttributesSequence"
).split()
_BIPLANE = (uid.XRayAngiographicImageStorage, uid.XRayRadiofluoroscopicImageStorage)
_LOSSLESS = (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLossless, uid.JPEGLosslessSV1)


def instance_uid(pair: Pair) -> str | None:
    """D-01: SOP Instance UID is new, and equal in File Meta Information."""
    new = pair.result.get("SOPInstanceUID")
    if is_empty(new) or new == pair.source.get("SOPInstanceUID"):
        return "SOP Instance UID must be a new one"
    if new != pair.result.file_meta.get("MediaStorageSOPInstanceUID"):
        return "SOP Instance UID differs from that in File Meta Information"
    return None


def series_uid(pair: Pair) -> str | None:
    """D-04: Series Instance UID is new."""
    new = pair.result.get("SeriesInstanceUID")
    if is_empty(new) or new == pair.source.get("SeriesInstanceUID"):
        return "Series Instance UID must be a new one"
    return None


def numbers(pair: Pair) -> str | None:
    """D-05: Instance Number is kept; Series Number and Series Description are new."""
    if pair.changed(["InstanceNumber"]):
        return "Instance Number must be the source's"
    number = pair.result.get("SeriesNumber")
    if is_empty(number) or same(number, pair.source.get("SeriesNumber")):
        return "Series Number must be a new one"
    before, after = (
        elements.get(((0x0008103E, 0),), ("", b""))[1] for elements in (pair.source_bytes, pair.result_bytes)
    )
    if len(str(pair.result.get("SeriesDescription") or "")) > 64 or not after.startswith(before[:40]):
        return "Series Description must be the source's and a suffix, at most 64 characters"
    return None


def dates(pair: Pair) -> str | None:
    """D-06: acquisition dates and times are kept, those of the processing are new, or left out altogether."""
    if changed := pair.changed(_ACQUISITION_TIMES):
        return f"{', '.join(changed)} must be the source's"
    if checking.omits_times(pair):
        return None
    for event in checking.PROCESSING_EVENTS:
        when = [pair.result.get(f"{event}{part}") for part in ("Date", "Time")]
        if event == "Series" and all(map(is_empty, when)):
            continue  # not known where slices are processed one by one
        if any(map(is_empty, when)) or when == [pair.source.get(f"{event}{part}") for part in ("Date", "Time")]:
            return f"{event} Date and Time must be those of the processing"
    return None


def sop_class(pair: Pair) -> str | None:
    """D-07: SOP Class UID is kept, and is one that is upscaled."""
    if pair.changed(["SOPClassUID"]):
        return "SOP Class UID must be the source's"
    if uid.UID(pair.result.SOPClassUID).keyword not in _ALLOWED:
        return "SOP Class UID is not one of those that are upscaled"
    return None


def _types(pair: Pair) -> list[tuple[list[str], list[str]]]:
    """Returns Image Type and each Frame Type, of source and result."""
    pairs = [(pair.source.get("ImageType"), pair.result.get("ImageType"))]
    for old, new in zip(frame_groups(pair.source), frame_groups(pair.result), strict=False):
        for keyword in ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence"):
            if keyword in new:
                before, after = first_item(old.get(keyword)), first_item(new[keyword].value)
                pairs.append((before.get("FrameType"), after.get("FrameType")))
    return [(_as_list(old), _as_list(new)) for old, new in pairs]


def _as_list(value: str | Iterable[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def image_type(pair: Pair) -> str | None:
    """D-10: Image Type and Frame Type start with DERIVED and SECONDARY or PRIMARY."""
    primary = pair.enhanced or pair.result.get("SOPClassUID") == uid.PositronEmissionTomographyImageStorage
    expected = ["DERIVED", "PRIMARY" if primary else "SECONDARY"]
    if any(new[:2] != expected for _, new in _types(pair)):
        return f"Image Type and Frame Type must begin with {expected[0]}, {expected[1]}"
    return None


def image_type_more(pair: Pair) -> str | None:
    """D-11: the other values of Image Type and Frame Type."""
    for old, new in _types(pair):
        if any(len(value) > 16 or value != value.upper() for value in new):
            return "values of Image Type must be upper case, at most 16 characters"
        if len(old) > 2 and old[2] and new[2:3] != old[2:3]:
            return "value 3 of Image Type must be the source's"
        if pair.enhanced and (len(new) != 4 or new[3] != "RESAMPLED"):
            return "Image Type and Frame Type must have four values, the last RESAMPLED"
        has_no_marker = pair.result.get("SOPClassUID") in _BIPLANE and len(old) < 3
        if not pair.enhanced and not has_no_marker and not set(new[3:]) - set(old):
            return "value 4 or a later one of Image Type must name the processing"
    return None


def _derivations(pair: Pair) -> list[pydicom.Dataset]:
    """Returns the Data Sets that describe the derivation: the image, or one Item per frame."""
    if not pair.enhanced:
        return [pair.result]
    sequences = [group.get("DerivationImageSequence") for group in frame_groups(pair.result)]
    return [items[-1] if items else first_item(None) for items in sequences]


def derivation_code(pair: Pair) -> str | None:
    """D-12: Derivation Code Sequence."""
    if any("113085" not in codes(ds, "DerivationCodeSequence") for ds in _derivations(pair)):
        return "Derivation Code Sequence must have (113085, DCM, Spatial resampling)"
    return None


def derivation_description(pair: Pair) -> str | None:
    """D-13: Derivation Description."""
    path = ((0x00082111, 0),)
    before, after = (elements.get(path, ("", b""))[1] for elements in (pair.source_bytes, pair.result_bytes))
    if not pair.enhanced and not after.startswith(before[:256].strip()):
        return "Derivation Description must begin with the source's"
    for ds in _derivations(pair):
        text = str(ds.get("DerivationDescription") or "")
        if f"x{pair.scale}" not in text or "not acquired" not in text or len(text) > 1024:
            return "Derivation Description must state the factor and that pixels are not acquired, in 1024 characters"
    return None


def _source_items(pair: Pair) -> Iterator[tuple[int, int, pydicom.Dataset | None]]:
    for number, ds in enumerate(_derivations(pair), start=1):
        items = ds.get("SourceImageSequence") or ()
        matching = [i for i in items if i.get("ReferencedSOPInstanceUID") == pair.source.get("SOPInstanceUID")]
        yield number, len(items), matching[-1] if matching else None


def source_image(pair: Pair) -> str | None:
    """D-14: Source Image Sequence."""
    earlier = len(pair.source.get("SourceImageSequence") or ()) if not pair.enhanced else 0
    for number, count, item in _source_items(pair):
        if item is None or item.get("ReferencedSOPClassUID") != pair.source.get("SOPClassUID"):
            return "Source Image Sequence must reference the source"
        if "121322" not in codes(item, "PurposeOfReferenceCodeSequence"):
            return "the purpose of reference must be (121322, DCM, Source image for image processing operation)"
        if pair.enhanced and item.get("ReferencedFrameNumber") != number:
            return "each frame must reference its own source frame"
        if count <= earlier:
            return "Source Image Sequence must keep the source's Items"
    return None


def locations(pair: Pair) -> str | None:
    """D-15: Spatial Locations Preserved."""
    if any(item is not None and item.get("SpatialLocationsPreserved") != "NO" for _, _, item in _source_items(pair)):
        return "Spatial Locations Preserved must be NO"
    return None


def equipment(pair: Pair) -> str | None:
    """D-16: Contributing Equipment Sequence."""
    items = pair.result.get("ContributingEquipmentSequence") or ()
    if len(items) <= len(pair.source.get("ContributingEquipmentSequence") or ()):
        return "Contributing Equipment Sequence must keep the source's Items and add one"
    equipment_by_code = {code: item for item in items for code in codes(item, "PurposeOfReferenceCodeSequence")}
    if not {"109101", "109102"} <= set(equipment_by_code):
        return "Contributing Equipment Sequence must name acquisition (109101) and processing equipment (109102)"
    if any(is_empty(item.get("Manufacturer")) for item in equipment_by_code.values()):
        return "contributing equipment must have a Manufacturer"
    needed = ["SoftwareVersions", "ContributionDescription"]
    if not checking.omits_times(pair):
        needed.append("ContributionDateTime")
    if missing := [keyword for keyword in needed if is_empty(equipment_by_code["109102"].get(keyword))]:
        return f"the processing equipment must have {', '.join(missing)}"
    return None


def general_equipment(pair: Pair) -> str | None:
    """D-17: General Equipment Module."""
    if pair.changed(["Manufacturer"]):
        remaining = [k for k in ("DeviceSerialNumber", "StationName", "DeviceUID") if not is_empty(pair.result.get(k))]
        if remaining := [k for k in remaining if same(pair.source.get(k), pair.result.get(k))]:
            return f"{', '.join(remaining)} must not be the scanner's where Manufacturer is not"
    elif pair.changed(["DeviceSerialNumber", "StationName", "ManufacturerModelName"]):
        return "the equipment must be the scanner's where Manufacturer is"
    return None


def label(pair: Pair) -> str | None:
    """D-18: label in Series Description."""
    if f"SRx{pair.scale}" not in str(pair.result.get("SeriesDescription")):
        return f"Series Description must have the label SRx{pair.scale}"
    return None


def lossy(pair: Pair) -> str | None:
    """D-37: Lossy Image Compression."""
    keywords = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
    if not is_empty(pair.source.get(keywords[0])) and (changed := pair.changed(keywords)):
        return f"{', '.join(changed)} must be the source's"
    if pair.result.get(keywords[0]) == "01" and pair.source.file_meta.TransferSyntaxUID.is_compressed is False:
        if pair.source.get(keywords[0]) != "01":
            return "Lossy Image Compression must not become 01"
    return None


def file_meta(pair: Pair) -> str | None:
    """D-38: File Meta Information and Transfer Syntax."""
    meta = pair.result.file_meta
    if meta.TransferSyntaxUID not in (uid.ExplicitVRLittleEndian, *_LOSSLESS):
        return "the Transfer Syntax must be Explicit VR Little Endian or a lossless one"
    if is_empty(meta.get("ImplementationClassUID")) or not getattr(pair.result, "preamble", None):
        return "the file must have a preamble and an Implementation Class UID"
    if meta.ImplementationClassUID == pair.source.file_meta.get("ImplementationClassUID"):
        return "Implementation Class UID must be that of the software, not the source's"
    return None


def burned_in(pair: Pair) -> str | None:
    """D-39: Burned In Annotation."""
    if changed := pair.changed(("BurnedInAnnotation", "RecognizableVisualFeatures")):
        return f"{', '.join(changed)} must be the source's"
    return None


def private(pair: Pair) -> str | None:
    """D-40: private Data Elements."""
    if not pair.keep_private and any(element.tag.is_private for element in pair.result.iterall()):
        return "private Data Elements may describe the source's pixels and must be removed"
    return None


def removed(pair: Pair) -> str | None:
    """D-41: Attributes that must be removed."""
    if remaining := [keyword for keyword in _REMOVED if keyword in pair.result]:
        return f"{', '.join(remaining)} must be removed"
    if changed := pair.changed(
        ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence")
    ):
        return f"{', '.join(changed)} must be the source's"
    return None


RULES = {
    "D-01": instance_uid,
    "D-04": series_uid,
    "D-05": numbers,
    "D-06": dates,
    "D-07": sop_class,
    "D-10": image_type,
    "D-11": image_type_more,
    "D-12": derivation_code,
    "D-13": derivation_description,
    "D-14": source_image,
    "D-15": locations,
    "D-16": equipment,
    "D-17": general_equipment,
    "D-18": label,
    "D-37": lossy,
    "D-38": file_meta,
    "D-39": burned_in,
    "D-40": private,
    "D-41": removed,
}
