"""Checks a half-width map against the upscaled image it belongs to (T-20 to T-22).

Each rule returns a sentence on what is wrong, or `None`. No rule quotes an Attribute value.
"""

import math
import re
from collections.abc import Callable

import numpy as np
import pydicom
from pydicom import uid

from tfmisr.edge.derived import half_width_values
from tfmisr.edge.derived.checking import ENHANCED, Pair, first_item, frame_groups, is_empty, same, stored_pixels
from tfmisr.edge.derived.half_width_attributes import CODE

_TYPE = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
_PLANE = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
}
_SPACINGS = "PixelSpacing PixelSpacingCalibrationType ImagerPixelSpacing NominalScannedPixelSpacing".split()
_STUDY = (
    "SpecificCharacterSet StudyInstanceUID StudyDate StudyTime StudyID StudyDescription AccessionNumber "
    "ReferringPhysicianName Modality Laterality BodyPartExamined AcquisitionDate AcquisitionTime"
).split()
_LABEL = re.compile(r"(^| )SRx\d+( AI)? half-width [0-9.]+/[0-9.]+$")
_STATEMENT = re.compile(r"alpha [0-9.e-]+, delta [0-9.e-]+, lambda [0-9.e+-]+, n \d+")

Rule = Callable[[Pair], str | None]


def is_map(ds: pydicom.Dataset) -> bool:
    """Whether a Data Set is a half-width map, by its quantity (C.7.6.16.2.11)."""
    quantity = first_item(_mapping(ds).get("QuantityDefinitionSequence"))
    concept = first_item(quantity.get("ConceptCodeSequence"))
    return (concept.get("CodeValue"), concept.get("CodingSchemeDesignator")) == CODE[:2]


def violations(pair: Pair, half_width: np.ndarray | None) -> list[str]:
    """Returns one line for each rule that a map breaks.

    Args:
        pair: The upscaled image as source, the map as result.
        half_width: The recorded half-widths in units of rescaled values, (frames, rows, columns); `None` if not known.

    Raises:
        InputError: `half_width` has another shape than the image, or is not a map of half-widths.
    """
    if reason := _size(pair):  # the other rules would fail for the same reason
        return [f"T-22 {reason}"]
    kind = ("T-20", _PARAMETRIC_MAP) if _is_parametric(pair) else ("T-21", _SECONDARY_CAPTURE)
    lines = [f"{number} {reason}" for number, rules in (("T-22", _BOTH), kind) for r in rules if (reason := r(pair))]
    if half_width is not None and not _samples(pair):
        reason = _values(pair, half_width_values.frames_of(pair.source, half_width))
        lines += [f"T-22 {reason}"] if reason else []
    return lines


def _is_parametric(pair: Pair) -> bool:
    return bool(pair.result.SOPClassUID == uid.ParametricMapStorage)


def _mapping(ds: pydicom.Dataset) -> pydicom.Dataset:
    """Returns the Real World Value Mapping of all frames."""
    shared = first_item(ds.get("SharedFunctionalGroupsSequence"))
    return first_item(ds.get("RealWorldValueMappingSequence") or shared.get("RealWorldValueMappingSequence"))


def _frames(ds: pydicom.Dataset) -> int:
    return int(ds.get("NumberOfFrames") or 1)


def _size(pair: Pair) -> str | None:
    source, result = pair.source, pair.result
    length = result.Rows * result.Columns * _frames(result) * result.BitsAllocated // 8
    data = result.get("FloatPixelData") or result.get("PixelData")
    sizes = [(ds.Rows, ds.Columns, _frames(ds)) for ds in (source, result)]
    # Without its header, compressed data is not decoded here but by `_values`.
    native = not result.file_meta.TransferSyntaxUID.is_encapsulated
    if sizes[0] != sizes[1] or (native and len(data) != length):
        return "Rows, Columns, Number of Frames and the length of the pixels must be those of the upscaled image"
    if result.PhotometricInterpretation != "MONOCHROME2" or result.SamplesPerPixel != 1:
        return "Photometric Interpretation must be MONOCHROME2"
    return None


