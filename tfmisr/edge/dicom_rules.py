"""Decides from the Attributes alone whether a DICOM image can be read, and gives the reason if not."""

import pydicom
from pydicom import uid

from tfmisr.edge import decoders, element_values, palette
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import MAX_PIXELS

GRAY = ("MONOCHROME1", "MONOCHROME2")
COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_OTHER_PHOTOMETRIC = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB")
_COUNTS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


def unsupported_reason(ds: pydicom.Dataset) -> str | None:
    """Returns why an image cannot be read and what to do, `None` if it can be read."""
    try:
        element_values.check(ds, pixels_only=True)
    except InputError as error:
        return str(error)
    if reason := next((reason for check in _CHECKS if (reason := check(ds))), None):
        return reason
    return decoders.unavailable_reason(ds.file_meta.TransferSyntaxUID, ds.BitsStored)


def _photometric(ds: pydicom.Dataset) -> str | None:
    photometric = str(ds.get("PhotometricInterpretation", ""))
    if photometric not in (*GRAY, *COLOR, "PALETTE COLOR"):
        known = photometric if photometric in _OTHER_PHOTOMETRIC else "of this file"
        return f"Photometric Interpretation (0028,0004) {known} is not supported"
    return None


def _counts(ds: pydicom.Dataset) -> str | None:
    for keyword in _COUNTS:
        if not isinstance(ds.get(keyword, 0), int):  # the wrong VR: 12.0 in a DS is an integer value, but not a US
            return f"{label(keyword)} must be an integer of Value Representation US, not {ds[keyword].VR}"
    return None


def _bits(ds: pydicom.Dataset) -> str | None:
    if ds.BitsAllocated not in (8, 16, 32):
        return f"Bits Allocated (0028,0100) must be 8, 16 or 32, not {ds.BitsAllocated}"
    if ds.get("HighBit", ds.BitsStored - 1) != ds.BitsStored - 1:
        return "High Bit (0028,0102) must be one less than Bits Stored (0028,0101)"
    if ds.PixelRepresentation not in (0, 1):
        return f"{label('PixelRepresentation')} must be 0 or 1, not {ds.PixelRepresentation}"
    return None


def _samples(ds: pydicom.Dataset) -> str | None:
    color = ds.PhotometricInterpretation in COLOR
    condition = f"where {label('PhotometricInterpretation')} is {ds.PhotometricInterpretation}"
    if ds.SamplesPerPixel != (3 if color else 1):
        return f"{label('SamplesPerPixel')} must be {3 if color else 1} {condition}, not {ds.SamplesPerPixel}"
    if color and ds.PixelRepresentation:
        return f"{label('PixelRepresentation')} must be 0 {condition}: colors have no sign"
    syntax = ds.file_meta.TransferSyntaxUID
    uses_attribute = not syntax.is_encapsulated or syntax == uid.RLELossless  # other codestreams state it themselves
    if color and uses_attribute and ds.get("PlanarConfiguration") not in (0, 1):
        return f"{label('PlanarConfiguration')} must be 0 or 1 {condition}"
    return None


def _size(ds: pydicom.Dataset) -> str | None:
    if ds.Rows * ds.Columns > MAX_PIXELS:
        return f"{ds.Columns} x {ds.Rows} pixels are more than {MAX_PIXELS}"
    return None


def _palette(ds: pydicom.Dataset) -> str | None:
    return palette.unsupported_reason(ds) if ds.PhotometricInterpretation == "PALETTE COLOR" else None


def _modality_lut(ds: pydicom.Dataset) -> str | None:
    if "ModalityLUTSequence" not in ds:
        return None
    name = label("ModalityLUTSequence")
    if not ds.ModalityLUTSequence:
        return f"{name} has no Item"
    item = ds.ModalityLUTSequence[0]
    for keyword in ("LUTDescriptor", "LUTData"):
        if item.get(keyword) is None:
            return f"{label(keyword)} is missing in {name}"
    entries, data = item.LUTDescriptor[0] % 65536 or 65536, item.LUTData
    available = len(data) // 2 if isinstance(data, bytes) else len(data) if hasattr(data, "__len__") else 1
    if available < entries:
        return f"{label('LUTData')} in {name} has {available} entries, expected {entries}"
    return None


_CHECKS = (_photometric, _counts, _bits, _samples, _size, _palette, _modality_lut)


__getattr__ = renamed(__name__, COLOUR="COLOR", unsupported="unsupported_reason")
