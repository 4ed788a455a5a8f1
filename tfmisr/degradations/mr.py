"""A magnetic resonance image of fewer k-space samples: truncation, zero filling, Rician noise.

Reference:
    Gudbjartsson and Patz, The Rician Distribution of Noisy MRI Data, Magnetic Resonance in Medicine 1995,
    https://doi.org/10.1002/mrm.1910340618
"""

import dataclasses
from typing import ClassVar

import numpy as np

from tfmisr.degradations import crop_to_multiple
from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True)
class KSpace:
    """Keeps the central part of k-space, the matrix of the low-resolution image.

    Its pixels lie on half-pixel centres, as everywhere in this package. Edges ring, as they do on a scanner (Gibbs).

    Args:
        scale: The low-resolution matrix is so many times as small along both axes.
        acquired: Part of its phase-encoding lines (rows of k-space) that are measured; the outer ones are filled with
            zeros.
    """

    scale: int
    acquired: float = 1.0
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy import fft

        image = crop_to_multiple(image, self.scale)
        spectrum = fft.fft2(image, axes=(0, 1))
        for axis, side in enumerate(image.shape[:2]):
            frequency = np.rint(fft.fftfreq(side // self.scale, 1 / (side // self.scale))).astype(int)
            spectrum = np.take(spectrum, frequency, axis)
            shift = np.exp(1j * np.pi * frequency * (self.scale - 1) / side)
            kept = 2 * np.abs(frequency) <= self.acquired * len(frequency) if axis == 0 else True
            spectrum *= np.expand_dims(shift * kept, (1 - axis, 2))
        return np.abs(fft.ifft2(spectrum, axes=(0, 1)).real / self.scale**2).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class RicianNoise:
    """Magnitude of a complex signal with white Gaussian noise in both its parts.

    Where there is no signal, the mean is `std * sqrt(pi / 2)`, not 0.

    Args:
        std: Standard deviation of each part, as a fraction of the range [0, 1].
    """

    std: float
    random: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        real, imaginary = self.std * rng.standard_normal((2, *image.shape), dtype=np.float32)
        return np.hypot(image + real, imaginary)


def steps(scale: int, acquired: float = 1.0, noise_std: float = 0.01) -> tuple:
    """Returns truncation of k-space and Rician noise.

    Args:
        scale: The low-resolution matrix is so many times as small.
        acquired: Part of the low-resolution phase-encoding lines that are measured.
        noise_std: Standard deviation of the noise in each part of the signal, as a fraction of the range.
    """
    if not 0 < acquired <= 1:
        raise InputError(f"mr needs acquired above 0 and at most 1. Received: {acquired:g}")
    return (KSpace(scale, acquired), *((RicianNoise(noise_std),) if noise_std else ()))
