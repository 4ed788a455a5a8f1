"""Half-width map as a Parametric Map (PS3.3 A.75), for images with a plane in the patient (T-20).

Geometry and Frame of Reference are those of the upscaled image; each frame of the map is one of its frames.
"""

import math

import pydicom
from pydicom import DataElement, Sequence, uid
from pydicom.tag import Tag
from pydicom.valuerep import DSfloat

from tfmisr.edge.derived import half_width_attributes as attributes
from tfmisr.edge.derived import verbatim
from tfmisr.edge.derived.checking import first_item, frame_groups
from tfmisr.edge.derived.eligibility import ENHANCED
from tfmisr.edge.derived.half_width_attributes import Map
from tfmisr.edge.derived.identity import derived_uid
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

SOP_CLASSES = (uid.CTImageStorage, uid.MRImageStorage, uid.PositronEmissionTomographyImageStorage, *ENHANCED)

_PLANE = {  # macro (C.7.6.16.2), its Attributes, and how many values each has
    "PixelMeasuresSequence": {"PixelSpacing": 2, "SliceThickness": 1},
    "PlaneOrientationSequence": {"ImageOrientationPatient": 6},
    "PlanePositionSequence": {"ImagePositionPatient": 3},
}
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_COPIED = " ".join([*_GROUPS, *(keyword for keywords in _PLANE.values() for keyword in keywords)])
# Body Part Examined (CID 4) without a face, from which a patient may be recognized.
_FACELESS = (
    "ABDOMEN ABDOMENPELVIS ANKLE ARM BREAST CHEST CHESTABDOMEN CHESTABDPELVIS ELBOW EXTREMITY FOOT HAND HEART HIP "
    "KIDNEY KNEE LEG LIVER LSPINE LUNG PELVIS PROSTATE SHOULDER THORAX TSPINE WRIST"
).split()
_TYPE = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]

Planes = list[dict[str, pydicom.Dataset]]  # for each frame, the Items of the macros of `_PLANE`


def assemble(made: Map) -> verbatim.Verbatim:
    """Returns the Data Set without File Meta Information.

    Raises:
        InputError: The image has no Frame of Reference, or a frame has no plane.
    """
    target = attributes.copy_common(made.sr, _COPIED)
    planes = _planes(target, made.frames)
    _require_plane(target, planes)
    for keyword in _COPIED.split():
        target.pop(keyword, None)
    shared, frames = _functional_groups(made, planes)
    attributes.record(target, made)
    attributes.identify(target, made, uid.ParametricMapStorage)
    attributes.describe_pixels(target, made)
    _describe(target, made)
    _dimensions(target, made, frames)
    target.SharedFunctionalGroupsSequence = Sequence([shared])
    target.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return target


def _planes(target: verbatim.Verbatim, count: int) -> Planes:
    """Returns the plane of each frame: from the Data Set itself, or from the functional groups of an Enhanced image."""
    if target.SOPClassUID not in ENHANCED:
        return [{macro: _item(target, macro) for macro in _PLANE}] * count
    groups = frame_groups(target)
    if len(groups) != count:
        raise InputError(f"{label(_GROUPS[1])} must have one Item per frame")
    return [{macro: _item(first_item(group.get(macro)), macro) for macro in _PLANE} for group in groups]


def _item(holder: pydicom.Dataset, macro: str) -> pydicom.Dataset:
    """Returns a new Item with the Attributes of a macro that are complete, in at most 16 characters (D-27)."""
    item = pydicom.Dataset()
    for keyword, count in _PLANE[macro].items():
        if numbers := _numbers(holder, keyword, count):
            decimals = [DSfloat(number, auto_format=True) for number in numbers]
            setattr(item, keyword, decimals if count > 1 else decimals[0])
    return item


def _numbers(holder: pydicom.Dataset, keyword: str, count: int) -> list[float]:
    """Returns the numbers of an Attribute; none where it is absent or invalid."""
    try:
        value = holder.get(keyword)
        numbers = [float(number) for number in ([value] if count == 1 else value or ())]
    except (TypeError, ValueError):
        return []
    valid = len(numbers) == count and all(map(math.isfinite, numbers))
    is_length = keyword in ("PixelSpacing", "SliceThickness")
    return numbers if valid and not (is_length and min(numbers) <= 0) else []


def _require_plane(target: pydicom.Dataset, planes: Planes) -> None:
    missing = [] if target.get("FrameOfReferenceUID") else ["FrameOfReferenceUID"]
    for macro, keywords in _PLANE.items():
        needed = [keyword for keyword in keywords if keyword != "SliceThickness"]  # Type 1C
        missing += [keyword for keyword in needed if not all(keyword in plane[macro] for plane in planes)]
    if missing:
        raise InputError(
            f"a Parametric Map needs {', '.join(map(label, missing))}, which the image does not have; write the "
            "half-widths as .tif or .npy instead"
        )


