"""Checks that the slices of a series form one volume; a series that does not is refused with the reason.

What may vary between slices: Rescale Slope and Intercept, since values are read after them, and everything that
describes a single acquisition. What must not: the patient, the Frame of Reference, and how pixels are stored.
"""

import pydicom
from pydicom import uid

from tfmisr.edge import dicom, element_values
from tfmisr.edge.dicom_rules import GRAY, unsupported_reason
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted, three_digits
from tfmisr.edge.volumes import enhanced, selection
from tfmisr.edge.volumes.slices import Slice, values_of

SOP_CLASSES = (uid.CTImageStorage, uid.MRImageStorage, *enhanced.SOP_CLASSES)
MIN_SLICES = 3  # a spacing that is the same everywhere takes two distances
MAX_VOXELS = 2**30  # 4 GiB in float32; a CT of 512 x 512 x 1,000 has 2**28
_SAME = {  # Attribute to how a mixture of its values is called
    "Modality": "modalities",
    "SOPClassUID": "SOP Classes",
    "Rows": "sizes",
    "Columns": "sizes",
    "BitsAllocated": "bit depths",
    "BitsStored": "bit depths",
    "PixelRepresentation": "bit depths (signed and unsigned)",
    "PhotometricInterpretation": "photometric interpretations",
    "RescaleType": "rescale types",
}
_IDENTITY = {
    "PatientID": "patients",
    "StudyInstanceUID": "studies",
    "FrameOfReferenceUID": "frames of reference: their positions are not comparable",
}
# Read for sorting, grouping and messages. Decoded at once: a broken one then names its file.
_USED = (
    *_SAME,
    *_IDENTITY,
    *selection.DIMENSIONS,
    *"PatientName SeriesInstanceUID SeriesNumber SeriesDescription SOPInstanceUID NumberOfFrames SpacingBetweenSlices "
    "SliceThickness PixelSpacing ImagePositionPatient ImageOrientationPatient RescaleSlope RescaleIntercept".split(),
)
_THICKNESS = 0.01  # relative difference of Slice Thickness that is rounding


def decode_attributes(one: Slice) -> None:
    """Decodes the Attributes that are read later; pydicom's exceptions on a broken one pass through."""
    for keyword in _USED:
        one.header.get(keyword)


def check_image(one: Slice) -> None:
    """Raises `InputError` where a slice is no CT or MR image that can be read; of a file, one frame is enough."""
    header = one.header
    sop_class = uid.UID(str(header.get("SOPClassUID") or ""))
    if sop_class not in SOP_CLASSES:
        name = sop_class.name if sop_class in uid.UID_dictionary else "a SOP Instance of unknown SOP Class"
        raise InputError(f"expected CT or MR slices. Received: {name}")
    if header.get("PhotometricInterpretation") not in GRAY:
        raise InputError("expected gray slices (MONOCHROME1 or MONOCHROME2)")
    frames = header.get("NumberOfFrames") or 1
    if one.frame is None and frames != 1:
        raise InputError(f"expected one frame in {sop_class.name}. Received: {frames}")
    element_values.check(header)
    if reason := unsupported_reason(header) or _rescale_reason(header):
        raise InputError(reason)


def _rescale_reason(header: pydicom.Dataset) -> str | None:
    if "ModalityLUTSequence" in header:
        return None
    missing = [k for k in ("RescaleSlope", "RescaleIntercept") if header.get(k) is None]
    if header.get("Modality") == "CT" and missing:
        return f"{' and '.join(map(label, missing))} missing: the values of this CT are in no known unit"
    return None if dicom.slope_and_intercept(header) and header.get("RescaleSlope", 1) != 0 else _BAD_SLOPE


_BAD_SLOPE = f"{label('RescaleSlope')} must be a finite number other than 0, and {label('RescaleIntercept')} finite"


def check_series(slices: list[Slice]) -> None:
    """Raises `InputError` where slices are too few or differ in what they must share; the message names it."""
    for keyword, noun in {**_IDENTITY, **_names(slices)}.items():
        if len(found := values_of(slices, keyword)) > 1:
            raise InputError(f"expected slices of one patient and scan. Received: files of {len(found)} {noun}")
    if not enough(len(slices)):
        raise InputError(f"expected at least {MIN_SLICES} slices. Received: {counted(len(slices), 'slice')}")
    for keyword, noun in _SAME.items():
        if len(found := values_of(slices, keyword)) > 1:
            values = _examples(keyword, found)
            raise InputError(f"expected slices of one kind. Received: mixed {noun}: {label(keyword)} {values}")
    lut = {"ModalityLUTSequence" in one.header for one in slices}
    if len(lut) > 1:
        raise InputError(f"expected slices of one kind. Received: {label('ModalityLUTSequence')} in some")
    _check_thickness(slices)
    size = len(slices) * int(slices[0].header.Rows) * int(slices[0].header.Columns)
    if size > MAX_VOXELS:
        raise InputError(f"expected at most {MAX_VOXELS} voxels. Received: {size}")


def _names(slices: list[Slice]) -> dict[str, str]:
    """Returns the Attribute that distinguishes patients where none has an ID, as in files without identity."""
    return {} if any(values_of(slices, "PatientID")) else {"PatientName": "patients"}


def enough(count: int) -> bool:
    """Returns whether this many slices make a volume."""
    return count >= MIN_SLICES


def _examples(keyword: str, found: list[str]) -> str:
    """Returns values where they are numbers or registered terms: text of a broken file may identify the patient."""
    if keyword == "SOPClassUID":
        return " and ".join(uid.UID(v).name for v in found[:3] if v in uid.UID_dictionary)
    texts = [v if v.isascii() and len(v) <= 16 else "?" for v in found]
    return " and ".join(text or "none" for text in texts[:4]) + (" and more" if len(texts) > 4 else "")


def _check_thickness(slices: list[Slice]) -> None:
    stated = [one.thickness for one in slices if one.thickness is not None]
    if stated and max(stated) - min(stated) > _THICKNESS * max(stated):
        low, high = three_digits(min(stated)), three_digits(max(stated))
        raise InputError(f"expected slices of one thickness. Received: {label('SliceThickness')} {low} to {high} mm")


def thickness_of(slices: list[Slice]) -> float | None:
    """Returns Slice Thickness in mm, `None` unless every slice states it."""
    stated = [one.thickness for one in slices]
    return None if None in stated else stated[0]


def spacing_report(spacing: float, thickness: float | None, stated: float | None = None) -> str:
    """Returns one line on distance, thickness, and gap or overlap of slices (V-03).

    Args:
        spacing: Distance between slices in mm, by their positions.
        thickness: Slice Thickness in mm, `None` if unknown.
        stated: Spacing Between Slices (0018,0088), not used except to say that it differs.
    """
    text = f"slices {three_digits(spacing)} mm apart"
    if thickness is None:
        text += ", of unknown thickness"
    else:
        gap = spacing - thickness
        kind = "no gap" if abs(gap) <= _THICKNESS * spacing else f"{'a gap' if gap > 0 else 'an overlap'} of "
        text += f", {three_digits(thickness)} mm thick: {kind}"
        text += "" if kind == "no gap" else f"{three_digits(abs(gap))} mm"
    if stated is not None and abs(stated - spacing) > _THICKNESS * spacing:
        text += f" ({label('SpacingBetweenSlices')} says {three_digits(stated)} mm; the positions are used)"
    return text
