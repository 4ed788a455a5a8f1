"""Second-order degradation for images of unknown history: random blur, resizing, noise and JPEG, twice.

For radiographs from films, teaching files and printed or mailed copies. After Wang et al., Real-ESRGAN: Training
Real-World Blind Super-Resolution with Pure Synthetic Data, ICCV 2021 Workshops, https://arxiv.org/abs/2107.10833.

Departures: Gaussian kernels only, without the sinc filter; quantum (Poisson) and electronic noise instead of noise that
differs between color channels; narrower ranges, because radiographs are less degraded than shared photographs.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from tfmisr.degradations import GaussianBlur, crop_to_multiple
from tfmisr.degradations._postprocessing import Jpeg
from tfmisr.edge.errors import InputError
from tfmisr.edge.resize import resize

_METHODS = ("bilinear", "bicubic", "lanczos")


@dataclasses.dataclass(frozen=True)
class SecondOrder:
    """Two rounds of blur, resizing, noise and JPEG; the second round ends at the low-resolution size.

    Args:
        scale: Down-sampling factor.
        blur: Maximum standard deviation of the blurs, in pixels of the image they are applied to.
        noise: Maximum standard deviation of the noise, as a fraction of the range.
        quality: Minimum JPEG quality, 1 to 95; JPEG has 8 bits at any bit depth of the source.
    """

    scale: int
    blur: float
    noise: float
    quality: float
    random: ClassVar[bool] = True
    blind: ClassVar[bool] = True  # no operator is known for an image

    @property
    def margin(self) -> int:
        """High-resolution pixels around a patch that it depends on: blurs, resize filters, JPEG blocks."""
        return round(8 * self.blur + 16 * self.scale)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        image = crop_to_multiple(image, self.scale)
        size = image.shape[0] // self.scale, image.shape[1] // self.scale
        factor = rng.uniform(1, self.scale)
        image = self._blurred(image, rng)
        image = self._resized(image, tuple(round(side * factor) for side in size), rng)
        image = self._compressed(self._noisy(image, rng), rng)
        if rng.uniform() < 0.8:
            image = self._blurred(image, rng)
        image = self._noisy(self._resized(image, size, rng), rng)
        return self._compressed(image, rng)

    def _blurred(self, image, rng):
        first, second = rng.uniform(0.1, 1, 2) * self.blur
        alike = rng.uniform() < 0.5
        return GaussianBlur(first, first if alike else second)(image, rng) if self.blur else image

    def _resized(self, image, size, rng):
        return resize(image, size, _METHODS[rng.integers(len(_METHODS))])

    def _noisy(self, image, rng):
        std = self.noise * rng.uniform()
        normal = rng.standard_normal(image.shape, dtype=np.float32)
        # Quantum noise: the variance is proportional to the signal.
        gain = np.sqrt(np.clip(image, 0, 1)) if rng.uniform() < 0.5 else np.float32(1)
        return image + np.float32(std) * gain * normal

    def _compressed(self, image, rng):
        quality = int(rng.integers(int(self.quality), 96))
        return Jpeg(quality)(image, rng)


def steps(scale: int, blur: float = 1.5, noise: float = 0.02, quality: float = 50) -> tuple:
    """Returns the two rounds as one step; arguments as of `SecondOrder`.

    Raises:
        InputError: `quality` is out of range.
    """
    if not 1 <= quality <= 95:
        raise InputError(f"real_world needs quality from 1 to 95. Received: {quality:g}")
    return (SecondOrder(scale, blur, noise, quality),)
