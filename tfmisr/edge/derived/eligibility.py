"""Decides which images may be upscaled, and gives the reason if not (D-07, D-39, D-44)."""

import pydicom
from pydicom import uid
from pydicom.uid import UID_dictionary

from tfmisr.edge import dicom, element_values, stored_values
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.product import Product
from tfmisr.edge.dicom_file import MAX_BYTES
from tfmisr.edge.dicom_rules import COLOR, GRAY, unsupported_reason
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

DX_OR_MG = (uid.DigitalXRayImageStorageForPresentation, uid.DigitalMammographyXRayImageStorageForPresentation)
ULTRASOUND = (uid.UltrasoundImageStorage, uid.UltrasoundMultiFrameImageStorage)
SECONDARY = (
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
)
FLUOROSCOPY = (uid.XRayAngiographicImageStorage, uid.XRayRadiofluoroscopicImageStorage)
ENHANCED = (uid.EnhancedCTImageStorage, uid.EnhancedMRImageStorage)
# SOP Classes of single-frame images. MR Image Storage is single-frame by definition too, but multi-frame cines exist.
SINGLE_FRAME = (
    uid.ComputedRadiographyImageStorage,
    uid.CTImageStorage,
    uid.PositronEmissionTomographyImageStorage,
    *DX_OR_MG,
)
ALLOWED = (*SINGLE_FRAME, uid.MRImageStorage, *FLUOROSCOPY, *ULTRASOUND, *SECONDARY, *ENHANCED)

