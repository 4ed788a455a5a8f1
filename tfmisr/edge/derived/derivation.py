"""Records the derivation: source, method and equipment (D-12 to D-18)."""

import copy
import datetime
from collections.abc import MutableSequence

import pydicom
from pydicom import Sequence

from tfmisr.edge.derived import texts, verbatim
from tfmisr.edge.derived.eligibility import ENHANCED
from tfmisr.edge.derived.identity import local_time
from tfmisr.edge.derived.product import Product
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

_EQUIPMENT = (
    "Manufacturer",
    "InstitutionName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
)
_SCANNER_ATTRIBUTES = ("DeviceSerialNumber", "StationName", "DeviceUID", "UDISequence", "GantryID")


def record(target: verbatim.Verbatim, product: Product, when: datetime.datetime) -> None:
    """Writes the Attributes of the derivation.

    Args:
        target: Copy of the source, changed in place; it must still have the UIDs and the equipment of the source.
        product: The producer.
        when: Time of processing, with a time zone.
    """
    if target.SOPClassUID in ENHANCED:
        _record_frames(target, product)
    else:
        add_code(target)
        texts.append(target, "DerivationDescription", "ST", f" {product.description}", 1024)
        _append_source(target, source_image(target))
    record_equipment(target, product, when)


def record_equipment(target: verbatim.Verbatim, product: Product, when: datetime.datetime) -> None:
    """Writes the equipment of acquisition and processing, and the content qualification (D-16 to D-18).

    Args:
        target: Changed in place; it must still have the equipment of the source.
        product: The producer.
        when: Time of processing, with a time zone.
    """
    _contribute(target, product, when)
    if not product.keep_manufacturer:
        _replace_equipment(target, product)
    if product.research:
        target.ContentQualification = "RESEARCH"


def code(value: str, meaning: str) -> Sequence:
    """Returns a Code Sequence with one code of the DICOM Controlled Terminology (PS3.16)."""
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return Sequence([item])


def add_code(holder: pydicom.Dataset) -> None:
    """Appends the code to those of the source's own derivation (D-12)."""
    # CID 7203 has no code for super-resolution.
    earlier = [item for item in holder.get("DerivationCodeSequence") or () if item.get("CodeValue") != "113085"]
    holder.DerivationCodeSequence = Sequence([*earlier, *code("113085", "Spatial resampling")])


def source_image(target: pydicom.Dataset, frame: int | None = None) -> pydicom.Dataset:
    """Returns an Item of Source Image Sequence that references an image whose pixels do not correspond (D-14, D-15).

    Args:
        target: The source, or a copy that still has its UIDs.
        frame: Number of the frame, from 1; `None` for the image.
    """
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = target.SOPClassUID
    item.ReferencedSOPInstanceUID = target.SOPInstanceUID
    if frame is not None:
        item.ReferencedFrameNumber = frame
    item.PurposeOfReferenceCodeSequence = code("121322", "Source image for image processing operation")
    # By the definition of NO, which names magnification: pixels do not correspond one to one (D-15).
    item.SpatialLocationsPreserved = "NO"
    return item


def _append_source(holder: pydicom.Dataset, item: pydicom.Dataset) -> None:
    holder.SourceImageSequence = Sequence([*(holder.get("SourceImageSequence") or ()), item])


