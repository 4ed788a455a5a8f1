"""The VOI LUT functions of DICOM (PS3.3 C.11.2.1), as the page's viewer.js computes them.

The viewer windows every one of the 65,536 possible stored values once and looks pixels up, in 64-bit floating point on
both sides, so that the two agree in every pixel.
"""

import dataclasses

import numpy as np

LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
FUNCTIONS = (LINEAR, LINEAR_EXACT, SIGMOID)


@dataclasses.dataclass(frozen=True)
class Window:
    """A window in the units after Rescale Slope (0028,1053) and Intercept (0028,1052).

    Attributes:
        center: Window Center (0028,1050).
        width: Window Width (0028,1051), at least 1 for `LINEAR`, above 0 otherwise.
        function: VOI LUT Function (0028,1056).
    """

    center: float
    width: float
    function: str = LINEAR


def apply(values: np.ndarray, window: Window, y_max: float = 255.0) -> np.ndarray:
    """Returns float64 brightness in [0, `y_max`], not rounded.

    Args:
        values: After rescale slope and intercept.
        window: What is to be seen of them.
        y_max: Brightness of the highest values.
    """
    x = np.asarray(values, np.float64)
    if window.function == SIGMOID:
        # Beyond 700 the exponential overflows, and the result is 0 anyway.
        exponent = np.minimum(-4 * (x - window.center) / window.width, 700.0)
        return y_max / (1 + np.exp(exponent))
    center, width = window.center, window.width
    if window.function == LINEAR:
        center, width = center - 0.5, width - 1
    low, high = center - width / 2, center + width / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ramp = ((x - center) / width + 0.5) * y_max
    return np.where(x <= low, 0.0, np.where(x > high, y_max, ramp))


def to_screen(values: np.ndarray, window: Window, inverted: bool = False, padding: np.ndarray | None = None):
    """Returns the uint8 values of a canvas.

    Args:
        values: After rescale slope and intercept.
        window: What is to be seen of them.
        inverted: The lowest values are bright: MONOCHROME1.
        padding: Where there is no image: black, whatever the polarity.
    """
    screen = np.floor(apply(values, window) + 0.5)
    screen = 255 - screen if inverted else screen
    if padding is not None:
        screen = np.where(padding, 0, screen)
    return screen.astype(np.uint8)
