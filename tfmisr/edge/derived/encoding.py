"""How a derived image is stored: its pixel description, its file meta group, its compression (D-30, D-33 to D-38)."""

import pydicom
from pydicom import uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import generate_frames

from tfmisr.edge import codestreams
from tfmisr.edge.derived.pixels import Pixels
from tfmisr.edge.derived.product import IMPLEMENTATION_CLASS_UID, LOSSLESS, Product
from tfmisr.edge.errors import InputError

_COLOURS = ("Red", "Green", "Blue", "Alpha")
_LOSSY = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
}
_LOSSY_OR_NOT = {
    uid.JPEG2000: "ISO_15444_1",
    uid.JPEG2000MC: "ISO_15444_1",
    uid.HTJ2K: "ISO_15444_15",
}


def describe(target: pydicom.Dataset, source: pydicom.Dataset, pixels: Pixels) -> None:
    """Writes the pixels, and what has to be said of them anew."""
    if target.SamplesPerPixel > 1 or source.PhotometricInterpretation == "PALETTE COLOR":
        _describe_colour(target, pixels.bits)
    _limits(target, source, pixels)
    if not target.get("LossyImageCompression") and (method := _loss_by(source)):
        _remember_loss(target, source, method)
    vr = "OB" if target.BitsAllocated == 8 else "OW"
    target["PixelData"] = pydicom.DataElement("PixelData", vr, pixels.data)


def _describe_colour(target: pydicom.Dataset, bits: int | None) -> None:
    target.PhotometricInterpretation, target.PlanarConfiguration, target.SamplesPerPixel = "RGB", 0, 3
    target.PixelRepresentation = 0
    if bits is not None:
        target.BitsAllocated = target.BitsStored = bits
        target.HighBit = bits - 1
    for colour in _COLOURS:
        for name in ("Descriptor", "Data"):
            target.pop(f"{colour}PaletteColorLookupTable{name}", None)
        target.pop(f"Segmented{colour}PaletteColorLookupTableData", None)
    target.pop("PaletteColorLookupTableUID", None)


def _limits(target: pydicom.Dataset, source: pydicom.Dataset, pixels: Pixels) -> None:
    """Smallest and Largest Image Pixel Value, where the source has them; padding does not count (D-33)."""
    vr = "SS" if target.PixelRepresentation else "US"
    same = source.PhotometricInterpretation == target.PhotometricInterpretation and target.SamplesPerPixel == 1
    for keyword, value in {
        "SmallestImagePixelValue": pixels.smallest,
        "LargestImagePixelValue": pixels.largest,
    }.items():
        if keyword in target:
            del target[keyword]
            if same and value is not None:
                target[keyword] = pydicom.DataElement(keyword, vr, value)


def _loss_by(source: pydicom.Dataset) -> str | None:
    """Returns the method that has cost the source some of its pixels, as its file tells."""
    syntax = source.file_meta.TransferSyntaxUID
    if syntax in _LOSSY_OR_NOT:
        frames = generate_frames(source.PixelData, number_of_frames=int(source.get("NumberOfFrames") or 1))
        return _LOSSY_OR_NOT[syntax] if any(map(codestreams.is_irreversible, frames)) else None
    return _LOSSY.get(syntax)


def _remember_loss(target: pydicom.Dataset, source: pydicom.Dataset, method: str) -> None:
    """A file that was lossy without saying so must not become one that never was (D-37)."""
    samples = source.Rows * source.Columns * source.SamplesPerPixel * int(source.get("NumberOfFrames") or 1)
    ratio = samples * source.BitsAllocated / 8 / max(len(source.PixelData), 1)
    target.LossyImageCompression = "01"
    target.LossyImageCompressionRatio = f"{max(ratio, 1):.2f}"
    target.LossyImageCompressionMethod = method


def finish(target: pydicom.Dataset, product: Product) -> None:
    """Writes a new file meta group, and compresses without loss where that is asked for (D-38)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = target.SOPClassUID, target.SOPInstanceUID
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid.UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"{product.name}_{product.version}".upper()[:16]
    target.file_meta = meta
    target.preamble = bytes(128)
    if product.lossless == "jpeg_2000" and min(target.Rows, target.Columns) < 32:
        raise InputError("JPEG 2000 needs 32 rows and columns; choose another compression")
    if product.lossless:
        # By default pydicom gives a compressed data set a new, random SOP Instance UID.
        target.compress(LOSSLESS[product.lossless], generate_instance_uid=False)
