"""The VOI LUT functions of DICOM (PS3.3 C.11.2.1), with the arithmetic of the page's window.js.

The page windows each of the 65,536 possible stored values once into a lookup table. Both sides use 64-bit floating
point, so that they agree in every pixel.
"""

import dataclasses

import numpy as np

LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
FUNCTIONS = (LINEAR, LINEAR_EXACT, SIGMOID)


@dataclasses.dataclass(frozen=True)
class Window:
    """A VOI window, in units after Rescale Slope (0028,1053) and Rescale Intercept (0028,1052).

    Attributes:
        center: Window Center (0028,1050).
        width: Window Width (0028,1051), at least 1 for `LINEAR`, above 0 otherwise.
        function: VOI LUT Function (0028,1056).
    """

    center: float
    width: float
    function: str = LINEAR


@dataclasses.dataclass(frozen=True)
class Preset:
    """A window that readers can choose; the VOI LUT function is that of the initial window.

    Attributes:
        name: Label on the page, the same for all arms of a case.
        center: As `Window.center`.
        width: As `Window.width`.
    """

    name: str
    center: float
    width: float


# Usual windows of CT in Hounsfield units: https://radiopaedia.org/articles/windowing-ct.
CT_PRESETS = (Preset("lung", -600.0, 1500.0), Preset("soft tissue", 50.0, 400.0), Preset("bone", 400.0, 1800.0))


def apply(values: np.ndarray, window: Window, y_max: float = 255.0) -> np.ndarray:
    """Applies a VOI LUT function.

    Args:
        values: Values after rescale, any shape.
        window: Window to apply.
        y_max: Output of the highest values.

    Returns:
        float64 array in [0, `y_max`], same shape, not rounded.
    """
    x = np.asarray(values, np.float64)
    if window.function == SIGMOID:
        # Above 709 the exponential overflows; from 700 on the result is 0 to double precision.
        exponent = np.minimum(-4 * (x - window.center) / window.width, 700.0)
        return y_max / (1 + np.exp(exponent))
    center, width = window.center, window.width
    if window.function == LINEAR:
        center, width = center - 0.5, width - 1
    low, high = center - width / 2, center + width / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ramp = ((x - center) / width + 0.5) * y_max
    return np.where(x <= low, 0.0, np.where(x > high, y_max, ramp))


def to_screen(
    values: np.ndarray, window: Window, inverted: bool = False, padding: np.ndarray | None = None
) -> np.ndarray:
    """Returns the uint8 display values, same shape.

    Args:
        values: Values after rescale, any shape.
        window: Window to apply.
        inverted: Whether the lowest values are displayed bright: MONOCHROME1.
        padding: Boolean mask of Pixel Padding, which is displayed black for either polarity.
    """
    screen = np.floor(apply(values, window) + 0.5)
    screen = 255 - screen if inverted else screen
    if padding is not None:
        screen = np.where(padding, 0, screen)
    return screen.astype(np.uint8)
