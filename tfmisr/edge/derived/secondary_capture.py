"""Half-width map as a Multi-frame Grayscale Word Secondary Capture (PS3.3 A.8.4), for images without a plane (T-21).

A projection or an ultrasound image has no Frame of Reference, which a Parametric Map requires; none is made up.
"""

import decimal

import pydicom
from pydicom import Sequence, uid
from pydicom.tag import Tag
from pydicom.valuerep import DSfloat

from tfmisr.edge.derived import half_width_attributes as attributes
from tfmisr.edge.derived import texts, verbatim
from tfmisr.edge.derived.half_width_attributes import Map
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError

SOP_CLASS = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
# Rescale Slope is a Decimal String of 16 characters: smaller powers of two would be rounded.
SMALLEST_SLOPE = 2.0**-17

_GEOMETRY = (
    "PixelSpacing PixelSpacingCalibrationType PixelSpacingCalibrationDescription ImagerPixelSpacing "
    "NominalScannedPixelSpacing"
)
_CINE = "FrameIncrementPointer FrameTime FrameTimeVector CineRate RecommendedDisplayFrameRate FrameDelay"
_TIMES = tuple(Tag(keyword) for keyword in ("FrameTime", "FrameTimeVector"))


def check_unit(unit: float) -> None:
    """Checks that Rescale Slope can express half-widths in steps finer than the image's own.

    Args:
        unit: Difference of neighboring stored values of the image, in rescaled values.

    Raises:
        InputError: It cannot.
    """
    if unit < SMALLEST_SLOPE:
        raise InputError(
            f"{label('RescaleSlope')} of the image is {unit:g}, too small for half-widths in a Secondary Capture; "
            "write them as .tif or .npy instead"
        )


def assemble(made: Map) -> verbatim.Verbatim:
    """Returns the Data Set without File Meta Information."""
    target = attributes.copy_common(made.sr, f"{_GEOMETRY} {_CINE}")
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):
        target.pop(keyword, None)
    attributes.record(target, made)
    attributes.identify(target, made, SOP_CLASS)
    attributes.describe_pixels(target, made)
    target.ImageType, target.ConversionType = ["DERIVED", "SECONDARY", attributes.CODE[0]], "WSD"
    if "PatientOrientation" not in target:  # Type 2C
        target.PatientOrientation = None
    _describe_values(target, made)
    _point_to_frames(target, made.frames)
    texts.append(target, "DerivationDescription", "ST", made.text, 1024)
    target.SourceImageSequence = Sequence([attributes.reference(made)])
    return target


def _describe_values(target: pydicom.Dataset, made: Map) -> None:
    """Writes Rescale Slope, Real World Value Mapping and a window from 0 to the largest half-width."""
    target.RescaleSlope, target.RescaleIntercept, target.RescaleType = _exact(made.values.slope), "0", "US"
    target.RealWorldValueMappingSequence = attributes.real_world_values(made)
    center, width = attributes.window(made.values.largest, made.values.slope)
    target.WindowCenter, target.WindowWidth = (DSfloat(value, auto_format=True) for value in (center, width))
    target.WindowCenterWidthExplanation = "all half-widths"


def _exact(slope: float) -> str:
    """Returns a Decimal String that is exactly a power of two from 2**-17 to 2**53."""
    number = decimal.Decimal(slope)
    return min(f"{number:f}", f"{number.normalize():E}", key=len)


def _point_to_frames(target: pydicom.Dataset, count: int) -> None:
    """Writes Frame Increment Pointer (C.7.6.6): times as in the image, or numbers; none for one frame."""
    pointer = target.get("FrameIncrementPointer")
    if count > 1 and pointer in _TIMES and pointer in target:
        return
    for keyword in _CINE.split():
        target.pop(keyword, None)
    if count > 1:
        target.FrameIncrementPointer = Tag("PageNumberVector")
        target.PageNumberVector = list(range(1, count + 1))
