"""A degradation without its noise: forward, about any image as a linear operator with its exact adjoint, and back."""

import dataclasses
import functools

import numpy as np

from tfmisr import degradations
from tfmisr.degradations import Degradation
from tfmisr.edge import resize
from tfmisr.edge.errors import InputError

_AT_ONCE = 256  # columns of a matrix
_DRAWS = 8  # of a degradation's noise
_GRAY, _NEAR = np.float32(0.5), np.float32(0.01)  # where steps are probed, and how far about it


def without_noise(degradation: Degradation) -> Degradation:
    """Returns what a degradation does on average, not rounded: as an endless dose and endless looks would.

    Additive noise and roundings are left out. What has no known operator, the random history of `real_world`, counts
    as bicubic reduction.
    """
    steps = [_quiet(step) for step in degradation.steps]
    return Degradation(tuple(step for step in steps if step is not None), quantize=False)


def _quiet(step):
    if isinstance(step, degradations.Pillow8Bicubic):
        return degradations.Bicubic(step.scale)
    if not step.random:
        return step
    from tfmisr.degradations import real_world, ultrasound, xray

    if isinstance(step, xray.Detection):
        return dataclasses.replace(step, photons=1e14, electronic=0.0)
    if isinstance(step, ultrasound.Speckle):
        return ultrasound.Compression(step.dynamic_range)
    return degradations.Bicubic(step.scale) if isinstance(step, real_world.SecondOrder) else None


def reduce(quiet: Degradation, image: np.ndarray) -> np.ndarray:
    """Returns the low-resolution image before clipping and rounding.

    Args:
        quiet: What `without_noise` returned.
        image: float32 array (height, width, channels), any range.
    """
    rng = np.random.default_rng(0)
    for step in quiet.steps:
        image = step(image, rng)
    return image


def noise_of(degradation: Degradation) -> float:
    """Returns the standard deviation of a degradation's noise on middle gray, a fraction of the range, rounding apart.

    Where the noise's own strength is drawn, as in `real_world`, that of a typical draw.
    """
    if degradation.fixed:
        return 0.0
    gray, rng = np.full((96, 96, 1), _GRAY), np.random.default_rng(0)
    exact = dataclasses.replace(degradation, quantize=False)
    return float(np.sqrt(np.mean([np.var(exact(gray, 1, rng)) for _ in range(_DRAWS)])))


def back_project(sr: np.ndarray, lr: np.ndarray, degradation: Degradation, iterations: int) -> np.ndarray:
    """Returns `sr` changed until its reduction is `lr`: the error is interpolated and added, again and again.

    It stops as soon as the error is no larger than the noise in `lr` (Morozov's discrepancy principle): what is left
    then cannot be told from noise, and to add it would enlarge the noise. So a noisy image that is smooth beside its
    noise is not changed at all. Both directions keep a constant at the image's edge, so the edge converges as the
    rest does.

    Args:
        sr: float32 array (scale * height, scale * width, channels).
        lr: float32 array (height, width, channels).
        degradation: How `lr` was made.
        iterations: Number of corrections at most; without noise all of them are made.

    Reference:
        Morozov, On the Solution of Functional Equations by the Method of Regularization, Soviet Mathematics Doklady
        1966
    """
    quiet, noise = without_noise(degradation), noise_of(degradation)
    for _ in range(iterations):
        error = lr - reduce(quiet, sr)
        if np.sqrt(np.mean(np.square(error))) <= noise:
            break
        sr = sr + resize.resize(error, sr.shape[:2])
    return sr


@dataclasses.dataclass(frozen=True)
class Separable:
    """A linear step that acts on rows and columns apart: `vertical @ x @ horizontal.T` for each channel.

    Args:
        vertical: Sparse matrix (height of the result, height).
        horizontal: Sparse matrix (width of the result, width).
    """

    vertical: object
    horizontal: object

    def forward(self, image: np.ndarray) -> np.ndarray:
        """Returns A x for (height, width, channels)."""
        return _both(self.vertical, self.horizontal, image)

    def adjoint(self, image: np.ndarray) -> np.ndarray:
        """Returns A' y for (height of the result, width of the result, channels)."""
        return _both(self.vertical.T, self.horizontal.T, image)