def _identity(pair: Pair) -> str | None:
    source, result = pair.source, pair.result
    if result.SOPInstanceUID == source.SOPInstanceUID or result.SeriesInstanceUID == source.SeriesInstanceUID:
        return "SOP Instance UID and Series Instance UID must be new ones"
    if result.SOPInstanceUID != result.file_meta.get("MediaStorageSOPInstanceUID"):
        return "SOP Instance UID differs from that in File Meta Information"
    if same(result.get("SeriesNumber"), source.get("SeriesNumber")):
        return "Series Number must be a new one"
    return None


def _description(pair: Pair) -> str | None:
    text = str(pair.result.get("SeriesDescription") or "")
    if len(text) > 64 or not _LABEL.search(text):
        return 'Series Description must end with "SRx4 AI half-width 90/90" or the like, at most 64 characters'
    return None


def _patient(pair: Pair) -> str | None:
    """D-03 and D-43: bytes of patient and study."""

    def of_patient(contents: dict) -> dict:
        return {p: v for p, (_, v) in contents.items() if p[0][0] >> 16 in (0x10, 0x12) and v and not _private(p)}

    if of_patient(pair.source_bytes) != of_patient(pair.result_bytes):
        return "patient and clinical trial must be those of the upscaled image, byte by byte"
    if changed := pair.changed(_STUDY):
        return f"{', '.join(changed)} must be the upscaled image's"
    return None


def _private(path: tuple) -> bool:
    return any(tag >> 16 & 1 or not tag & 0xFFFF for tag, _ in path)


def _no_private(pair: Pair) -> str | None:
    if any(tag >> 16 & 1 for path in pair.result_bytes for tag, _ in path):
        return "private Data Elements must be removed"
    return None


def _derivations(pair: Pair) -> list[pydicom.Dataset]:
    if not _is_parametric(pair):
        return [pair.result]
    return [first_item(group.get("DerivationImageSequence")) for group in frame_groups(pair.result)]


def _reference(pair: Pair) -> str | None:
    """D-14: each frame of a Parametric Map references its own frame."""
    numbered = pair.source.SOPClassUID in ENHANCED
    for number, ds in enumerate(_derivations(pair), start=1):
        items = list(ds.get("SourceImageSequence") or [])
        if len(items) != 1 or items[0].get("ReferencedSOPInstanceUID") != pair.source.SOPInstanceUID:
            return "Source Image Sequence must reference the upscaled image, and nothing else"
        if items[0].get("ReferencedSOPClassUID") != pair.source.SOPClassUID:
            return "Referenced SOP Class UID must be that of the upscaled image"
        if numbered and items[0].get("ReferencedFrameNumber") != number:
            return "each frame must reference the same frame of the upscaled image"
        if items[0].get("SpatialLocationsPreserved") != "YES":
            return "Spatial Locations Preserved must be YES"
    return None


def _statement(pair: Pair) -> str | None:
    texts = [str(ds.get("DerivationDescription") or "") for ds in _derivations(pair)]
    if any(len(text) > 1024 or not _STATEMENT.search(text) for text in texts):
        return "Derivation Description must name alpha, delta, lambda and n, in 1024 characters"
    return None


def _unit(pair: Pair) -> str | None:
    code = first_item(_mapping(pair.result).get("MeasurementUnitsCodeSequence"))
    if code.get("CodeValue") != half_width_values.unit_code(pair.source)[0]:
        return "the unit must be that of the upscaled image's rescaled values"
    return None


def _samples(pair: Pair) -> str | None:
    result, mapping = pair.result, _mapping(pair.result)
    slope, intercept = mapping.get("RealWorldValueSlope"), mapping.get("RealWorldValueIntercept")
    if not slope or slope < 0 or math.frexp(slope)[0] != 0.5 or intercept != 0:
        return "the slope of Real World Value Mapping must be a power of two, its intercept 0"
    if "FloatPixelData" in result:
        return None if slope == 1 and _is_parametric(pair) else "the slope of Float Pixel Data must be 1"
    if (result.BitsAllocated, result.BitsStored, result.HighBit, result.PixelRepresentation) != (16, 16, 15, 0):
        return "pixels must be unsigned integers of 16 bits"
    return None


