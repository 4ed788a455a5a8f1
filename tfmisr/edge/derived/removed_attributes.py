"""Copies a Data Set without the Attributes that must be removed on derivation (D-29, D-40, D-41)."""

from collections.abc import Collection

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.tag import BaseTag

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived import verbatim
from tfmisr.edge.derived.product import Product

# Signatures of the source's bytes, their location, and the source's position in a concatenation or pyramid (D-41).
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

# Describe the source's pixels, or use their coordinates, and cannot be recomputed from one instance (D-29, D-33).
_PIXEL_DEPENDENT = (
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

_REMOVED = frozenset(tag_for_keyword(keyword) for keyword in (*_INTEGRITY, *_PIXEL_DEPENDENT))


def copy_remaining(ds: pydicom.Dataset, product: Product) -> verbatim.Verbatim:
    """Returns a copy of a Data Set without Pixel Data, private Data Elements and the Attributes listed above.

    Call it before any value of the source is decoded: copied Data Elements keep their bytes. Removed Data Elements are
    not decoded, so that broken ones cause no error.

    Args:
        ds: The source.
        product: Lists the private Data Elements to keep.

    Raises:
        InputError: A Data Element cannot be copied.
    """
    private = set(product.keep_private)
    return verbatim.copy_dataset(ds, lambda holder, tag: _is_kept(holder, tag, private))


def copy_listed(ds: pydicom.Dataset, tags: Collection[int], groups: Collection[int]) -> verbatim.Verbatim:
    """Returns a copy of a Data Set with only some Data Elements; those in the Items of Sequences are all kept.

    Args:
        ds: The source; see `copy_remaining`.
        tags: Tags of the Data Elements to keep.
        groups: Groups of which all Data Elements are kept.

    Raises:
        InputError: A Data Element cannot be copied.
    """

    def is_kept(holder: pydicom.Dataset, tag: BaseTag) -> bool:
        listed = holder is not ds or tag in tags or tag.group in groups
        return listed and _is_kept(holder, tag, set())

    return verbatim.copy_dataset(ds, is_kept)


def _is_kept(ds: pydicom.Dataset, tag: BaseTag, private: set[tuple[int, str, int]]) -> bool:
    if tag.is_private:
        return _is_listed(ds, tag, private)
    # Groups 50xx are curves (retired), in pixel coordinates.
    return not (tag in _REMOVED or tag.element == 0 or tag.group < 8 or 0x5000 <= tag.group < 0x5100)


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
    """Removes BITMAP from Shutter Shape (0018,1600): its overlay is in pixels of the source.

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
    return ["Shutter Shape (0018,1600) BITMAP is removed: the area that it covered is visible"]


__getattr__ = renamed(__name__, kept="copy_remaining")
