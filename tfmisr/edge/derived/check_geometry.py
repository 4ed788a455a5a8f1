"""Checks the geometry of a derived image (D-20 to D-29); D-26 follows from D-21 and D-24.

Each rule returns a sentence on what is wrong, or `None`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pydicom

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.checking import Pair, first_item, frame_groups, is_empty, same

Numbers = Any  # value of a numeric Data Element: one number, several, or none

_ACQUISITION = (
    "DetectorElementSpacing DetectorElementPhysicalSize DetectorBinning FieldOfViewDimensions FieldOfViewOrigin "
    "ReconstructionDiameter AcquisitionMatrix SpatialResolution SliceThickness SpacingBetweenSlices SliceLocation "
    "EstimatedRadiographicMagnificationFactor ExposureTime XRayTubeCurrent Exposure CTDIvol DiffusionBValue"
).split()
_CALIBRATION = ("PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription")
_REMOVED = ("IconImageSequence", "VerticesOfTheRegion", "ShutterOverlayGroup")


def size(pair: Pair) -> str | None:
    """D-20: Rows and Columns are those of the source times the scale."""
    source, result = pair.source, pair.result
    if result.Rows != pair.scale * source.Rows or result.Columns != pair.scale * source.Columns or pair.scale < 2:
        return "Rows and Columns must be those of the source times the same whole number"
    frames = int(result.get("NumberOfFrames") or 1)
    if frames != int(source.get("NumberOfFrames") or 1):
        return "Number of Frames must be the source's"
    length = result.Rows * result.Columns * result.SamplesPerPixel * result.BitsAllocated // 8 * frames
    if not result.file_meta.TransferSyntaxUID.is_encapsulated and len(result.PixelData) != length + length % 2:
        return "the length of Pixel Data does not follow from Rows and Columns"
    return None


def _spacing(old: Numbers, new: Numbers, steps: tuple[float, float]) -> bool:
    if is_empty(old) or is_empty(new):
        return is_empty(old) and is_empty(new)
    return np.allclose(np.array(old, float) * steps, np.array(new, float), rtol=1e-6, atol=1e-9)


def pixel_spacing(pair: Pair) -> str | None:
    """D-21: Pixel Spacing is that of the source divided by the scale."""
    if "PixelSpacing" in pair.source and not _spacing(*_values(pair, "PixelSpacing"), pair.steps()):
        return "Pixel Spacing must be the source's divided by the scale"
    return None


def _values(pair: Pair, keyword: str) -> tuple[Any, Any]:
    return pair.source.get(keyword), pair.result.get(keyword)


def other_spacings(pair: Pair) -> str | None:
    """D-22: the other spacings are divided too, and Pixel Spacing is not added."""
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if not _spacing(*_values(pair, keyword), pair.steps()):
            return f"{keyword} must be the source's divided by the scale"
    if "PixelSpacing" in pair.result and "PixelSpacing" not in pair.source:
        return "Pixel Spacing must not be added"
    if changed := pair.changed(_CALIBRATION):
        return f"{', '.join(changed)} must be the source's"
    return None


def acquisition(pair: Pair) -> str | None:
    """D-23: Attributes that describe the acquisition are unchanged."""
    if changed := pair.changed(_ACQUISITION):
        return f"{', '.join(changed)} must be the source's"
    return None


def _position(old: Numbers, new: Numbers, cosines: Numbers, spacing: Numbers, shifts: tuple[float, float]) -> bool:
    """Whether the position of the first pixel of the result follows from the grid of the source."""
    if is_empty(old) or is_empty(new):
        return is_empty(old) and is_empty(new)
    cosines, spacing = np.array(cosines, float), np.array(spacing, float)
    expected = np.array(old, float) + shifts[1] * spacing[1] * cosines[:3] + shifts[0] * spacing[0] * cosines[3:]
    return np.abs(expected - np.array(new, float)).max() < 1e-3


def position(pair: Pair) -> str | None:
    """D-24: Image Position (Patient) is the center of the first new pixel."""
    if pair.changed(["ImageOrientationPatient"]):
        return "Image Orientation (Patient) must be the source's"
    geometry = pair.source.get("ImageOrientationPatient"), pair.source.get("PixelSpacing")
    if not _position(*_values(pair, "ImagePositionPatient"), *geometry, pair.shifts()):
        return "Image Position (Patient) must be the center of the first new pixel"
    return None


def decimal_strings(pair: Pair) -> str | None:
    """D-27: Decimal Strings have at most 16 characters."""
    if set(_long(pair.result)) - set(_long(pair.source)):
        return "a Decimal String has more than 16 characters"
    return None


def _long(ds: pydicom.Dataset) -> Iterator[str]:
    for element in ds.iterall():
        if element.VR == "DS" and element.value not in (None, ""):
            values = element.value if element.VM > 1 else [element.value]
            texts = (getattr(value, "original_string", None) or str(value) for value in values)
            yield from (text for text in texts if len(text.strip()) > 16)


def frames(pair: Pair) -> str | None:
    """D-28: the functional groups of each frame follow D-21 and D-24."""
    if not pair.enhanced:
        return None
    old, new = frame_groups(pair.source), frame_groups(pair.result)
    if len(old) != len(new):
        return "each frame must have its functional groups"
    for before, after in zip(old, new, strict=True):
        if reason := _frame(before, after, pair):
            return reason
    return None


def _frame(before: pydicom.Dataset, after: pydicom.Dataset, pair: Pair) -> str | None:
    def both(sequence: str, keyword: str) -> tuple[Any, Any]:
        return first_item(before.get(sequence)).get(keyword), first_item(after.get(sequence)).get(keyword)

    spacing, cosines = (
        both("PixelMeasuresSequence", "PixelSpacing"),
        both("PlaneOrientationSequence", "ImageOrientationPatient"),
    )
    if not _spacing(*spacing, pair.steps()):
        return "Pixel Spacing of each frame must be the source's divided by the scale"
    if not same(*cosines) or not same(*both("FrameContentSequence", "DimensionIndexValues")):
        return "orientation and indices of each frame must be the source's"
    if not _position(*both("PlanePositionSequence", "ImagePositionPatient"), cosines[0], spacing[0], pair.shifts()):
        return "Image Position (Patient) of each frame must be the center of its first new pixel"
    return None if after.get("DerivationImageSequence") else "each frame must have a Derivation Image Sequence"


def pixel_coordinates(pair: Pair) -> str | None:
    """D-29: Attributes in pixel coordinates follow the scale or are removed."""
    if remaining := [keyword for keyword in _REMOVED if keyword in pair.result]:
        return f"{', '.join(remaining)} must be removed"
    if pair.changed(["PixelAspectRatio"]):
        return "Pixel Aspect Ratio must be the source's"
    if pair.convention != "half_pixel":
        return None
    regions = [ds.get("SequenceOfUltrasoundRegions") or () for ds in (pair.source, pair.result)]
    if len(regions[0]) != len(regions[1]):
        return "ultrasound regions must be the source's"
    data_sets = [
        (pair.source, pair.result, _edges(pair.scale)),
        *((*r, _region(pair.scale)) for r in zip(*regions, strict=True)),
    ]
    for old, new, functions in data_sets:
        for keyword, function in functions.items():
            if not _follows(old.get(keyword), new.get(keyword), function):
                return f"{keyword} must follow the scale"
    return None


def _follows(old: Numbers, new: Numbers, function: Callable[[float], float]) -> bool:
    if is_empty(old) or is_empty(new):
        return is_empty(old) and is_empty(new)
    values = [[v] if not hasattr(v, "__len__") else list(v) for v in (old, new)]
    expected = [function(float(value)) for value in values[0]]
    return len(expected) == len(values[1]) and np.allclose(
        expected, np.array(values[1], float), rtol=1e-9, atol=0.5000001
    )


def _edges(scale: int) -> dict[str, Callable[[float], float]]:
    """Returns how coordinates counted from 1 change: first and last new pixel of an old one, and its center."""
    first_pixel, last_pixel = (lambda v: scale * (v - 1) + 1), (lambda v: scale * v)
    center = lambda v: scale * (v - 0.5) + 0.5  # noqa: E731
    functions: dict[str, Callable[[float], float]] = {}
    for name in ("Shutter", "Collimator"):
        functions |= {f"{name}LeftVerticalEdge": first_pixel, f"{name}RightVerticalEdge": last_pixel}
        functions |= {f"{name}UpperHorizontalEdge": first_pixel, f"{name}LowerHorizontalEdge": last_pixel}
        functions |= {f"CenterOfCircular{name}": center, f"VerticesOfThePolygonal{name}": center}
        functions[f"RadiusOfCircular{name}"] = lambda v: scale * v
    return functions


def _region(scale: int) -> dict[str, Callable[[float], float]]:
    """Returns how the coordinates of an ultrasound region, counted from 0, change."""
    functions: dict[str, Callable[[float], float]] = {}
    for letter in "XY":
        functions[f"RegionLocationMin{letter}0"] = lambda v: scale * v
        functions[f"RegionLocationMax{letter}1"] = lambda v: scale * v + scale - 1
        functions[f"ReferencePixel{letter}0"] = lambda v: scale * v + (scale - 1) / 2
    return functions


def physical_deltas(pair: Pair) -> str | None:
    """D-29: physical deltas of ultrasound regions are divided by the scale."""
    regions = [ds.get("SequenceOfUltrasoundRegions") or () for ds in (pair.source, pair.result)]
    for old, new in zip(*regions, strict=False):
        for letter, step in zip("YX", pair.steps(), strict=True):
            before, after = (region.get(f"PhysicalDelta{letter}") for region in (old, new))
            if before is not None and (after is None or not np.isclose(before * step, after, rtol=1e-9)):
                return f"PhysicalDelta{letter} must be the source's divided by the scale"
    return None


def mask_shifts(pair: Pair) -> str | None:
    """D-29: Mask Sub-pixel Shift follows the scale."""
    masks = [ds.get("MaskSubtractionSequence") or () for ds in (pair.source, pair.result)]
    for old, new in zip(*masks, strict=False):
        before, after = (mask.get("MaskSubPixelShift") for mask in (old, new))
        if is_empty(before) or is_empty(after):
            wrong = not (is_empty(before) and is_empty(after))
        else:
            wrong = not np.allclose(np.array(before, float) / pair.steps(), np.array(after, float), rtol=1e-6)
        if wrong:
            return "MaskSubPixelShift must follow the scale"
    return None


def coordinates_and_deltas(pair: Pair) -> str | None:
    """D-29: pixel coordinates, physical deltas and mask shifts."""
    return pixel_coordinates(pair) or physical_deltas(pair) or mask_shifts(pair)


SIZE = {"D-20": size}
RULES = {
    "D-21": pixel_spacing,
    "D-22": other_spacings,
    "D-23": acquisition,
    "D-24": position,
    "D-27": decimal_strings,
    "D-28": frames,
    "D-29": coordinates_and_deltas,
}


__getattr__ = renamed(__name__, facts="acquisition")
