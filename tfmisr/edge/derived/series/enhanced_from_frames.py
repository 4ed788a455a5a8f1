"""Attributes of an Enhanced object from those of the frames of another (V-11).

A functional group that is equal in all acquired frames describes the volume and is copied; one that differs describes a
single frame and is removed. Frame Content, Plane Position, Derivation Image, the measures and the dimensions are
written by `enhanced`; where the frames have their own windows, the median applies to all.
"""

import numpy as np
import pydicom
from pydicom import Sequence, uid
from pydicom.datadict import keyword_for_tag
from pydicom.tag import Tag
from pydicom.valuerep import DSfloat

from tfmisr.edge.derived import identity, verbatim
from tfmisr.edge.derived.series import slice_attributes
from tfmisr.edge.derived.series.single_frames import Series
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

_REMOVED = {
    int(Tag(keyword))
    for keyword in (
        "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DimensionOrganizationSequence "
        "DimensionIndexSequence DimensionOrganizationType SourceImageEvidenceSequence FrameIncrementPointer"
    ).split()
}
# Written for the new frames.
_WRITTEN = {
    int(Tag(keyword))
    for keyword in (
        "FrameContentSequence PlanePositionSequence PlaneOrientationSequence PixelMeasuresSequence "
        "DerivationImageSequence PixelValueTransformationSequence FrameVOILUTSequence"
    ).split()
}
_REQUIRED = ("FrameAnatomySequence", "CTImageFrameTypeSequence", "MRImageFrameTypeSequence")


def common(series: Series, sop_class: uid.UID) -> tuple[verbatim.Verbatim, pydicom.Dataset, list[str]]:
    """Returns the Attributes of the object, its shared functional groups, and remarks on what was removed.

    Args:
        series: The series.
        sop_class: SOP Class UID of the object.

    Raises:
        InputError: The frames differ in what must be equal.
    """
    source, groups = series.slices.items[0].header, [item.group for item in series.slices.items]
    target = verbatim.copy_dataset(source, lambda holder, tag: holder is not source or _is_kept(tag))
    target.SOPClassUID = sop_class
    shared, removed = verbatim.new_item(target), []
    for tag in sorted({tag for group in groups for tag in group.keys()} - _WRITTEN):
        if not slice_attributes.differs(groups, tag):
            shared[tag] = groups[0][tag]
        elif keyword_for_tag(tag) in _REQUIRED:
            raise InputError(f"expected frames of one kind; they differ in {label(tag)}")
        else:
            removed.append(keyword_for_tag(tag) or label(tag))
    _copy_unit(shared, groups)
    _copy_window(shared, groups)
    target.SharedFunctionalGroupsSequence = Sequence([shared])
    identity.enhanced_type(target)
    overlays = slice_attributes.overlay_remarks([source])
    names = [f"removed, as they differ between frames: {', '.join(removed)}"] if removed else []
    return target, shared, [*names, *overlays]


def _is_kept(tag: int) -> bool:
    return tag not in _REMOVED and not 0x60000000 <= tag < 0x61000000


def _copy_unit(shared: pydicom.Dataset, groups: list[pydicom.Dataset]) -> None:
    """Copies Rescale Type; slope and intercept are written for the new frames."""
    units = {str(item.get("RescaleType")) for item in _items(groups, "PixelValueTransformationSequence")}
    if len(units) > 1:
        raise InputError(f"the frames differ in {label('RescaleType')}")
    item = pydicom.Dataset()
    item.RescaleType = units.pop() if units and units != {"None"} else "US"
    shared.PixelValueTransformationSequence = Sequence([item])


def _copy_window(shared: pydicom.Dataset, groups: list[pydicom.Dataset]) -> None:
    items = _items(groups, "FrameVOILUTSequence")
    if not items:
        return
    if not slice_attributes.differs(groups, int(Tag("FrameVOILUTSequence"))):
        shared.FrameVOILUTSequence = groups[0].FrameVOILUTSequence
        return
    pairs = [slice_attributes.first_window(item) for item in items]
    if present := [pair for pair in pairs if pair is not None]:
        center, width = np.median(present, axis=0)
        item = pydicom.Dataset()
        item.WindowCenter, item.WindowWidth = (DSfloat(float(value), auto_format=True) for value in (center, width))
        shared.FrameVOILUTSequence = Sequence([item])


def _items(groups: list[pydicom.Dataset], keyword: str) -> list[pydicom.Dataset]:
    return [group[keyword].value[0] for group in groups if group.get(keyword)]
