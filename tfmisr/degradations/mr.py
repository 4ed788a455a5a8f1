"""MR with fewer k-space samples: truncation, zero filling, Rician noise.

Reference:
    Gudbjartsson and Patz, The Rician Distribution of Noisy MRI Data, Magnetic Resonance in Medicine 1995,
    https://doi.org/10.1002/mrm.1910340618
"""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from tfmisr.degradations import crop_to_multiple
from tfmisr.edge.errors import InputError

_LEAST_SIDE = 64  # pixels of the noise field, so that the noise of a small patch has the full spectrum


@dataclasses.dataclass(frozen=True)
class KSpace:
    """Keeps the central part of k-space, the matrix of the low-resolution image.

    Pixel centers are aligned as in all resizing of this package (half-pixel centers). Edges ring, as on a scanner
    (Gibbs).

    Args:
        scale: Down-sampling factor along both axes.
        acquired: Fraction of the phase-encoding lines (rows of k-space) that are acquired; the outer ones are filled
            with zeros.
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


@dataclasses.dataclass(frozen=True, repr=False)
class RicianNoise:
    """Magnitude of a complex signal with Gaussian noise in real and imaginary part, white in the acquired lines.

    Without signal the mean is `std * sqrt(pi / 2)`, not 0.

    Args:
        std: Standard deviation of real and imaginary part, as a fraction of the range [0, 1].
        acquired: As of `KSpace`: lines that are filled with zeros hold no noise either.
    """

    std: float
    acquired: float = 1.0
    random: ClassVar[bool] = True

    def __repr__(self):
        return f"RicianNoise(std={self.std!r}{'' if self.acquired == 1 else f', acquired={self.acquired!r}'})"

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        real, imaginary = self.std * self._noise(image.shape, rng)
        return np.hypot(image + real, imaginary)

    def _noise(self, shape, rng):
        if self.acquired == 1:
            return rng.standard_normal((2, *shape), dtype=np.float32)
        from scipy import fft

        height = max(shape[0], _LEAST_SIDE)
        kept = 2 * np.abs(fft.fftfreq(height)) <= self.acquired
        lines = fft.fft(rng.standard_normal((2, height, *shape[1:]), dtype=np.float32), axis=1)
        noise = fft.ifft(lines * kept[:, None, None], axis=1).real / math.sqrt(kept.mean())
        return noise[:, : shape[0]].astype(np.float32)


def steps(scale: int, acquired: float = 1.0, noise_std: float = 0.01) -> tuple:
    """Returns truncation of k-space and Rician noise.

    Args:
        scale: Down-sampling factor.
        acquired: Fraction of the low-resolution phase-encoding lines that are acquired.
        noise_std: Standard deviation of the noise in real and imaginary part, as a fraction of the range.

    Raises:
        InputError: `acquired` is out of range.
    """
    if not 0 < acquired <= 1:
        raise InputError(f"mr needs acquired above 0 and at most 1. Received: {acquired:g}")
    return (KSpace(scale, acquired), *((RicianNoise(noise_std, acquired),) if noise_std else ()))
