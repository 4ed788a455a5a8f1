"""A CT slice of larger pixels, a softer kernel and less dose: in-plane point spread, binning, correlated noise.

Reference:
    Kijewski and Judy, The noise power spectrum of CT images, Physics in Medicine and Biology 1987,
    https://doi.org/10.1088/0031-9155/32/5/003
"""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from tfmisr.degradations import AreaMean, GaussianBlur
from tfmisr.edge.errors import InputError

_LEAST_SIDE = 64  # of the field that noise is made in, so that a small patch has a whole spectrum


@dataclasses.dataclass(frozen=True)
class CorrelatedNoise:
    """Noise of filtered back-projection: none at frequency 0, rising with it, falling by the kernel's apodisation.

    Its power spectrum is proportional to `f * exp(-f**2 / (2 * peak**2))`, f in cycles a low-resolution pixel.

    Args:
        std: Standard deviation of a pixel, as a fraction of the range [0, 1].
        peak: Frequency of most power.
    """

    std: float
    peak: float
    random: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy import fft

        height, width = (max(side, _LEAST_SIDE) for side in image.shape[:2])
        f = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None])
        whole = np.hypot(fft.fftfreq(height)[:, None], fft.fftfreq(width)[None])
        gain = self._amplitude(f) / math.sqrt(np.mean(self._amplitude(whole) ** 2))
        white = rng.standard_normal((height, width, image.shape[2]), dtype=np.float32)
        noise = fft.irfft2(fft.rfft2(white, axes=(0, 1)) * gain[..., None], (height, width), axes=(0, 1))
        return image + np.float32(self.std) * noise[: image.shape[0], : image.shape[1]].astype(np.float32)

    def _amplitude(self, f):
        return np.sqrt(f * np.exp(-(f**2) / (2 * self.peak**2)))


def steps(scale: int, fwhm: float = 1.5, noise_std: float = 0.01, noise_peak: float = 0.25) -> tuple:
    """Returns in-plane blur, binning and correlated noise.

    Args:
        scale: Low-resolution pixels are so many times as wide.
        fwhm: Full width at half maximum of the in-plane point spread, in high-resolution pixels.
        noise_std: Standard deviation of the noise, as a fraction of the range.
        noise_peak: Frequency of most noise, in cycles a low-resolution pixel, above 0 and at most 0.5.
    """
    if not 0 < noise_peak <= 0.5:
        raise InputError(f"ct needs noise_peak above 0 and at most 0.5. Received: {noise_peak:g}")
    blur = (GaussianBlur(fwhm / math.sqrt(8 * math.log(2))),) if fwhm else ()
    noise = (CorrelatedNoise(noise_std, noise_peak),) if noise_std else ()
    return (*blur, AreaMean(scale), *noise)
