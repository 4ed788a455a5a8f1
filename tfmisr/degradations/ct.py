"""CT with larger pixels, a softer kernel and a lower dose: in-plane point spread, binning, correlated noise.

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

_LEAST_SIDE = 64  # pixels of the noise field, so that the noise of a small patch has the full spectrum


@dataclasses.dataclass(frozen=True)
class CorrelatedNoise:
    """Noise of filtered back-projection: a ramp in frequency, apodized by the reconstruction kernel.

    Its power spectrum is proportional to `f * exp(-f**2 / (2 * peak**2))`, f in cycles per low-resolution pixel.

    Args:
        std: Standard deviation of a pixel, as a fraction of the range [0, 1].
        peak: Frequency of maximum power, in cycles per low-resolution pixel.
    """

    std: float
    peak: float
    random: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy import fft

        height, width = (max(side, _LEAST_SIDE) for side in image.shape[:2])
        f = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None])
        full = np.hypot(fft.fftfreq(height)[:, None], fft.fftfreq(width)[None])
        gain = self._amplitude(f) / math.sqrt(np.mean(self._amplitude(full) ** 2))
        white = rng.standard_normal((height, width, image.shape[2]), dtype=np.float32)
        noise = fft.irfft2(fft.rfft2(white, axes=(0, 1)) * gain[..., None], (height, width), axes=(0, 1))
        return image + np.float32(self.std) * noise[: image.shape[0], : image.shape[1]].astype(np.float32)

    def _amplitude(self, f):
        return np.sqrt(f * np.exp(-(f**2) / (2 * self.peak**2)))


def steps(scale: int, fwhm: float = 1.5, noise_std: float = 0.01, noise_peak: float = 0.25) -> tuple:
    """Returns in-plane blur, binning and correlated noise.

    Args:
        scale: Down-sampling factor.
        fwhm: Full width at half maximum of the in-plane point spread, in high-resolution pixels.
        noise_std: Standard deviation of the noise, as a fraction of the range.
        noise_peak: Frequency of maximum noise power, in cycles per low-resolution pixel, above 0 and at most 0.5.

    Raises:
        InputError: `noise_peak` is out of range.
    """
    if not 0 < noise_peak <= 0.5:
        raise InputError(f"ct needs noise_peak above 0 and at most 0.5. Received: {noise_peak:g}")
    blur = (GaussianBlur(fwhm / math.sqrt(8 * math.log(2))),) if fwhm else ()
    noise = (CorrelatedNoise(noise_std, noise_peak),) if noise_std else ()
    return (*blur, AreaMean(scale), *noise)
