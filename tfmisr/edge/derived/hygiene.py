"""The copy that a derived image starts from: what would be wrong in it stays behind (D-40, D-41, D-29)."""

import copy

import pydicom
from pydicom import uid
from pydicom.datadict import tag_for_keyword

from tfmisr.edge.derived.product import Product

# What vouches for the source's bytes, locates them, or tells of its part in a larger whole (D-41).
_INTEGRITY = (
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "EncryptedAttributesSequence",
    "DataSetTrailingPadding",
    "PixelDataProviderURL",
    "RetrieveURL",
    "RetrieveURI",
    "RetrieveAETitle",
    "InstanceAvailability",
    "InstanceCreatorUID",
    "PyramidUID",
    "PyramidLabel",
    "PyramidDescription",
    "ConcatenationUID",
    "SOPInstanceUIDOfConcatenationSource",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber",
)

# What is told of the source's pixels, or in their coordinates, and cannot be recomputed from one instance (D-29, D-33).
_OF_OLD_PIXELS = (
    "PixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "IconImageSequence",
    "HistogramSequence",
    "VerticesOfTheRegion",
    "ShutterOverlayGroup",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
)

_DROPPED = frozenset(tag_for_keyword(keyword) for keyword in (*_INTEGRITY, *_OF_OLD_PIXELS))
_SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def kept(ds: pydicom.Dataset, product: Product) -> pydicom.Dataset:
    """Returns a copy of a data set without pixels, private elements and what is listed above.

    Elements that are left out are not even decoded, so that a broken private element hinders nothing.
    """
    target = _copy(ds, set(product.keep_private))
    if ds.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian:
        _to_little_endian(target)
    if "BITMAP" in (target.get("ShutterShape") or ()):
        _drop_bitmap_shutter(target)
    for item in target.get("MaskSubtractionSequence") or ():
        item.pop("MaskSubPixelShift", None)
    return target


def _copy(ds, private):
    target = pydicom.Dataset()
    for tag in ds.keys():
        if tag.is_private:
            if not _is_kept(ds, tag, private):
                continue
        elif tag in _DROPPED or tag.element == 0 or tag.group < 8 or 0x5000 <= tag.group < 0x5100:
            continue  # groups 50xx are curves, retired, in pixel coordinates
        element = ds[tag]
        if element.VR == "SQ":
            items = [_copy(item, private) for item in element.value]
            target[tag] = pydicom.DataElement(tag, "SQ", pydicom.Sequence(items))
        else:
            target[tag] = copy.deepcopy(element)
    return target


def _is_kept(ds, tag, private):
    if tag.is_private_creator:
        return any(group == tag.group and creator == _text(ds, tag) for group, creator, _ in private)
    creator = pydicom.tag.Tag(tag.group, tag.element >> 8)
    return (tag.group, _text(ds, creator), tag.element & 0xFF) in private


def _text(ds, tag):
    return str(ds[tag].value).strip() if tag in ds else None


def _to_little_endian(ds):
    # pydicom turns numbers round, but not bytes that stand for words.
    for element in ds.iterall():
        size = _SWAPPED.get(element.VR)
        if size and isinstance(element.value, bytes) and len(element.value) % size == 0:
            words = memoryview(element.value).cast("B")
            element.value = b"".join(bytes(words[i : i + size])[::-1] for i in range(0, len(words), size))


def _drop_bitmap_shutter(target):
    shape = target.ShutterShape
    rest = [value for value in ([shape] if isinstance(shape, str) else shape) if value != "BITMAP"]
    if rest:
        target.ShutterShape = rest
    else:
        del target.ShutterShape
