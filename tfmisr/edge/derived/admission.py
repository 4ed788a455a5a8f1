"""Which images are upscaled, and why the others are not (D-07, D-39, D-44)."""

import pydicom
from pydicom import uid
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID_dictionary

from tfmisr.edge import dicom, element_values
from tfmisr.edge.derived.product import Product
from tfmisr.edge.derived.reading import MAX_BYTES
from tfmisr.edge.dicom_rules import COLOUR, GRAY, unsupported
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
# Of one frame by definition, and in practice. MR Image Storage has one frame by definition too, but cines exist.
SINGLE = (
    uid.ComputedRadiographyImageStorage,
    uid.CTImageStorage,
    uid.PositronEmissionTomographyImageStorage,
    *DX_OR_MG,
)
ALLOWED = (*SINGLE, uid.MRImageStorage, *FLUOROSCOPY, *ULTRASOUND, *SECONDARY, *ENHANCED)

_REASONS = {
    uid.NuclearMedicineImageStorage: "its pixels count events, and counts change with the pixel size",
    uid.RTDoseStorage: "its pixels are a dose grid",
    uid.SegmentationStorage: "its pixels are labels",
    uid.ParametricMapStorage: "its pixels are measurements",
    uid.VLWholeSlideMicroscopyImageStorage: "its pixels are tiles of a pyramid",
    uid.DigitalXRayImageStorageForProcessing: "it is meant for processing; send the image for presentation",
    uid.DigitalMammographyXRayImageStorageForProcessing: "it is meant for processing; send the one for presentation",
}
_REQUIRED = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def admit(ds: pydicom.Dataset, product: Product) -> list[str]:
    """Returns remarks on an image that may be upscaled.

    Raises:
        InputError: It may not; the message says why.
    """
    kind = uid.UID(str(ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID") or ""))
    if reason := _of_kind(ds, kind) or _of_terms(ds) or dicom.refusal(ds):
        raise InputError(reason)
    element_values.check(ds)
    reason = _of_frames(ds, kind) or unsupported(ds) or _of_pixels(ds, product)
    if reason := reason or _of_identity(ds, product) or _of_position(ds):
        raise InputError(reason)
    return [*_burned_in(ds, kind, product), *_time_zone(ds)]


def _of_kind(ds: pydicom.Dataset, kind: uid.UID) -> str | None:
    if not kind:
        return "expected a DICOM image as input for a .dcm output, found no SOP Class UID (0008,0016)"
    name = kind.name if kind in UID_dictionary else "an object of unknown SOP Class UID (0008,0016)"
    if kind not in ALLOWED:
        return f"{name} is not upscaled: {_REASONS.get(kind, 'its class is not supported')}"
    if kind == uid.PositronEmissionTomographyImageStorage and ds.get("Units") not in ("BQML", "GML"):
        return f"{name} is upscaled only where Units (0054,1001) are BQML or GML: a concentration"
    return None


def _of_frames(ds: pydicom.Dataset, kind: uid.UID) -> str | None:
    count = int(ds.get("NumberOfFrames") or 1)
    if kind in SINGLE and count > 1:
        return f"{kind.name} has one frame, and Number of Frames (0028,0008) is {count}; write each frame to a file"
    return None


def _of_terms(ds: pydicom.Dataset) -> str | None:
    """Refuses unknown terms without showing them: where a length is broken, the patient's name may be in them."""
    if ds.file_meta.TransferSyntaxUID not in UID_dictionary:
        return "the transfer syntax is unknown"
    if ds.get("PhotometricInterpretation") not in (*GRAY, *COLOUR, "PALETTE COLOR"):
        return "Photometric Interpretation (0028,0004) is not supported; expected gray, RGB, YBR or a palette"
    return None


def _of_pixels(ds: pydicom.Dataset, product: Product) -> str | None:
    if "PixelData" not in ds or not ds.PixelData:
        return "Pixel Data (7FE0,0010) is missing"
    if not 1 <= ds.BitsStored <= min(16, ds.BitsAllocated):
        return f"Bits Stored (0028,0101) must be 1 to {min(16, ds.BitsAllocated)}, not {ds.BitsStored}"
    if int(ds.get("NumberOfFrames") or 1) < 1:
        return "Number of Frames (0028,0008) must be at least 1"
    if not ds.file_meta.TransferSyntaxUID.is_encapsulated and (reason := _of_length(ds)):
        return reason
    rows, columns = ds.Rows * product.scale, ds.Columns * product.scale
    if max(rows, columns) > 65535:
        return f"{columns} x {rows} pixels are more than the 65535 that Rows (0028,0010) can hold; take a smaller scale"
    size = rows * columns * dicom.channels_of(ds) * dicom.bits_of(ds) // 8 * int(ds.get("NumberOfFrames") or 1)
    if size > MAX_BYTES:
        return f"the result would have {size} bytes, more than {MAX_BYTES}; split the frames"
    return None


def _of_length(ds: pydicom.Dataset) -> str | None:
    """Some add a few bytes to native pixel data; a whole row more means that the header is wrong."""
    expected, row = get_expected_length(ds), ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    if not expected <= len(ds.PixelData) < expected + max(row, 2):
        size = f"{ds.Columns} Columns (0028,0011) and {ds.Rows} Rows (0028,0010)"
        return f"Pixel Data (7FE0,0010) must have {int(expected)} bytes for {size}, not {len(ds.PixelData)}"
    return None


def _of_identity(ds: pydicom.Dataset, product: Product) -> str | None:
    if missing := [keyword for keyword in _REQUIRED if not ds.get(keyword)]:
        return f"{', '.join(map(label, missing))} must not be empty: the result refers to the source by it"
    if _is_ours(ds) and not product.force:
        return "the image is the result of an upscaling; take the original image"
    return None


def _is_ours(ds: pydicom.Dataset) -> bool:
    described = [str(item.get("ContributionDescription", "")) for item in ds.get("ContributingEquipmentSequence") or []]
    return any(text.startswith("Super-resolution x") for text in described)


def _of_position(ds: pydicom.Dataset) -> str | None:
    if "ImagePositionPatient" not in ds or not ds.ImagePositionPatient:
        return None
    if missing := [k for k in ("ImageOrientationPatient", "PixelSpacing") if not ds.get(k)]:
        names = " and ".join(map(label, missing))
        return f"{names} must not be missing where there is {label('ImagePositionPatient')}, which changes"
    return None


def _burned_in(ds: pydicom.Dataset, kind: uid.UID, product: Product) -> list[str]:
    declared = str(ds.get("BurnedInAnnotation") or "").strip().upper()
    likely = declared == "YES" or (declared != "NO" and kind in (*ULTRASOUND, *SECONDARY))
    if not likely or product.burned_in == "ignore":
        return []
    state = "is YES" if declared == "YES" else "is absent" if not declared else "is neither YES nor NO"
    remark = f"Burned In Annotation (0028,0301) {state}: check text in the image, the upscaler changes its shape"
    if product.burned_in == "refuse":
        raise InputError(f"{remark}; allow it if there is no text")
    return [remark]


def _time_zone(ds: pydicom.Dataset) -> list[str]:
    if ds.get("TimezoneOffsetFromUTC") and element_values.time_zone(ds) is None:
        name = label("TimezoneOffsetFromUTC")
        return [f"{name} is not of the form +0100: new dates and times are those of this computer's time zone"]
    return []
