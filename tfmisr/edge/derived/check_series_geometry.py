"""Checks where the slices of a derived series lie, and which acquired slices they name (V-11c to V-11h).

Each rule returns a sentence on what is wrong, or `None`.
"""

from typing import Any

import numpy as np

from tfmisr.edge.derived.check_series import Image, SeriesPair
from tfmisr.edge.derived.checking import codes, is_empty

_MM = 1e-3
_OVERLAP = 1e-2  # mm of overlap that may or may not count, as positions are rounded


def parallel(pair: SeriesPair) -> str | None:
    """V-11c: the new slices are parallel, and have the rows, columns and spacings of the source."""
    first = pair.source[0]
    for image in pair.result:
        if np.abs(image.cosines - first.cosines).max() > 1e-4:
            return "Image Orientation (Patient) must be the source's in all slices"
        if not np.allclose(_pixel_spacing(image), _pixel_spacing(first), rtol=1e-5):
            return "Pixel Spacing must be the source's in all slices"
        if not pair.tilted and image.pixels.shape != first.pixels.shape:
            return "Rows and Columns must be the source's in all slices"
    return None


def _pixel_spacing(image: Image) -> np.ndarray:
    return np.array(image.get("PixelMeasuresSequence", "PixelSpacing"), float)


def equal_spacing(pair: SeriesPair) -> str | None:
    """V-11d: the new slices lie at equal distances behind each other, as Spacing Between Slices states."""
    positions = np.array([image.position for image in pair.result])
    steps = np.diff(positions @ pair.normal)
    if np.ptp(steps) > 2 * _MM + 1e-4 * pair.spacing or steps.min() <= 0:
        return "the distances between the new slices must be equal"
    line = positions[0] + np.linspace(0, 1, len(positions))[:, None] * (positions[-1] - positions[0])
    if np.abs(positions - line).max() > 2 * _MM + 1e-4 * pair.spacing:
        return "the new slices must lie on one line"
    if not pair.tilted and _shift(pair) > _MM + 0.01 * _pixel_spacing(pair.source[0]).min():
        return "the new slices must lie above the source's, not beside them"
    for image in pair.result:
        stated = image.get("PixelMeasuresSequence", "SpacingBetweenSlices")
        if is_empty(stated) or abs(float(stated) - pair.spacing) > _MM:
            return "Spacing Between Slices must be the distance between the new slices"
    return None


def _shift(pair: SeriesPair) -> float:
    """Returns how far the new slices lie beside the line through the acquired ones, mm."""
    first, last = pair.source[0].position, pair.source[-1].position
    axis = (last - first) / np.linalg.norm(last - first)
    offsets = np.array([image.position for image in pair.result]) - first
    return float(np.linalg.norm(offsets - np.outer(offsets @ axis, axis), axis=1).max())


def coverage(pair: SeriesPair) -> str | None:
    """V-11e: the outer faces are those of the source, within half a new slice."""
    faces: list[tuple[float, float]] = []
    for images, spacing in ((pair.source, pair.source_spacing), (pair.result, pair.spacing)):
        places = pair.places(images)
        faces.append((places[0] - spacing / 2, places[-1] + spacing / 2))
    moved = np.abs(np.subtract(faces[0], faces[1])).max()
    if moved > pair.spacing / 2 + _MM:
        return f"the new slices must cover the source within half a slice; a face moved by {moved:.3g} mm"
    return None


def thickness(pair: SeriesPair) -> str | None:
    """V-11f: Slice Thickness is the new spacing where a network estimated the slices, else the source's."""
    stated = [image.get("PixelMeasuresSequence", "SliceThickness") for image in pair.result]
    before = pair.source[0].get("PixelMeasuresSequence", "SliceThickness")
    if pair.interpolated:
        given = before if not is_empty(before) else pair.profile[1] if pair.enhanced and pair.profile else None
    else:
        given = pair.spacing
    expected = None if given is None else float(given)
    for value in stated:
        if is_empty(value) != (expected is None):
            return "Slice Thickness must be stated where it is known"
        if expected is not None and abs(float(value) - expected) > _MM:
            return "Slice Thickness must be the distance between estimated slices, or the source's after interpolation"
    return None


