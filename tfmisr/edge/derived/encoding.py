"""Writes Pixel Data, its description, File Meta Information and compression (D-30, D-33 to D-38)."""

import pydicom
from pydicom import uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import generate_frames

from tfmisr.edge import codestreams
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.pixels import Pixels
from tfmisr.edge.derived.product import IMPLEMENTATION_CLASS_UID, LOSSLESS, Product
from tfmisr.edge.errors import InputError

_COLORS = ("Red", "Green", "Blue", "Alpha")
_LOSSY = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
}
_POSSIBLY_LOSSY = {
    uid.JPEG2000: "ISO_15444_1",
    uid.JPEG2000MC: "ISO_15444_1",
    uid.HTJ2K: "ISO_15444_15",
}


def write_pixels(target: pydicom.Dataset, source: pydicom.Dataset, pixels: Pixels) -> None:
    """Writes Pixel Data and the Attributes that describe it.

    Args:
        target: The derived image, changed in place.
        source: The source, with its own Pixel Data.
        pixels: The upscaled frames.
    """
    if target.SamplesPerPixel > 1 or source.PhotometricInterpretation == "PALETTE COLOR":
        _describe_color(target, pixels.bits)
    _limits(target, source, pixels)
    record_lossy_compression(target, source)
    vr = "OB" if target.BitsAllocated == 8 else "OW"
    target["PixelData"] = pydicom.DataElement("PixelData", vr, pixels.data)


def _describe_color(target: pydicom.Dataset, bits: int | None) -> None:
    target.PhotometricInterpretation, target.PlanarConfiguration, target.SamplesPerPixel = "RGB", 0, 3
    target.PixelRepresentation = 0
    if bits is not None:
        target.BitsAllocated = target.BitsStored = bits
        target.HighBit = bits - 1
    for color in _COLORS:
        for name in ("Descriptor", "Data"):
            target.pop(f"{color}PaletteColorLookupTable{name}", None)
        target.pop(f"Segmented{color}PaletteColorLookupTableData", None)
    target.pop("PaletteColorLookupTableUID", None)


def _limits(target: pydicom.Dataset, source: pydicom.Dataset, pixels: Pixels) -> None:
    """Writes Smallest and Largest Image Pixel Value if the source has them; padding is excluded (D-33)."""
    vr = "SS" if target.PixelRepresentation else "US"
    is_comparable = source.PhotometricInterpretation == target.PhotometricInterpretation and target.SamplesPerPixel == 1
    for keyword, value in {
        "SmallestImagePixelValue": pixels.smallest,
        "LargestImagePixelValue": pixels.largest,
    }.items():
        if keyword in target:
            del target[keyword]
            if is_comparable and value is not None:
                target[keyword] = pydicom.DataElement(keyword, vr, value)


def _lossy_method(source: pydicom.Dataset) -> str | None:
    """Returns Lossy Image Compression Method (0028,2114) if the Transfer Syntax of the source is lossy."""
    syntax = source.file_meta.TransferSyntaxUID
    if syntax in _POSSIBLY_LOSSY:
        frames = generate_frames(source.PixelData, number_of_frames=int(source.get("NumberOfFrames") or 1))
        return _POSSIBLY_LOSSY[syntax] if any(map(codestreams.is_irreversible, frames)) else None
    return _LOSSY.get(syntax)


def record_lossy_compression(target: pydicom.Dataset, source: pydicom.Dataset) -> None:
    """Writes the Lossy Image Compression Attributes where a lossy source does not have them (D-37).

    Args:
        target: Changed in place.
        source: With its own Pixel Data and File Meta Information.
    """
    method = None if target.get("LossyImageCompression") else _lossy_method(source)
    if not method:
        return
    samples = source.Rows * source.Columns * source.SamplesPerPixel * int(source.get("NumberOfFrames") or 1)
    ratio = samples * source.BitsAllocated / 8 / max(len(source.PixelData), 1)
    target.LossyImageCompression = "01"
    target.LossyImageCompressionRatio = f"{max(ratio, 1):.2f}"
    target.LossyImageCompressionMethod = method


def write_file_meta(target: pydicom.Dataset, product: Product) -> None:
    """Writes File Meta Information, and compresses losslessly if requested (D-38).

    Raises:
        InputError: The image is too small for JPEG 2000.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = target.SOPClassUID, target.SOPInstanceUID
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid.UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"{product.name}_{product.version}".upper()[:16]
    target.file_meta = meta
    target.preamble = bytes(128)
    if product.lossless == "jpeg_2000" and min(target.Rows, target.Columns) < 32:
        raise InputError("JPEG 2000 needs at least 32 rows and columns; choose another compression")
    if product.lossless:
        # By default pydicom gives a compressed data set a new, random SOP Instance UID.
        target.compress(LOSSLESS[product.lossless], generate_instance_uid=False)


__getattr__ = renamed(__name__, describe="write_pixels", finish="write_file_meta")