def _both(vertical, horizontal, image):
    return np.stack([(horizontal @ (vertical @ plane).T).T for plane in np.moveaxis(image, -1, 0)], axis=-1)


@dataclasses.dataclass(frozen=True)
class Pointwise:
    """A step that treats every pixel alone, about one image.

    Args:
        slope: Its derivative at each pixel.
    """

    slope: np.ndarray

    def forward(self, image: np.ndarray) -> np.ndarray:
        """Returns A x."""
        return self.slope * image

    adjoint = forward


@dataclasses.dataclass(frozen=True)
class Chain:
    """Steps one after the other, as one linear operator."""

    parts: tuple

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


def linearised(quiet: Degradation, image: np.ndarray) -> tuple[Chain, np.ndarray]:
    """Returns the operator that a small change of `image` goes through, and what `image` itself becomes.

    Args:
        quiet: What `without_noise` returned. Each of its steps is linear with rows and columns apart, such as a
            blur, a reduction or a cut of the spectrum, or treats every pixel alone, such as a logarithm.
        image: float32 array (height, width, channels).

    Raises:
        InputError: A step is neither.
    """
    parts, rng = [], np.random.default_rng(0)
    for step in quiet.steps:
        if _is_pointwise(step):
            parts.append(Pointwise(_slope(step, image)))
        else:
            parts.append(separable(step, *image.shape[:2]))
        image = step(image, rng)
    return Chain(tuple(parts)), image


def _slope(step, image):
    # A logarithm is steep where there is little.
    near = _NEAR * np.abs(image) + _NEAR**2
    rng = np.random.default_rng(0)
    return (step(image + near, rng) - step(image - near, rng)) / (2 * near)


@functools.lru_cache(maxsize=32)
def _is_pointwise(step) -> bool:
    image = np.full((24, 24, 1), _GRAY)
    other = image.copy()
    other[12, 12] += 10 * _NEAR
    found = [step(each, np.random.default_rng(0)) for each in (image, other)]
    changed = np.abs(found[1] - found[0]) > 1e-4
    return found[0].shape == image.shape and changed.sum() == changed[12, 12] == 1


@functools.lru_cache(maxsize=8)
def separable(step, height: int, width: int) -> Separable:
    """Returns a linear step as an operator on images of one size, found by applying it to lines.

    Raises:
        InputError: It is not linear about middle gray, or mixes rows and columns.
    """
    operator = Separable(_matrix(step, height, 0), _matrix(step, width, 1))
    rng = np.random.default_rng(0)
    change = _NEAR * rng.standard_normal((height, width, 1), np.float32)
    gray = np.full_like(change, _GRAY)
    expected = step(gray + change, rng) - step(gray, rng)
    # The highest frequency of an even k-space does not come quite apart.
    if np.abs(operator.forward(change) - expected).max() > 0.03 * np.abs(expected).max():
        raise InputError(
            "expected a degradation whose steps are linear with rows and columns apart, or treat every pixel alone. "
            f"Received: {step}"
        )
    return operator


def _matrix(step, length, axis):
    """Returns what the step does along one axis to images that are constant along the other."""
    from scipy import sparse

    def along(lines):
        # The other axis, of 24 pixels, can be reduced by any scale; one of its places tells all.
        image = np.broadcast_to(lines[:, None], (length, 24, lines.shape[1]))
        found = step(np.ascontiguousarray(image if axis == 0 else image.swapaxes(0, 1)), np.random.default_rng(0))
        return (found if axis == 0 else found.swapaxes(0, 1))[:, 0].astype(np.float64)

    gray = along(np.full((length, 1), _GRAY))
    columns = []
    for start in range(0, length, _AT_ONCE):
        ones = np.eye(length, dtype=np.float32)[:, start : start + _AT_ONCE]
        columns.append((along(_GRAY + _GRAY / 2 * ones) - gray) / float(_GRAY / 2))
    matrix = np.concatenate(columns, axis=1)
    # What float32 cannot tell from nothing would fill the matrix.
    return sparse.csr_array(np.where(np.abs(matrix) < 1e-6, 0.0, matrix))
