"""Attributes that both kinds of half-width map have: patient, study, own series, derivation, equipment (T-22)."""

import dataclasses
import datetime

import pydicom
from pydicom import Sequence
from pydicom.tag import Tag

from tfmisr.edge.derived import derivation, identity, removed_attributes, texts, verbatim
from tfmisr.edge.derived.eligibility import SECONDARY, ULTRASOUND
from tfmisr.edge.derived.half_width_values import Quantized, unit_code
from tfmisr.edge.derived.product import Product

CODE = "HALF_WIDTH", "99TFMISR", "Half-width of prediction interval"
UCUM, SCT = "UCUM", "SCT"
_GROUPS = (0x0010, 0x0012)  # patient, clinical trial
_STUDY = (
    "SpecificCharacterSet TimezoneOffsetFromUTC LongitudinalTemporalInformationModified StudyInstanceUID StudyDate "
    "StudyTime StudyID StudyDescription AccessionNumber IssuerOfAccessionNumberSequence ReferringPhysicianName "
    "ReferringPhysicianIdentificationSequence ConsultingPhysicianName ConsultingPhysicianIdentificationSequence "
    "PhysiciansOfRecord PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy "
    "PhysiciansReadingStudyIdentificationSequence RequestingServiceCodeSequence ReferencedStudySequence "
    "ProcedureCodeSequence ReasonForPerformedProcedureCodeSequence AdmittingDiagnosesDescription "
    "AdmittingDiagnosesCodeSequence AdmissionID IssuerOfAdmissionIDSequence ServiceEpisodeID "
    "IssuerOfServiceEpisodeIDSequence ServiceEpisodeDescription"
)
_SERIES = (
    "SeriesInstanceUID SeriesNumber SeriesDescription Modality Laterality BodyPartExamined PatientPosition "
    "AnatomicalOrientationType ProtocolName PerformingPhysicianName OperatorsName RequestAttributesSequence "
    "PerformedProcedureStepID PerformedProcedureStepDescription PerformedProcedureStepStartDate "
    "PerformedProcedureStepStartTime ReferencedPerformedProcedureStepSequence InstitutionName InstitutionAddress "
    "InstitutionalDepartmentName FrameOfReferenceUID PositionReferenceIndicator"
)
_IMAGE = (
    "SOPClassUID SOPInstanceUID InstanceNumber AcquisitionDate AcquisitionTime AcquisitionDateTime AcquisitionNumber "
    "PatientOrientation ImageLaterality BurnedInAnnotation RecognizableVisualFeatures LossyImageCompression "
    "LossyImageCompressionRatio LossyImageCompressionMethod ContributingEquipmentSequence NumberOfFrames Rows Columns"
)
# Type 2: present, perhaps empty.
_TYPE_2 = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName"
).split()


@dataclasses.dataclass(frozen=True)
class Map:
    """A half-width map to be written.

    Attributes:
        sr: The upscaled image.
        values: Its half-widths as they are stored.
        product: The producer.
        identity: What distinguishes the map from others of the same image: alpha, delta, lambda.
        text: Sentences for Derivation Description.
        intervals: Such as "90/90": percent of pixels and of patients.
        when: Time of processing, with a time zone.
        series_start: Time when processing of the series started; `None` if unknown.
    """

    sr: pydicom.Dataset
    values: Quantized
    product: Product
    identity: tuple[str, ...]
    text: str
    intervals: str
    when: datetime.datetime
    series_start: datetime.datetime | None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.sr.get("NumberOfFrames") or 1)


def copy_common(sr: pydicom.Dataset, more: str) -> verbatim.Verbatim:
    """Returns a copy of patient, study, series and some Attributes of the image, without private Data Elements.

    Args:
        sr: The upscaled image, before anything of it is decoded.
        more: Keywords of further Attributes, separated by spaces.
    """
    tags = {int(Tag(keyword)) for keyword in f"{_STUDY} {_SERIES} {_IMAGE} {more}".split()}
    target = removed_attributes.copy_listed(sr, tags, _GROUPS)
    for keyword in _TYPE_2:
        if keyword not in target:
            setattr(target, keyword, None)
    return target


