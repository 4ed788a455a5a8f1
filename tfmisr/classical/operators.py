"""Degradations without noise: forward model, linearization with its exact adjoint, iterative back-projection."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from tfmisr import degradations
from tfmisr.degradations import Degradation
from tfmisr.edge import resize
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

_COLUMNS_AT_ONCE = 256  # of a matrix, which bounds the memory
_DRAWS = 8  # realizations of a degradation's noise
_GRAY, _DELTA = np.float32(0.5), np.float32(0.01)  # where steps are probed, and the step of finite differences


def without_noise(degradation: Degradation) -> Degradation:
    """Returns the degradation in the limit of infinite dose (X-ray) and infinitely many looks (ultrasound).

    Additive noise, lossy compression and rounding are omitted. A random sequence without a known operator, such as
    `real_world`, is replaced by bicubic downsampling.
    """
    steps = [_without_noise(step) for step in degradation.steps]
    return Degradation(tuple(step for step in steps if step is not None), quantize=False)


def _without_noise(step):
    if isinstance(step, degradations.Pillow8Bicubic):
        return degradations.Bicubic(step.scale)
    if getattr(step, "lossy", False):
        return None
    if not step.random:
        return step
    from tfmisr.degradations import ultrasound, xray

    if isinstance(step, xray.Detection):
        return dataclasses.replace(step, photons=1e14, electronic=0.0)
    if isinstance(step, ultrasound.Speckle):
        return ultrasound.Compression(step.dynamic_range)
    return degradations.Bicubic(step.scale) if getattr(step, "blind", False) else None


def reduce(noiseless: Degradation, image: np.ndarray) -> np.ndarray:
    """Returns the low-resolution image before clipping and rounding.

    Args:
        noiseless: Result of `without_noise`.
        image: float32 array (height, width, channels), any range.
    """
    rng = np.random.default_rng(0)
    for step in noiseless.steps:
        image = step(image, rng)
    return image


def noise_level(degradation: Degradation) -> float:
    """Returns the standard deviation of the noise on mid-gray, as a fraction of the range, without rounding.

    Where the noise strength is random, as in `real_world`: the root mean square over a few draws.
    """
    if degradation.fixed:
        return 0.0
    gray, rng = np.full((96, 96, 1), _GRAY), np.random.default_rng(0)
    exact = dataclasses.replace(degradation, quantize=False)
    return float(np.sqrt(np.mean([np.var(exact(gray, 1, rng)) for _ in range(_DRAWS)])))


def back_project(sr: np.ndarray, lr: np.ndarray, degradation: Degradation, iterations: int) -> np.ndarray:
    """Iterative back-projection: adds the interpolated error of the downsampled `sr` until it matches `lr`.

    It stops as soon as the error is no larger than the noise in `lr` (Morozov's discrepancy principle): the remaining
    error cannot be distinguished from noise, and adding it would amplify the noise. A noisy image without structure
    above its noise is therefore not changed at all. Both directions preserve constants at the image's edge, so the
    edge converges like the interior.

    Args:
        sr: float32 array (scale * height, scale * width, channels).
        lr: float32 array (height, width, channels).
        degradation: Degradation model of `lr`.
        iterations: Maximum number of corrections, and the exact number without noise.

    Returns:
        float32 array (scale * height, scale * width, channels).

    Reference:
        Morozov, On the Solution of Functional Equations by the Method of Regularization, Soviet Mathematics Doklady
        1966
    """
    noiseless, noise = without_noise(degradation), noise_level(degradation)
    for _ in range(iterations):
        error = lr - reduce(noiseless, sr)
        if np.sqrt(np.mean(np.square(error))) <= noise:
            break
        sr = sr + resize.resize(error, sr.shape[:2])
    return sr


@dataclasses.dataclass(frozen=True)
class Separable:
    """A separable linear operator: `vertical @ x @ horizontal.T` for each channel.

    Args:
        vertical: Sparse matrix (output height, input height).
        horizontal: Sparse matrix (output width, input width).
    """

    vertical: object
    horizontal: object

    def forward(self, image: np.ndarray) -> np.ndarray:
        """Returns A x for (height, width, channels)."""
        return _apply(self.vertical, self.horizontal, image)

    def adjoint(self, image: np.ndarray) -> np.ndarray:
        """Returns A' y for (output height, output width, channels)."""
        return _apply(self.vertical.T, self.horizontal.T, image)


def _apply(vertical, horizontal, image):
    return np.stack([(horizontal @ (vertical @ plane).T).T for plane in np.moveaxis(image, -1, 0)], axis=-1)


@dataclasses.dataclass(frozen=True)
class Pointwise:
    """A pointwise operator, linearized at one image.

    Args:
        slope: Derivative at each pixel, array (height, width, channels).
    """

    slope: np.ndarray

    def forward(self, image: np.ndarray) -> np.ndarray:
        """Returns A x."""
        return self.slope * image

    adjoint = forward


@dataclasses.dataclass(frozen=True)
class Chain:
    """The composition of linear operators.

    Args:
        parts: Operators in the order of their application.
    """

    parts: tuple[Separable | Pointwise, ...]

    def forward(self, image: np.ndarray) -> np.ndarray:
        """Returns A x: (height, width, channels) in high resolution to the same in low resolution."""
        for part in self.parts:
            image = part.forward(image)
        return image

    def adjoint(self, image: np.ndarray) -> np.ndarray:
        """Returns A' y: (height, width, channels) in low resolution to the same in high resolution."""
        for part in reversed(self.parts):
            image = part.adjoint(image)
        return image


def linearize(noiseless: Degradation, image: np.ndarray) -> tuple[Chain, np.ndarray]:
    """Returns the linearization of a degradation at `image`, and the degraded image.

    Args:
        noiseless: Result of `without_noise`. Each of its steps is linear and separable, such as a blur, downsampling or
            truncation of k-space, or pointwise, such as a logarithm.
        image: float32 array (height, width, channels).

    Raises:
        InputError: A step is neither separable nor pointwise.
    """
    parts, rng = [], np.random.default_rng(0)
    for step in noiseless.steps:
        if _is_pointwise(step):
            parts.append(Pointwise(_slope(step, image)))
        else:
            parts.append(separable(step, *image.shape[:2]))
        image = step(image, rng)
    return Chain(tuple(parts)), image


def _slope(step, image):
    # A relative step: a logarithm is steep near zero.
    delta = _DELTA * np.abs(image) + _DELTA**2
    rng = np.random.default_rng(0)
    return (step(image + delta, rng) - step(image - delta, rng)) / (2 * delta)


@functools.lru_cache(maxsize=32)
def _is_pointwise(step) -> bool:
    image = np.full((24, 24, 1), _GRAY)
    other = image.copy()
    other[12, 12] += 10 * _DELTA
    outputs = [step(each, np.random.default_rng(0)) for each in (image, other)]
    changed = np.abs(outputs[1] - outputs[0]) > 1e-4
    return outputs[0].shape == image.shape and changed.sum() == changed[12, 12] == 1


@functools.lru_cache(maxsize=8)
def separable(step: Callable, height: int, width: int) -> Separable:
    """Returns a linear step as matrices for images of one size, found by applying it to unit vectors.

    Args:
        step: A step of a degradation.
        height: Of the image.
        width: Of the image.

    Raises:
        InputError: It is not linear at mid-gray, or not separable.
    """
    operator = Separable(_matrix(step, height, 0), _matrix(step, width, 1))
    rng = np.random.default_rng(0)
    change = _DELTA * rng.standard_normal((height, width, 1), np.float32)
    gray = np.full_like(change, _GRAY)
    expected = step(gray + change, rng) - step(gray, rng)
    # The highest frequency of a k-space of even size is not exactly separable.
    if np.abs(operator.forward(change) - expected).max() > 0.03 * np.abs(expected).max():
        raise InputError(f"expected a degradation whose steps are linear and separable, or pointwise. Received: {step}")
    return operator


def _matrix(step, length, axis):
    """Returns the matrix of a step along one axis, for images that are constant along the other."""
    from scipy import sparse

    def along(lines):
        # The other axis has 24 pixels, a multiple of every scale; all its pixels have the same result.
        image = np.broadcast_to(lines[:, None], (length, 24, lines.shape[1]))
        output = step(np.ascontiguousarray(image if axis == 0 else image.swapaxes(0, 1)), np.random.default_rng(0))
        return (output if axis == 0 else output.swapaxes(0, 1))[:, 0].astype(np.float64)

    gray = along(np.full((length, 1), _GRAY))
    columns = []
    for start in range(0, length, _COLUMNS_AT_ONCE):
        ones = np.eye(length, dtype=np.float32)[:, start : start + _COLUMNS_AT_ONCE]
        columns.append((along(_GRAY + _GRAY / 2 * ones) - gray) / float(_GRAY / 2))
    matrix = np.concatenate(columns, axis=1)
    # Rounding errors of float32 would make the matrix dense.
    return sparse.csr_array(np.where(np.abs(matrix) < 1e-6, 0.0, matrix))


__getattr__ = renamed(__name__, linearised="linearize", noise_of="noise_level")