def _values(pair: Pair, recorded: np.ndarray) -> str | None:
    slope = float(_mapping(pair.result).RealWorldValueSlope)
    if "FloatPixelData" in pair.result:
        values = np.frombuffer(pair.result.FloatPixelData, "<f4").reshape(recorded.shape)
        step = np.spacing(values).astype(np.float64)
    else:
        values, step = stored_pixels(pair.result)[..., 0] * slope, np.float64(slope)
    if below := int(np.count_nonzero(~(values >= recorded))):
        return f"{below} half-widths are below the recorded ones"
    if above := int(np.count_nonzero(values - recorded > step)):
        return f"{above} half-widths are more than a step above the recorded ones"
    return None


def _plane(pair: Pair) -> str | None:
    if pair.changed(["FrameOfReferenceUID"]):
        return "Frame of Reference UID must be the upscaled image's"
    expected = frame_groups(pair.source) if pair.source.get("PerFrameFunctionalGroupsSequence") else None
    for number, group in enumerate(frame_groups(pair.result)):
        for macro, keywords in _PLANE.items():
            holder = pair.source if expected is None else first_item(expected[number].get(macro))
            item = first_item(group.get(macro))
            known = [k for k in keywords if k != "SliceThickness" or k in item or (holder.get(k) or 0) > 0]
            if wrong := [keyword for keyword in known if not _equal(holder.get(keyword), item.get(keyword))]:
                return f"{', '.join(wrong)} of each frame must be the upscaled image's"
    return None


def _equal(first: object, second: object) -> bool:
    """Whether numbers are equal but for the rounding of a Decimal String to 16 characters (D-27)."""
    if is_empty(first) or is_empty(second):
        return is_empty(first) and is_empty(second)
    before, after = (np.array(value, np.float64) for value in (first, second))
    return before.shape == after.shape and np.allclose(before, after, rtol=1e-9, atol=1e-12)


def _parametric_type(pair: Pair) -> str | None:
    shared = first_item(pair.result.get("SharedFunctionalGroupsSequence"))
    frame_type = first_item(shared.get("ParametricMapFrameTypeSequence")).get("FrameType")
    if list(pair.result.get("ImageType") or ()) != _TYPE or list(frame_type or ()) != _TYPE:
        return f"Image Type and Frame Type must be {', '.join(_TYPE)}"
    if pair.result.get("AcquisitionContextSequence") != []:
        return "Acquisition Context Sequence must be present and empty"
    transformation = first_item(shared.get("PixelValueTransformationSequence"))
    if (transformation.get("RescaleSlope"), transformation.get("RescaleIntercept")) != (1, 0):
        return "Pixel Value Transformation must be the identity"
    return None


def _spacing(pair: Pair) -> str | None:
    if changed := pair.changed(_SPACINGS):
        return f"{', '.join(changed)} must be the upscaled image's"
    return None


def _secondary_rescale(pair: Pair) -> str | None:
    result, mapping = pair.result, _mapping(pair.result)
    if result.SOPClassUID != uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage:
        return "SOP Class must be Multi-frame Grayscale Word Secondary Capture, or Parametric Map"
    if result.get("RescaleSlope") != mapping.get("RealWorldValueSlope") or result.get("RescaleIntercept") != 0:
        return "Rescale Slope must be that of Real World Value Mapping, and Rescale Intercept 0"
    if ("FrameIncrementPointer" in result) != (_frames(result) > 1):
        return "Frame Increment Pointer must be present for several frames, and absent for one"
    return None


_BOTH: tuple[Rule, ...] = (
    _identity,
    _description,
    _patient,
    _no_private,
    _reference,
    _statement,
    _unit,
    _samples,
)
_PARAMETRIC_MAP: tuple[Rule, ...] = (_plane, _parametric_type)
_SECONDARY_CAPTURE: tuple[Rule, ...] = (_spacing, _secondary_rescale)