def code_item(value: str, scheme: str, meaning: str) -> pydicom.Dataset:
    """Returns the Item of a Code Sequence."""
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def identify(target: verbatim.Verbatim, made: Map, sop_class: str) -> None:
    """Writes UIDs, series and dates; `target` must still have those of the upscaled image."""
    source = target.SOPInstanceUID, target.SeriesInstanceUID
    parts = "half_width", *made.identity
    target.SOPClassUID = sop_class
    target.SOPInstanceUID = identity.derived_uid(made.product, "instance", *source, *parts)
    target.SeriesInstanceUID = identity.derived_uid(made.product, "series", source[1], *parts)
    target.SeriesNumber = int(target.get("SeriesNumber") or 0) + made.product.series_number_offset
    number = target.get_item("InstanceNumber")  # perhaps not a number, and copied as it is
    if number is None or not number.value:
        target.InstanceNumber = 1
    _describe_series(target, made)
    for event, time in {"InstanceCreation": made.when, "Content": made.when, "Series": made.series_start}.items():
        identity.write_date(target, event, time)


def _describe_series(target: verbatim.Verbatim, made: Map) -> None:
    """Writes Series Description; where it is truncated, the label of the upscaled image is kept too."""
    label = made.product.label
    element = target.get_item("SeriesDescription")
    text = (element.value or b"").rstrip(b" \0") if element is not None else b""
    if text.endswith(label.strip().encode()):
        text = text[: -len(label.strip())].rstrip(b" ")
        target["SeriesDescription"] = verbatim.raw_element("SeriesDescription", "LO", text)
    texts.append(target, "SeriesDescription", "LO", f"{label} half-width {made.intervals}", 64)


def describe_pixels(target: pydicom.Dataset, made: Map) -> None:
    """Writes the Image Pixel Module, and what both Storage Classes require of it."""
    target.SamplesPerPixel, target.PhotometricInterpretation, target.PresentationLUTShape = 1, "MONOCHROME2", "IDENTITY"
    target.NumberOfFrames = made.frames
    target.BitsAllocated = 32 if made.values.is_float else 16
    if made.values.is_float:
        target["FloatPixelData"] = pydicom.DataElement("FloatPixelData", "OF", made.values.data)
    else:
        target.BitsStored, target.HighBit, target.PixelRepresentation = 16, 15, 0
        target["PixelData"] = pydicom.DataElement("PixelData", "OW", made.values.data)
    if not target.get("LossyImageCompression"):
        target.LossyImageCompression = "00"
    if target.get("BurnedInAnnotation") not in ("YES", "NO"):  # Type 1; letters are seen in the half-widths too
        target.BurnedInAnnotation = "YES" if made.sr.SOPClassUID in (*ULTRASOUND, *SECONDARY) else "NO"


def real_world_values(made: Map) -> Sequence:
    """Returns the Real World Value Mapping Sequence (C.7.6.16.2.11): factor, unit and quantity."""
    item, quantity, values = pydicom.Dataset(), pydicom.Dataset(), made.values
    if values.is_float:
        item.DoubleFloatRealWorldValueFirstValueMapped, item.DoubleFloatRealWorldValueLastValueMapped = (
            0.0,
            values.largest,
        )
    else:
        for keyword, value in {"RealWorldValueFirstValueMapped": 0, "RealWorldValueLastValueMapped": 65535}.items():
            item[keyword] = pydicom.DataElement(keyword, "US", value)
    item.RealWorldValueSlope, item.RealWorldValueIntercept = values.slope, 0.0
    item.LUTExplanation, item.LUTLabel = f"Half-width {made.intervals} of the upscaled image's values", CODE[0]
    unit, meaning = unit_code(made.sr)
    item.MeasurementUnitsCodeSequence = Sequence([code_item(unit, UCUM, meaning)])
    quantity.ValueType = "CODE"
    quantity.ConceptNameCodeSequence = Sequence([code_item("246205007", SCT, "Quantity")])
    quantity.ConceptCodeSequence = Sequence([code_item(*CODE)])
    item.QuantityDefinitionSequence = Sequence([quantity])
    return Sequence([item])


def record(target: verbatim.Verbatim, made: Map) -> None:
    """Writes description and equipment; the scanner stays in Contributing Equipment Sequence (D-16, D-17)."""
    derivation.write_equipment(target, made.product)
    derivation.append_software(target, made.product, made.when, made.text)


def reference(made: Map, frame: int | None = None) -> pydicom.Dataset:
    """Returns an Item of Source Image Sequence that references the upscaled image, whose pixels are those of the map.

    Args:
        made: The map.
        frame: Number of the frame, from 1; `None` for an image of one frame.
    """
    item = derivation.source_image(made.sr, frame)
    item.SpatialLocationsPreserved = "YES"
    return item


def window(largest: float, unit: float) -> tuple[float, float]:
    """Returns Window Center and Width (C.11.2.1.2) of values from 0 to `largest` in steps of `unit`."""
    width = max(largest + unit, 1.0)
    return width / 2, width