_REASONS = {
    uid.NuclearMedicineImageStorage: "its pixel values are event counts, which depend on the pixel size",
    uid.RTDoseStorage: "its pixels are a dose grid",
    uid.SegmentationStorage: "its pixels are labels",
    uid.ParametricMapStorage: "its pixel values are measurements",
    uid.VLWholeSlideMicroscopyImageStorage: "its pixels are tiles of a pyramid",
    uid.DigitalXRayImageStorageForProcessing: "it is meant for processing; send the image for presentation",
    uid.DigitalMammographyXRayImageStorageForProcessing: "it is meant for processing; send the one for presentation",
}
# How `Product.description` and `SeriesProduct.description` begin.
_OWN = ("Super-resolution x", "Through-plane super-resolution", "Interpolation along the slice axis")
_REQUIRED = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def check_eligibility(ds: pydicom.Dataset, product: Product) -> list[str]:
    """Returns remarks on an image that may be upscaled.

    Args:
        ds: The source.
        product: The producer; `force` and `burned_in` change the rules.

    Raises:
        InputError: The image must not be upscaled; the message gives the reason.
    """
    sop_class = uid.UID(str(ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID") or ""))
    if reason := _sop_class_reason(ds, sop_class) or _term_reason(ds) or dicom.rejection_reason(ds):
        raise InputError(reason)
    element_values.check(ds)
    reason = _frame_reason(ds, sop_class) or unsupported_reason(ds) or _pixel_reason(ds, product)
    if reason := reason or _identity_reason(ds, product) or _position_reason(ds):
        raise InputError(reason)
    return [*_burned_in_remarks(ds, sop_class, product), *_time_zone_remarks(ds)]


def _sop_class_reason(ds: pydicom.Dataset, sop_class: uid.UID) -> str | None:
    if not sop_class:
        return "expected a DICOM image as input for a .dcm output, found no SOP Class UID (0008,0016)"
    name = sop_class.name if sop_class in UID_dictionary else "a SOP Instance of unknown SOP Class UID (0008,0016)"
    if sop_class not in ALLOWED:
        return f"{name} is not upscaled: {_REASONS.get(sop_class, 'its SOP Class is not supported')}"
    if sop_class == uid.PositronEmissionTomographyImageStorage and ds.get("Units") not in ("BQML", "GML"):
        return f"{name} is upscaled only where Units (0054,1001) are BQML or GML (concentrations)"
    return None


def _frame_reason(ds: pydicom.Dataset, sop_class: uid.UID) -> str | None:
    count = int(ds.get("NumberOfFrames") or 1)
    if sop_class in SINGLE_FRAME and count > 1:
        return f"{sop_class.name} has one frame, but Number of Frames (0028,0008) is {count}; save each frame as a file"
    return None


def _term_reason(ds: pydicom.Dataset) -> str | None:
    """Rejects unknown values without repeating them: in a broken file they may contain the patient's name."""
    if ds.file_meta.TransferSyntaxUID not in UID_dictionary:
        return "the Transfer Syntax is unknown"
    if ds.get("PhotometricInterpretation") not in (*GRAY, *COLOR, "PALETTE COLOR"):
        return "Photometric Interpretation (0028,0004) is not supported; expected gray, RGB, YBR or PALETTE COLOR"
    return None


def _pixel_reason(ds: pydicom.Dataset, product: Product) -> str | None:
    if "PixelData" not in ds or not ds.PixelData:
        return "Pixel Data (7FE0,0010) is missing"
    if not 1 <= ds.BitsStored <= min(16, ds.BitsAllocated):
        return f"Bits Stored (0028,0101) must be 1 to {min(16, ds.BitsAllocated)}, not {ds.BitsStored}"
    if int(ds.get("NumberOfFrames") or 1) < 1:
        return "Number of Frames (0028,0008) must be at least 1"
    if not ds.file_meta.TransferSyntaxUID.is_encapsulated and (reason := stored_values.length_mismatch(ds)):
        return reason
    rows, columns = ds.Rows * product.scale, ds.Columns * product.scale
    if max(rows, columns) > 65535:
        return f"{columns} x {rows} pixels exceed the 65535 that Rows (0028,0010) can represent; use a smaller scale"
    size = rows * columns * dicom.channels_of(ds) * dicom.bits_of(ds) // 8 * int(ds.get("NumberOfFrames") or 1)
    if size > MAX_BYTES:
        return f"the result would have {size} bytes, more than {MAX_BYTES}; split the frames"
    return None


def _identity_reason(ds: pydicom.Dataset, product: Product) -> str | None:
    if missing := [keyword for keyword in _REQUIRED if not ds.get(keyword)]:
        return f"{', '.join(map(label, missing))} must not be empty: the result references the source by it"
    if _is_upscaled(ds) and not product.force:
        return "the image has already been upscaled; use the original image"
    return None


def _is_upscaled(ds: pydicom.Dataset) -> bool:
    described = [str(item.get("ContributionDescription", "")) for item in ds.get("ContributingEquipmentSequence") or []]
    return any(text.startswith(_OWN) for text in described)


def _position_reason(ds: pydicom.Dataset) -> str | None:
    if "ImagePositionPatient" not in ds or not ds.ImagePositionPatient:
        return None
    if missing := [k for k in ("ImageOrientationPatient", "PixelSpacing") if not ds.get(k)]:
        names = " and ".join(map(label, missing))
        return f"{names} must be present where {label('ImagePositionPatient')} is, which changes"
    return None


def _burned_in_remarks(ds: pydicom.Dataset, sop_class: uid.UID, product: Product) -> list[str]:
    declared = str(ds.get("BurnedInAnnotation") or "").strip().upper()
    likely = declared == "YES" or (declared != "NO" and sop_class in (*ULTRASOUND, *SECONDARY))
    if not likely or product.burned_in == "ignore":
        return []
    state = "is YES" if declared == "YES" else "is absent" if not declared else "is neither YES nor NO"
    remark = f"Burned In Annotation (0028,0301) {state}: check text in the image, the upscaler changes its appearance"
    if product.burned_in == "refuse":
        raise InputError(f"{remark}; allow it if there is no text")
    return [remark]


def _time_zone_remarks(ds: pydicom.Dataset) -> list[str]:
    if ds.get("TimezoneOffsetFromUTC") and element_values.time_zone(ds) is None:
        name = label("TimezoneOffsetFromUTC")
        return [f"{name} is not of the form +0100: new dates and times are in the time zone of this computer"]
    return []


__getattr__ = renamed(__name__, SINGLE="SINGLE_FRAME", admit="check_eligibility")
