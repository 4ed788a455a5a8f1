"""Digital radiography with larger detector elements and another dose.

The pixels of a radiograph for presentation are proportional to the negative logarithm of the exposure. Blur and binning
act on the exposure, so it is computed first; quanta are counted per detector element.

Reference:
    Boone, X-ray Production, Interaction, and Detection in Diagnostic Imaging, Handbook of Medical Imaging 1, SPIE 2000;
    IEC 62220-1-1, Determination of the detective quantum efficiency (MTF, noise, linearized data)
"""

import dataclasses
from typing import ClassVar

import numpy as np

from tfmisr.degradations import AreaMean
from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True)
class Exposure:
    """Relative exposure `exp(-log_range * value)`: 1 for black, `exp(-log_range)` for white.

    Args:
        log_range: Natural logarithm of the ratio of exposures between black and white.
    """

    log_range: float
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.exp(np.float32(-self.log_range) * image)


@dataclasses.dataclass(frozen=True)
class LightSpread:
    """Blur of a scintillator with a Gaussian modulation transfer function (MTF); the image is mirrored at its border.

    It is applied in the frequency domain: so narrow a Gaussian, sampled at pixels, would have another MTF.

    Args:
        mtf_nyquist: MTF at the Nyquist frequency, half a cycle per pixel, in both directions.
    """

    mtf_nyquist: float
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy import fft

        # Coefficient k of the cosine transform has the frequency k / (2 * side) cycles per pixel.
        # TensorFlow's threads take float32 numbers below the smallest normal one for 0.
        dtype = np.float64 if self.mtf_nyquist < np.finfo(np.float32).tiny else np.float32
        gains = [self.mtf_nyquist ** ((np.arange(side, dtype=dtype) / side) ** 2) for side in image.shape[:2]]
        spectrum = fft.dctn(image, axes=(0, 1), norm="ortho")
        return fft.idctn(spectrum * np.outer(*gains)[..., None], axes=(0, 1), norm="ortho").astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Detection:
    """Draws the number of quanta, adds electronic noise and takes the logarithm again.

    The variance of a pixel is `(n + electronic**2) / (n * log_range)**2`, with n expected quanta.

    Args:
        photons: Quanta detected by one low-resolution element without an object.
        electronic: Standard deviation of the electronic noise, in quanta.
        log_range: As of `Exposure`.
    """

    photons: float
    electronic: float
    log_range: float
    random: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        counts = rng.poisson(self.photons * image.astype(np.float64))
        counts = counts + self.electronic * rng.standard_normal(image.shape)
        return (-np.log(np.maximum(counts, 1.0) / self.photons) / self.log_range).astype(np.float32)


def steps(
    scale: int,
    photons: float = 5000.0,
    electronic: float = 10.0,
    mtf_nyquist: float = 0.3,
    log_range: float = 3.0,
) -> tuple:
    """Returns exposure, detector blur, binning and detection.

    Args:
        scale: Down-sampling factor.
        photons: Quanta detected by one low-resolution element without an object: the dose.
        electronic: Standard deviation of the electronic noise, in quanta.
        mtf_nyquist: MTF of the detector's light spread at half a cycle per high-resolution pixel.
        log_range: Natural logarithm of the ratio of exposures between black and white.

    Raises:
        InputError: A parameter is out of range.
    """
    if not 0 < mtf_nyquist < 1 or not photons > 0 or not log_range > 0:
        raise InputError(
            "xray needs photons and log_range above 0 and mtf_nyquist between 0 and 1. "
            f"Received: photons={photons:g}, log_range={log_range:g}, mtf_nyquist={mtf_nyquist:g}"
        )
    return (
        Exposure(log_range),
        LightSpread(mtf_nyquist),
        AreaMean(scale),
        Detection(photons, electronic, log_range),
    )
