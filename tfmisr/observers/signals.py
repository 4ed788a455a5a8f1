"""Shapes of signals that observers look for: projections of lesions and test patterns, on the high-resolution grid.

A profile is a float64 image `(side, side)`, centered on the pixel `(side // 2, side // 2)`, with values of 0 to 1: the
contrast of a task is multiplied by it.
"""

import inspect
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tfmisr.edge.errors import InputError, check_name

_OVERSAMPLING = 4  # sub-pixels along each axis, so that small shapes have the right area
_BLUR = 0.6  # standard deviation, in pixels, of the blur by the detector


def _sample(side, function):
    """Returns the mean of `function(y, x)` over the area of each pixel, y and x relative to the center in pixels."""
    steps = (np.arange(side * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - 0.5 - side // 2
    values = function(steps[:, None], steps[None, :]) + np.zeros((len(steps), len(steps)))
    return values.reshape(side, _OVERSAMPLING, side, _OVERSAMPLING).mean((1, 3))


def _blurred(profile):
    return ndimage.gaussian_filter(profile, _BLUR, mode="nearest")


def nodule(side: int, size: float) -> np.ndarray:
    """Returns the projection of a sphere, `sqrt(1 - (r / R)^2)`, blurred. `size`: diameter in pixels."""
    return _blurred(_sample(side, lambda y, x: np.sqrt(np.maximum(1 - (y**2 + x**2) / (size / 2) ** 2, 0))))


def disk(side: int, size: float) -> np.ndarray:
    """Returns a disk, blurred. `size`: diameter in pixels."""
    return _blurred(_sample(side, lambda y, x: (y**2 + x**2 <= (size / 2) ** 2).astype(float)))


def line(side: int, size: float, length: float = 24.0, angle: float = 30.0) -> np.ndarray:
    """Returns a line as of a fracture or a catheter, blurred.

    Args:
        side: Side of the image.
        size: Width in pixels.
        length: Length in pixels.
        angle: Degrees against the rows.
    """
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))

    def inside(y, x):
        return ((np.abs(x * c + y * s) <= length / 2) & (np.abs(y * c - x * s) <= size / 2)).astype(float)

    return _blurred(_sample(side, inside))


def edge(side: int, size: float, length: float = 40.0) -> np.ndarray:
    """Returns the margin of a pneumothorax: a step along an arc with a bright pleural line, blurred.

    Args:
        side: Side of the image.
        size: Width of the line in pixels; the darker band behind it is half as strong and `length / 2` wide.
        length: Radius of the arc in pixels.

    Towards the border of the window it fades out, so that no seam is left where it ends.
    """

    def arc(y, x):
        beyond = np.hypot(y, x + length) - length
        return np.where(np.abs(beyond) <= size / 2, 1.0, 0.0) - 0.5 * (beyond > size / 2) * (beyond < length / 2)

    distance = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / (side / 6)
    fade = 0.5 - 0.5 * np.cos(np.pi * np.minimum(distance, 1))
    return _blurred(_sample(side, arc)) * fade[:, None] * fade


def dot(side: int, size: float) -> np.ndarray:
    """Returns a Gaussian dot, such as a microcalcification. `size`: standard deviation in pixels."""
    return _sample(side, lambda y, x: np.exp(-(y**2 + x**2) / (2 * size**2)))


def dot_cluster(side: int, size: float, spacing: float = 6.0) -> np.ndarray:
    """Returns five Gaussian dots, a cross. `size`: standard deviation, `spacing`: distance of the dots, in pixels."""
    places = [(0, 0), (spacing, 0), (-spacing, 0), (0, spacing), (0, -spacing)]
    return sum(
        _sample(side, lambda y, x, p=p: np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / (2 * size**2))) for p in places
    )


def two_dots(side: int, size: float, spacing: float = 4.0) -> np.ndarray:
    """Returns two Gaussian dots side by side; the other hypothesis of the Rayleigh task is `bar`.

    Args:
        side: Side of the image.
        size: Standard deviation in pixels.
        spacing: Distance of the dots in pixels.

    Reference:
        Hanson and Myers, Rayleigh task performance as a method to evaluate image reconstruction algorithms, 1991.
    """
    return sum(
        _sample(side, lambda y, x, c=c: np.exp(-(y**2 + (x - c) ** 2) / (2 * size**2)))
        for c in (-spacing / 2, spacing / 2)
    )


def bar(side: int, size: float, spacing: float = 4.0) -> np.ndarray:
    """Returns one bar with the sum and the length of `two_dots`."""
    half = spacing / 2
    profile = _sample(side, lambda y, x: np.exp(-(y**2 + np.maximum(np.abs(x) - half, 0) ** 2) / (2 * size**2)))
    return profile * (two_dots(side, size, spacing).sum() / profile.sum())


SIGNALS: dict[str, Callable[..., np.ndarray]] = {
    function.__name__: function for function in (nodule, disk, line, edge, dot, dot_cluster, two_dots, bar)
}


def create(name: str, side: int, size: float, **options: float) -> np.ndarray:
    """Returns a profile by name.

    Raises:
        InputError: There is no such signal, it has no such option, or it does not fit into half of the window.
    """
    check_name("signal", name, list(SIGNALS))
    known = [
        parameter for parameter in inspect.signature(SIGNALS[name]).parameters if parameter not in ("side", "size")
    ]
    for option in options:
        if option not in known:
            raise InputError(f"signal {name} has the options {', '.join(known) or 'none'}. Received: {option}")
    profile = SIGNALS[name](side, size, **options)
    outer = np.ones((side, side), bool)
    outer[side // 8 : side - side // 8, side // 8 : side - side // 8] = False
    if name != "edge" and np.abs(profile[outer]).max() > 0.05:
        raise InputError(f"signal {name} of size {size:g} pixels does not fit into a window of {side} pixels")
    return profile
