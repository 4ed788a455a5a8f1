"""The card's field `consistency`: the degradation of a run as an operator that the edge runtime can apply.

Kernels are found by applying the steps to unit vectors, and are accepted only if they reproduce the degradation.
"""

import math

import numpy as np

from tfmisr.classical import operators
from tfmisr.degradations import Bicubic, Degradation, ultrasound, xray
from tfmisr.edge import banded
from tfmisr.edge import consistency as edge
from tfmisr.edge.errors import InputError

# Chosen on the 57 validation patients of ChestX-ray14 (benchmarks/consistency.py --recipes): a smaller dead zone gains
# little and costs single images up to 0.04 dB in the center, a larger one reproduces less of the input; at the scale 4
# the third iteration brings the worst image of perceptual-x4 above 97 %.
DEAD_ZONE = 0.25
_ITERATIONS = {2: 2}
_MOST_ITERATIONS = 3
_PROBE = 48  # low-resolution pixels of the images that are probed
_TOLERANCE = 5e-4  # of the range: an eighth of a level at 8 bits
_NEGLIGIBLE = 3e-4  # sum of the weights beyond both ends of a kernel


def describe(degradation: Degradation, scale: int) -> tuple[dict | None, str]:
    """Returns the card's field, and why there is none (empty where there is one).

    Args:
        degradation: That of the run.
        scale: Down-sampling factor.
    """
    if any(getattr(step, "blind", False) for step in degradation.steps):
        return None, "the degradation is drawn at random for each image"
    if any(getattr(step, "lossy", False) for step in degradation.steps):
        return None, "the input was compressed with losses, which a result that agrees with it would have again"
    noiseless = operators.without_noise(degradation)
    try:
        operator = "bicubic" if noiseless.steps == (Bicubic(scale),) else _kernels(noiseless, scale)
        iterations, noise = _ITERATIONS.get(scale, _MOST_ITERATIONS), operators.noise_level(degradation)
        return edge.describe(operator, scale, iterations, DEAD_ZONE, round(noise, 6)), ""
    except (ValueError, InputError):
        return None, f"the runtime has no operator for the degradation {degradation.describe()}"


def _kernels(noiseless, scale) -> dict:
    """Returns the description of a separable operator with one kernel for each axis.

    Raises:
        ValueError: No such operator reproduces the degradation.
    """
    linear = [step for step in noiseless.steps if not operators._is_pointwise(step)]
    side = _PROBE * scale
    found = {"vertical": _kernel(linear, side, scale, "vertical"), "exponent": _exponent(noiseless)}
    found |= {"horizontal": _kernel(linear, side, scale, "horizontal")}
    image = np.random.default_rng(0).random((side, side, 1), np.float32)
    expected = operators.reduce(noiseless, image)[..., 0]
    for border in banded.BORDERS:
        described = {**found, "border": border}
        if np.abs(edge.Operator.of(described, scale).reduce(image[..., 0]) - expected).max() < _TOLERANCE:
            return described
    raise ValueError("`noiseless` must be a separable convolution with down-sampling")


def _kernel(steps, side, scale, axis) -> list[float]:
    """Returns the weights of the middle low-resolution pixel, without what is negligible at both ends."""
    matrix, length = None, side
    for step in steps:
        part = getattr(operators.separable(step, length, length), axis).toarray()
        matrix, length = part if matrix is None else part @ matrix, part.shape[0]
    if matrix is None or matrix.shape[0] != _PROBE:
        raise ValueError("`steps` must down-sample by the scale")
    row = matrix[_PROBE // 2]
    middle = _PROBE // 2 * scale + (scale - 1) / 2
    distances = np.abs(np.arange(len(row)) - middle)
    half = next(h for h in np.unique(distances) if np.abs(row[distances > h]).sum() < _NEGLIGIBLE)
    weights = row[distances <= half]
    return [round(float(weight), 9) for weight in weights / weights.sum()]


def _exponent(noiseless) -> float:
    for step in noiseless.steps:
        if isinstance(step, xray.Exposure):
            return -step.log_range
        if isinstance(step, ultrasound.Amplitude):
            return step.dynamic_range * math.log(10) / 20
    return 0.0