def numbering(pair: SeriesPair) -> str | None:
    """V-11g: Instance Number counts the new slices in the order of the source's; Slice Location has its sense."""
    numbers: list[Any] = [image.frame if pair.enhanced else image.ds.get("InstanceNumber") for image in pair.result]
    if any(is_empty(number) for number in numbers) or sorted(map(int, numbers)) != list(range(1, len(numbers) + 1)):
        return "Instance Numbers must count the new slices from 1"
    if (backwards := _descends(pair)) is not None and numbers != sorted(numbers, reverse=backwards):
        return "Instance Numbers must have the order of the source's"
    if (line := _locations(pair)) is None or pair.enhanced:
        return None
    found = [image.ds.get("SliceLocation") for image in pair.result]
    expected = np.polyval(line, pair.places(pair.result))
    if any(is_empty(value) for value in found) or np.abs(np.array(found, float) - expected).max() > 0.01:
        return "Slice Location must follow the source's"
    return None


def _descends(pair: SeriesPair) -> bool | None:
    """Whether the source is numbered against the normal, `None` where it is not numbered."""
    values = [image.frame or image.ds.get("InstanceNumber") for image in pair.source]
    if any(is_empty(value) for value in values):
        return None
    trend = np.dot(np.arange(len(values)) - (len(values) - 1) / 2, np.array(values, float))
    return None if trend == 0 else bool(trend < 0)


def _locations(pair: SeriesPair) -> np.ndarray | None:
    """Returns the line of the source's Slice Locations over the places, `None` where there is none."""
    values = [image.ds.get("SliceLocation") for image in pair.source]
    if pair.source[0].frame or any(is_empty(value) for value in values):
        return None
    places, stated = pair.places(pair.source), np.array(values, float)
    line = np.polyfit(places, stated, 1)
    return line if np.abs(np.polyval(line, places) - stated).max() < 0.01 * pair.source_spacing else None


def references(pair: SeriesPair) -> str | None:
    """V-11h: Source Image Sequence names the acquired slices that fall within the profile, and no other."""
    if pair.profile is None:
        return "the derivation must state the slice profile"
    known = {image.identity: index for index, image in enumerate(pair.source)}
    places, evidence = pair.places(pair.source), _evidence(pair)
    for place, holder in zip(pair.places(pair.result), pair.descriptions, strict=True):
        named = []
        for item in holder.get("SourceImageSequence") or ():
            key = str(item.get("ReferencedSOPInstanceUID")), item.get("ReferencedFrameNumber")
            if key not in known or item.get("ReferencedSOPClassUID") != pair.source[0].ds.SOPClassUID:
                return "Source Image Sequence must name acquired slices"
            if "121322" not in codes(item, "PurposeOfReferenceCodeSequence"):
                return "the purpose of reference must be (121322, DCM, Source image for image processing operation)"
            if item.get("SpatialLocationsPreserved") != "NO":
                return "Spatial Locations Preserved must be NO"
            named.append(known[key])
        missing = pair.enhanced and {pair.source[index].identity[0] for index in named} - evidence
        if missing:
            return "Source Image Evidence Sequence must list all source images"
        if reason := _wrong(named, places - place, (pair.profile[1] + pair.spacing) / 2):
            return reason
    return None


def _evidence(pair: SeriesPair) -> set[str]:
    """Returns the instances in Source Image Evidence Sequence of an Enhanced object."""
    studies = pair.result[0].ds.get("SourceImageEvidenceSequence") or ()
    series = [item for study in studies for item in study.get("ReferencedSeriesSequence") or ()]
    instances = [item for one in series for item in one.get("ReferencedSOPSequence") or ()]
    return {str(item.get("ReferencedSOPInstanceUID")) for item in instances}


def _wrong(named: list[int], distances: np.ndarray, limit: float) -> str | None:
    if len(set(named)) < len(named) or not named:
        return "Source Image Sequence must name each of its slices once"
    must = set(np.flatnonzero(np.abs(distances) < limit - _OVERLAP))
    may = set(np.flatnonzero(np.abs(distances) < limit + _OVERLAP))
    if not must:  # in a gap: the slice on each side
        below, above = np.flatnonzero(distances <= 0)[-1:], np.flatnonzero(distances >= 0)[:1]
        must, may = set() if may else {*below, *above}, {*may, *below, *above}
    if not must <= set(named) <= may:
        return "Source Image Sequence must name the acquired slices within the profile of the new one, and no other"
    return None


RULES = {
    "V-11c": parallel,
    "V-11d": equal_spacing,
    "V-11e": coverage,
    "V-11f": thickness,
    "V-11g": numbering,
    "V-11h": references,
}
