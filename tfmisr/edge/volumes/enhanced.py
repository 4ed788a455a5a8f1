"""Multi-frame CT and MR (Enhanced, Legacy Converted Enhanced; PS3.3 C.7.6.16) as slices like those of single files."""

import pathlib
from collections.abc import Iterator

import pydicom
from pydicom import uid

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes.slices import Slice

SOP_CLASSES = (
    uid.EnhancedCTImageStorage,
    uid.EnhancedMRImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage,
)
# Macros whose one item describes the frame; the others refer to other images.
_MACROS = (
    "PixelMeasuresSequence FrameContentSequence PlanePositionSequence PlaneOrientationSequence FrameVOILUTSequence "
    "PixelValueTransformationSequence CTImageFrameTypeSequence MRImageFrameTypeSequence MRModifierSequence "
    "CardiacSynchronizationSequence TemporalPositionSequence MREchoSequence MRDiffusionSequence "
    "MRTimingAndRelatedParametersSequence CTXRayDetailsSequence CTReconstructionSequence "
    "UnassignedSharedConvertedAttributesSequence UnassignedPerFrameConvertedAttributesSequence"
).split()
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def is_multi_frame(header: pydicom.Dataset) -> bool:
    """Returns whether the place of each frame is in functional groups."""
    return str(header.get("SOPClassUID") or "") in SOP_CLASSES


def slices_of(path: pathlib.Path, header: pydicom.Dataset) -> list[Slice]:
    """Returns the slices of a file: one, or one for each frame of a multi-frame image.

    Raises:
        InputError: The functional groups do not fit Number of Frames (0028,0008).
    """
    if not is_multi_frame(header):
        return [Slice(path, header)]
    count, groups = int(header.get("NumberOfFrames") or 1), header.get(_GROUPS[1]) or []
    if len(groups) != count:
        raise InputError(
            f"expected {count} items in Per-frame Functional Groups Sequence (5200,9230), one for each frame. "
            f"Received: {len(groups)}"
        )
    image = pydicom.Dataset({tag: header.get_item(tag) for tag in header.keys() if tag >> 16 != 0x5200})
    shared = next(iter(header.get(_GROUPS[0]) or []), pydicom.Dataset())
    common = _flattened(image, shared)
    return [Slice(path, _with_meta(_flattened(common, group), header), i) for i, group in enumerate(groups)]


def _flattened(base: pydicom.Dataset, group: pydicom.Dataset) -> pydicom.Dataset:
    """Returns a shallow copy of a Data Set with the first item of each functional group at its top level."""
    flat = pydicom.Dataset(dict(base._dict))
    for macro in _macros(group):
        for element in macro:
            flat[element.tag] = element
    return flat


def _macros(group: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    for keyword in _MACROS:
        if items := group.get(keyword):
            yield items[0]


def _with_meta(flat: pydicom.Dataset, header: pydicom.Dataset) -> pydicom.Dataset:
    flat.file_meta = header.file_meta
    implicit, little = header.original_encoding
    flat.set_original_encoding(implicit, little, header.original_character_set)
    return flat
