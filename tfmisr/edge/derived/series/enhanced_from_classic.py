"""Attributes of an Enhanced CT or MR object from those of single-frame images (PS3.3 C.8.15, C.8.13; V-11).

Only patient, study, series, equipment and what Enhanced objects require are taken over: the acquisition of a derived
image is described by its sources, and most Attributes of single-frame images do not exist in Enhanced objects.
"""

import uuid
from typing import Any

import pydicom
from pydicom import Sequence, uid

from tfmisr.edge.derived import half_width_attributes, verbatim
from tfmisr.edge.derived.half_width_attributes import SCT, code_item
from tfmisr.edge.derived.product import NAMESPACE
from tfmisr.edge.derived.series import slice_attributes
from tfmisr.edge.derived.series.single_frames import Series

_EQUIPMENT = "Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions StationName"
_PIXELS = (
    "SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue "
    "PixelPaddingRangeLimit"
)
# Of single-frame images; the side is in Frame Anatomy Sequence.
_NOT_ENHANCED = ("AcquisitionDate", "AcquisitionTime", "PatientOrientation", "ImageLaterality", "Laterality")
# PS3.16 Annex L: Body Part Examined (0018,0015) to SNOMED CT.
_REGIONS = {
    "ABDOMEN": ("818983003", "Abdomen"),
    "BRAIN": ("12738006", "Brain"),
    "BREAST": ("76752008", "Breast"),
    "CHEST": ("816094009", "Chest"),
    "CSPINE": ("122494005", "Cervical spine"),
    "HEAD": ("69536005", "Head"),
    "HEART": ("80891009", "Heart"),
    "HIP": ("29836001", "Hip"),
    "KNEE": ("72696002", "Knee"),
    "LIVER": ("10200004", "Liver"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "NECK": ("45048000", "Neck"),
    "PELVIS": ("816092008", "Pelvis"),
    "PROSTATE": ("41216001", "Prostate"),
    "SHOULDER": ("16982005", "Shoulder"),
    "TSPINE": ("122495006", "Thoracic spine"),
    "WHOLEBODY": ("38266002", "Entire body"),
}
_ANYWHERE = "123037004", "Body structure"
_COMPONENTS = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}


def common(series: Series, sop_class: uid.UID) -> tuple[verbatim.Verbatim, pydicom.Dataset, list[str]]:
    """Returns the Attributes of the object, its shared functional groups, and remarks on what was removed.

    Args:
        series: The series.
        sop_class: SOP Class UID of the object.
    """
    classic, remarks = slice_attributes.common(series.slices)
    target = half_width_attributes.copy_common(classic, f"{_EQUIPMENT} {_PIXELS}")
    for keyword in _NOT_ENHANCED:
        target.pop(keyword, None)
    target.SOPClassUID = sop_class
    is_mr = sop_class == uid.EnhancedMRImageStorage
    kind = _kind(classic, remarks) if is_mr else pydicom.Dataset()
    _describe(target, kind)
    if is_mr:
        remarks.append("the source states no Applicable Safety Standard Agency: IEC is written")
        target.ApplicableSafetyStandardAgency = "IEC"
    frame_type = pydicom.Dataset(kind)
    frame_type.FrameType = target.ImageType
    shared = pydicom.Dataset()
    setattr(shared, "MRImageFrameTypeSequence" if is_mr else "CTImageFrameTypeSequence", Sequence([frame_type]))
    shared.FrameAnatomySequence = Sequence([_anatomy(classic)])
    unit = pydicom.Dataset()
    unit.RescaleType = str(classic.get("RescaleType") or ("US" if is_mr else "HU"))
    shared.PixelValueTransformationSequence = Sequence([unit])
    if not is_mr:
        shared.IrradiationEventIdentificationSequence = Sequence([_irradiation(series, remarks)])
    if window := _window(classic):
        shared.FrameVOILUTSequence = Sequence([window])
    return target, shared, remarks


def _describe(target: verbatim.Verbatim, kind: pydicom.Dataset) -> None:
    """Writes what Enhanced objects require of the image (C.8.15.2, C.8.13.1)."""
    target.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]  # its second value is always PRIMARY
    kind.PixelPresentation, kind.VolumetricProperties = "MONOCHROME", "VOLUME"
    kind.VolumeBasedCalculationTechnique = "NONE"
    for element in kind:
        target[element.tag] = element
    inverted = target.PhotometricInterpretation == "MONOCHROME1"
    target.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    if target.get("BurnedInAnnotation") not in ("YES", "NO"):
        target.BurnedInAnnotation = "NO"
    if not target.get("LossyImageCompression"):
        target.LossyImageCompression = "00"
    target.AcquisitionContextSequence = Sequence()
    if "PositionReferenceIndicator" not in target:
        target.PositionReferenceIndicator = None


def _kind(classic: verbatim.Verbatim, remarks: list[str]) -> pydicom.Dataset:
    """Returns the Attributes that say what an MR image shows (C.8.13.3.1)."""
    kind = pydicom.Dataset()
    types: Any = classic.get("ImageType") or ()
    third = str(types[2]) if not isinstance(types, str) and len(types) > 2 else ""
    component = _COMPONENTS.get(third.split("_")[0])
    if component is None:
        remarks.append("Image Type does not state the component of the complex MR signal: MAGNITUDE is written")
    kind.ComplexImageComponent, kind.AcquisitionContrast = component or "MAGNITUDE", "UNKNOWN"
    return kind


def _irradiation(series: Series, remarks: list[str]) -> pydicom.Dataset:
    """Returns the irradiation events of the acquired slices (C.8.15.3.12), which Enhanced CT requires."""
    values = [header.get("IrradiationEventUID") or [] for header in series.slices.headers]
    events = sorted({str(event) for value in values for event in ([value] if isinstance(value, str) else value)})
    if not events:
        remarks.append("the source states no Irradiation Event UID: one was made from its Series Instance UID")
        name = f"irradiation event|{series.slices.items[0].header.SeriesInstanceUID}"
        events = [f"2.25.{uuid.uuid5(NAMESPACE, name).int}"]
    item = pydicom.Dataset()
    item.IrradiationEventUID = events
    return item


def _anatomy(classic: verbatim.Verbatim) -> pydicom.Dataset:
    item, side = pydicom.Dataset(), str(classic.get("ImageLaterality") or classic.get("Laterality") or "")
    item.FrameLaterality = side if side in ("R", "L", "B", "U") else "U"
    if classic.get("AnatomicRegionSequence"):
        item.AnatomicRegionSequence = Sequence([pydicom.Dataset(classic.AnatomicRegionSequence[0])])
    else:
        code, meaning = _REGIONS.get(str(classic.get("BodyPartExamined") or "").upper(), _ANYWHERE)
        item.AnatomicRegionSequence = Sequence([code_item(code, SCT, meaning)])
    return item


def _window(classic: verbatim.Verbatim) -> pydicom.Dataset | None:
    if not classic.get("WindowCenter") or not classic.get("WindowWidth"):
        return None
    item = pydicom.Dataset()
    for keyword in ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"):
        if classic.get(keyword):
            setattr(item, keyword, classic[keyword].value)
    return item
