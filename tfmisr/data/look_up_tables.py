"""Random look-up tables as an augmentation: gray levels of another presentation, in both resolutions.

A radiograph reaches a network as the stored values of one of many chains: MONOCHROME1 or MONOCHROME2, linear or
logarithmic in the exposure, with or without a VOI LUT or a presentation LUT. The curves are inversion (PS3.3
C.7.6.3.1.2), gamma, and the SIGMOID and LINEAR functions of a VOI LUT (PS3.3 C.11.2.1.3).
"""

from collections.abc import Callable

import numpy as np

_GAMMA = 0.5, 2.0
_CENTER = 0.35, 0.65
_SIGMOID_WIDTH = 0.7, 1.5
_LINEAR_WIDTH = 0.7, 1.8
_INVERTED = 0.4


def transform(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an image whose gray levels passed through one random curve, and perhaps through inversion.

    Args:
        image: float32 (height, width, channels) in [0, 1].
        rng: Random generator; the same state gives the same pixels.

    Returns:
        float32 array of that shape in [0, 1].
    """
    curve = _CURVES[int(rng.integers(len(_CURVES)))](rng)
    image = np.clip(curve(image), 0, 1)
    return (1 - image if rng.random() < _INVERTED else image).astype(np.float32)


def _gamma(rng) -> Callable:
    exponent = np.float32(np.exp(rng.uniform(*np.log(_GAMMA))))
    return lambda image: image**exponent


def _sigmoid(rng) -> Callable:
    center, width = rng.uniform(*_CENTER), rng.uniform(*_SIGMOID_WIDTH)
    return lambda image: 1 / (1 + np.exp(-4 * (image - center) / width))


def _linear(rng) -> Callable:
    center, width = rng.uniform(*_CENTER), rng.uniform(*_LINEAR_WIDTH)
    return lambda image: (image - center) / width + 0.5


def _identity(rng) -> Callable:
    return lambda image: image


_CURVES = (_gamma, _sigmoid, _linear, _identity)