def _record_frames(target: verbatim.Verbatim, product: Product) -> None:
    """Writes the Derivation Image Functional Group of each frame (C.7.6.16.2.6), and Image Comments."""
    shared = (target.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    history = shared.pop("DerivationImageSequence", None)
    frames = target.get("PerFrameFunctionalGroupsSequence") or ()
    if len(frames) != int(target.get("NumberOfFrames") or 0):
        raise InputError(f"{label('PerFrameFunctionalGroupsSequence')} must have one Item per frame")
    for number, group in enumerate(frames, start=1):
        earlier = copy.deepcopy(history.value) if history else group.get("DerivationImageSequence") or ()
        item = pydicom.Dataset()
        add_code(item)
        item.DerivationDescription = product.description
        _append_source(item, source_image(target, number))
        group.DerivationImageSequence = Sequence([*earlier, item])
    list_source(target, target)
    texts.append(target, "ImageComments", "LT", f" {product.description}", 10240)


def list_source(target: pydicom.Dataset, source: pydicom.Dataset) -> None:
    """Adds a source to Source Image Evidence Sequence, which lists all references of Enhanced images (C.8.15.2).

    Args:
        target: Changed in place.
        source: An image, or a copy that still has its UIDs.
    """
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    studies = target.setdefault("SourceImageEvidenceSequence", Sequence()).value
    study = _item_of(studies, "StudyInstanceUID", source.StudyInstanceUID)
    series = study.setdefault("ReferencedSeriesSequence", Sequence()).value
    instances = _item_of(series, "SeriesInstanceUID", source.SeriesInstanceUID)
    instances.setdefault("ReferencedSOPSequence", Sequence()).value.append(item)


def _item_of(items: MutableSequence[pydicom.Dataset], keyword: str, value: str) -> pydicom.Dataset:
    """Returns the Item in which `keyword` has the value; appends one if there is none."""
    for item in items:
        if item.get(keyword) == value:
            return item
    items.append(pydicom.Dataset())
    setattr(items[-1], keyword, value)
    return items[-1]


def _contribute(target: pydicom.Dataset, product: Product, when: datetime.datetime) -> None:
    """Appends the scanner and the software to Contributing Equipment Sequence (D-16)."""
    scanner = verbatim.new_item(target)
    for keyword in _EQUIPMENT:
        if target.get(keyword):
            scanner[keyword] = target.get_item(keyword)
    if "Manufacturer" not in scanner:
        scanner.Manufacturer = "UNKNOWN"
    scanner.PurposeOfReferenceCodeSequence = code("109101", "Acquisition Equipment")
    earlier = list(target.get("ContributingEquipmentSequence") or ())
    # The General Equipment of a derived source is not the scanner.
    is_derived = any(_purpose(item) == "109101" for item in earlier)
    target.ContributingEquipmentSequence = Sequence([*earlier, *([] if is_derived else [scanner])])
    append_software(target, product, when, product.description)


def append_software(target: pydicom.Dataset, product: Product, when: datetime.datetime, description: str) -> None:
    """Appends the software to Contributing Equipment Sequence (D-16)."""
    software = pydicom.Dataset()
    write_equipment(software, product)
    software.PurposeOfReferenceCodeSequence = code("109102", "Processing Equipment")
    software.ContributionDateTime = local_time(target, when).strftime("%Y%m%d%H%M%S.%f%z")
    software.ContributionDescription = description
    earlier = list(target.get("ContributingEquipmentSequence") or ())
    target.ContributingEquipmentSequence = Sequence([*earlier, software])


def _purpose(item: pydicom.Dataset) -> str | None:
    codes = item.get("PurposeOfReferenceCodeSequence") or [pydicom.Dataset()]
    return codes[0].get("CodeValue")


def write_equipment(holder: pydicom.Dataset, product: Product) -> None:
    """Writes the software as Manufacturer, model and version."""
    holder.Manufacturer = product.manufacturer
    holder.ManufacturerModelName = f"{product.name} {product.model}"
    holder.SoftwareVersions = product.version


def _replace_equipment(target: pydicom.Dataset, product: Product) -> None:
    """Replaces the General Equipment Module (C.7.5.1), which describes the equipment of this series (D-17).

    The scanner is described in Contributing Equipment Sequence (D-16).
    """
    for keyword in _SCANNER_ATTRIBUTES:
        target.pop(keyword, None)
    write_equipment(target, product)
    if target.SOPClassUID in ENHANCED:  # Type 1 there (C.7.5.2); the weights identify the device
        target.DeviceSerialNumber = product.weights_sha256[:16] or product.version
