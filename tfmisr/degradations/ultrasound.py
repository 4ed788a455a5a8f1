"""B-mode ultrasound at a lower frequency: wider point spread, coarser sampling, more speckle.

The image is assumed to be logarithmically compressed. Rows are depth: the axial direction runs down the image.

Reference:
    Burckhardt, Speckle in Ultrasound B-Mode Scans, IEEE Transactions on Sonics and Ultrasonics 1978,
    https://doi.org/10.1109/T-SU.1978.30978
"""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from tfmisr.degradations import AreaMean, GaussianBlur
from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True)
class Amplitude:
    """Echo amplitude of a logarithmically compressed image: 1 for white.

    Args:
        dynamic_range: dB between black and white.
    """

    dynamic_range: float
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.power(np.float32(10), (image - 1) * np.float32(self.dynamic_range / 20))


@dataclasses.dataclass(frozen=True)
class Speckle:
    """Multiplies the amplitude by speckle and compresses it logarithmically again.

    Speckle is the magnitude of a sum of many echoes of random phase, smoothed by the point spread: one look is
    Rayleigh distributed, with a mean of 1.91 standard deviations.

    Args:
        axial: Standard deviation of the point spread down the image, in low-resolution pixels.
        lateral: Standard deviation of the point spread across the image, in low-resolution pixels.
        looks: Number of independent speckle patterns that are averaged (compounding).
        dynamic_range: As of `Amplitude`, in dB.
    """

    axial: float
    lateral: float
    looks: int
    dynamic_range: float
    random: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        amplitude = image * np.mean([self.look(image.shape, rng) for _ in range(self.looks)], axis=0)
        least = 10 ** (-self.dynamic_range / 20)
        decibels = 20 * np.log10(np.maximum(amplitude, least))
        return (1 + decibels / self.dynamic_range).astype(np.float32)

    def look(self, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
        """Returns one speckle pattern of mean 1, (height, width, 1), for images of this shape."""
        from scipy import fft

        transfer = [
            np.exp(-2 * (np.pi * sigma * fft.fftfreq(side)) ** 2)
            for sigma, side in zip((self.axial, self.lateral), shape[:2], strict=True)
        ]
        transfer = np.outer(*transfer)
        field = rng.standard_normal(shape[:2]) + 1j * rng.standard_normal(shape[:2])
        field = fft.ifft2(fft.fft2(field) * transfer) / math.sqrt(2 * np.mean(transfer**2))
        return np.abs(field)[..., None] * (2 / math.sqrt(math.pi))


def steps(
    scale: int,
    axial: float = 1.0,
    lateral: float = 2.0,
    looks: float = 16,
    dynamic_range: float = 60.0,
) -> tuple:
    """Returns amplitude, point spread, coarser sampling and speckle.

    The high-resolution image has speckle already; with many looks little is added.

    Args:
        scale: Down-sampling factor.
        axial: Standard deviation of the point spread down the image, in high-resolution pixels.
        lateral: Standard deviation of the point spread across the image, in high-resolution pixels.
        looks: Number of speckle patterns that are averaged, an integer; 0 adds no speckle.
        dynamic_range: dB between black and white.

    Raises:
        InputError: `dynamic_range` or `looks` is out of range.
    """
    return acquisition("ultrasound", scale, axial, lateral, looks, dynamic_range)


def acquisition(name: str, scale: int, axial: float, lateral: float, looks: float, dynamic_range: float) -> tuple:
    """Returns the steps of a coherent imaging system with logarithmic compression; arguments as of `steps`.

    Raises:
        InputError: `dynamic_range` or `looks` is out of range; `name` is that of the degradation in the message.
    """
    if not dynamic_range > 0 or looks != int(looks):
        raise InputError(
            f"{name} needs dynamic_range above 0 and a whole number of looks. "
            f"Received: dynamic_range={dynamic_range:g}, looks={looks:g}"
        )
    # Without looks there is no speckle to multiply by: compression only.
    compress = (
        Speckle(axial / scale, lateral / scale, int(looks), dynamic_range) if looks else Compression(dynamic_range)
    )
    return Amplitude(dynamic_range), GaussianBlur(axial, lateral), AreaMean(scale), compress


@dataclasses.dataclass(frozen=True)
class Compression:
    """Compresses the amplitude logarithmically: the inverse of `Amplitude`."""

    dynamic_range: float
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        least = 10 ** (-self.dynamic_range / 20)
        return 1 + np.float32(20 / self.dynamic_range) * np.log10(np.maximum(image, np.float32(least)))