def _functional_groups(made: Map, planes: Planes) -> tuple[pydicom.Dataset, list[pydicom.Dataset]]:
    """Returns the shared functional groups and those of the frames; a macro is in one place only (C.7.6.16)."""
    shared, frames = pydicom.Dataset(), [pydicom.Dataset() for _ in planes]
    for macro in _PLANE:
        items = [plane[macro] for plane in planes]
        is_shared = macro != "PlanePositionSequence" and all(item == items[0] for item in items)
        for group, item in [(shared, items[0])] if is_shared else zip(frames, items, strict=True):
            setattr(group, macro, Sequence([item]))
    shared.ParametricMapFrameTypeSequence = _sequence(FrameType=_TYPE)
    shared.PixelValueTransformationSequence = _sequence(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")
    shared.RealWorldValueMappingSequence = attributes.real_world_values(made)
    shared.FrameVOILUTSequence = _sequence(**_window(made))
    for number, group in enumerate(frames, start=1):
        # MR Image Storage has one frame by definition, though it is used for cines: no frame may be referenced there.
        group.DerivationImageSequence = _derivation(made, number if made.sr.SOPClassUID in ENHANCED else None)
    return shared, frames


def _sequence(**values: object) -> Sequence:
    item = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _window(made: Map) -> dict[str, object]:
    """Returns a window from 0 to the largest value; its unit is that of stored values (C.7.6.16.2.9)."""
    center, width = attributes.window(made.values.largest / made.values.slope, 0.0 if made.values.is_float else 1.0)
    decimals = [DSfloat(value, auto_format=True) for value in (center, width)]
    return {"WindowCenter": decimals[0], "WindowWidth": decimals[1], "WindowCenterWidthExplanation": "all half-widths"}


def _derivation(made: Map, frame: int | None) -> Sequence:
    item = pydicom.Dataset()
    item.DerivationDescription = made.text
    # CID 7203 (extensible) has no code for it.
    item.DerivationCodeSequence = Sequence([attributes.code_item(*attributes.CODE)])
    item.SourceImageSequence = Sequence([attributes.reference(made, frame)])
    return Sequence([item])


def _describe(target: pydicom.Dataset, made: Map) -> None:
    """Writes the modules of a Parametric Map beside its pixels."""
    target.ImageType, target.ContentQualification = _TYPE, "RESEARCH"
    target.ContentLabel, target.ContentDescription = attributes.CODE[0], attributes.CODE[2]
    target.ContentCreatorName = None
    target.ImageComments = made.text
    target.AcquisitionContextSequence = Sequence()
    if target.get("RecognizableVisualFeatures") not in ("YES", "NO"):  # Type 1
        target.RecognizableVisualFeatures = "NO" if target.get("BodyPartExamined") in _FACELESS else "YES"
    if "PositionReferenceIndicator" not in target:
        target.PositionReferenceIndicator = None
    # Type 1 (C.7.5.2); the weights identify the device.
    target.DeviceSerialNumber = made.product.weights_sha256[:16] or made.product.version
    instance, series = pydicom.Dataset(), pydicom.Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = made.sr.SOPClassUID, made.sr.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = made.sr.SeriesInstanceUID, Sequence([instance])
    target.ReferencedSeriesSequence = Sequence([series])


def _dimensions(target: pydicom.Dataset, made: Map, frames: list[pydicom.Dataset]) -> None:
    """Writes the dimensions (C.7.6.17): the position of a frame, and its number among those of the same position."""
    organization = derived_uid(made.product, "dimensions", target.SOPInstanceUID)
    pointers = {"ImagePositionPatient": "PlanePositionSequence", "FrameLabel": "FrameContentSequence"}
    target.DimensionOrganizationSequence = _sequence(DimensionOrganizationUID=organization)
    target.DimensionIndexSequence = Sequence()
    for pointer, macro in pointers.items():
        item = _sequence(DimensionOrganizationUID=organization)[0]
        item.add(DataElement("DimensionIndexPointer", "AT", Tag(pointer)))
        item.add(DataElement("FunctionalGroupPointer", "AT", Tag(macro)))
        target.DimensionIndexSequence.append(item)
    for group, index in zip(frames, _indices(frames), strict=True):
        group.FrameContentSequence = _sequence(FrameLabel=str(index[1]), DimensionIndexValues=index)


def _indices(frames: list[pydicom.Dataset]) -> list[list[int]]:
    positions = [tuple(map(float, group.PlanePositionSequence[0].ImagePositionPatient)) for group in frames]
    ranks = {position: rank for rank, position in enumerate(sorted(set(positions)), start=1)}
    counts = dict.fromkeys(ranks, 0)
    indices = []
    for position in positions:
        counts[position] += 1
        indices.append([ranks[position], counts[position]])
    return indices
