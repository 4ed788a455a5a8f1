"""The copy that a derived image starts from: what would be wrong in it stays behind (D-40, D-41, D-29)."""

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.tag import BaseTag

from tfmisr.edge.derived import verbatim
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
    "ExposureControlSensingRegionsSequence",
    "FramePixelShiftSequence",
    "PixelShiftSequence",
    "ZoomCenter",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
)

_DROPPED = frozenset(tag_for_keyword(keyword) for keyword in (*_INTEGRITY, *_OF_OLD_PIXELS))


def kept(ds: pydicom.Dataset, product: Product) -> verbatim.Verbatim:
    """Returns a copy of a data set without pixels, private elements and what is listed above.

    Take it before the source is read: what is copied keeps its bytes. Elements that are left out are not even
    decoded, so that a broken private element hinders nothing.

    Raises:
        InputError: An element cannot be copied.
    """
    private = set(product.keep_private)
    return verbatim.copied(ds, lambda holder, tag: _is_kept(holder, tag, private))


def _is_kept(ds: pydicom.Dataset, tag: BaseTag, private: set[tuple[int, str, int]]) -> bool:
    if tag.is_private:
        return _is_listed(ds, tag, private)
    # Groups 50xx are curves, retired, in pixel coordinates.
    return not (tag in _DROPPED or tag.element == 0 or tag.group < 8 or 0x5000 <= tag.group < 0x5100)


def _is_listed(ds: pydicom.Dataset, tag: BaseTag, private: set[tuple[int, str, int]]) -> bool:
    if tag.is_private_creator:
        return any(group == tag.group and creator == _text(ds, tag) for group, creator, _ in private)
    creator = pydicom.tag.Tag(tag.group, tag.element >> 8)
    return (tag.group, _text(ds, creator), tag.element & 0xFF) in private


def _text(ds: pydicom.Dataset, tag: BaseTag) -> str | None:
    if tag not in ds:
        return None
    value = ds.get_item(tag).value
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip(" \0")


def drop_bitmap_shutter(target: pydicom.Dataset) -> list[str]:
    """Removes BITMAP, whose overlay is in pixels of the source, from Shutter Shape (0018,1600).

    Returns:
        Remarks on what was removed.
    """
    shape = target.get("ShutterShape") or ()
    shapes = [shape] if isinstance(shape, str) else list(shape)
    if "BITMAP" not in shapes:
        return []
    if rest := [value for value in shapes if value != "BITMAP"]:
        target.ShutterShape = rest
    else:
        del target.ShutterShape
    return ["Shutter Shape (0018,1600) BITMAP is left out: what it covered is visible"]
