"""Radiographs of unknown acquisition: one of many degradations, drawn at random for each image (blind).

A network that is trained on them has to recognize the degradation by the pixels. A share is the bicubic reduction of
the other models; the rest goes through detectors of different sharpness and dose, or through other filters and noise,
and may be sharpened and compressed. With `--no-quantize_lr` the result has 8, 10, 12 or 16 bits, drawn as well.

Reference:
    Zhang et al., Designing a Practical Degradation Model for Deep Blind Image Super-Resolution, ICCV 2021,
    https://arxiv.org/abs/2103.14006: the idea; the degradations are those of radiography (see `xray`)
"""

import dataclasses
from typing import ClassVar

import numpy as np

from tfmisr.degradations._postprocessing import Jpeg, UnsharpMask
from tfmisr.degradations._steps import AreaMean, Bicubic, GaussianBlur, crop_to_multiple
from tfmisr.degradations.xray import Detection, Exposure, LightSpread
from tfmisr.edge.errors import InputError
from tfmisr.edge.resize import resize

_MTF = 0.2, 1.0  # of the light spread, at the Nyquist frequency of the low resolution
_PHOTONS = 3_000.0, 300_000.0  # of a low-resolution element without an object: 0.3 to 3.3 levels at mid-gray
_ELECTRONIC = 10.0  # quanta
_LOG_RANGE = 2.0, 4.0
_FILTERS = ("bicubic", "lanczos", "bilinear")
_BITS = (8, 10, 12, 16)
_MARGIN = 14  # low-resolution pixels: blur and filter 6, unsharp mask 6, and blocks of JPEG


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """Draws an acquisition and applies it.

    Args:
        scale: Down-sampling factor.
        bicubic: Probability of antialiased bicubic reduction and nothing else.
        detector: Probability of a detector's light spread, binning, quantum and electronic noise, of the rest.
        sharpened: Probability of unsharp masking, of the rest.
        compressed: Probability of JPEG, of the rest.
    """

    scale: int
    bicubic: float
    detector: float
    sharpened: float
    compressed: float
    random: ClassVar[bool] = True
    blind: ClassVar[bool] = True  # no operator is known for an image

    @property
    def margin(self) -> int:
        """High-resolution pixels around a patch that it depends on."""
        return _MARGIN * self.scale

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        image = crop_to_multiple(image, self.scale)
        if rng.random() < self.bicubic:
            return self._rounded(Bicubic(self.scale)(image, rng), rng)
        lr = self._detected(image, rng) if rng.random() < self.detector else self._filtered(image, rng)
        if rng.random() < self.sharpened:
            lr = UnsharpMask(rng.uniform(0.1, 1.0), rng.uniform(0.6, 1.5))(lr, rng)
        if rng.random() < self.compressed:
            lr = Jpeg(int(rng.integers(60, 96)))(lr, rng)
        return self._rounded(lr, rng)

    def _detected(self, image, rng):
        """Returns what a detector with its own MTF and dose would have acquired; the steps are those of `xray`."""
        log_range, mtf = rng.uniform(*_LOG_RANGE), rng.uniform(*_MTF)
        image = Exposure(log_range)(image, rng)
        # A Gaussian's logarithm is quadratic in the frequency: from the Nyquist frequency of LR to that of HR.
        image = AreaMean(self.scale)(LightSpread(mtf**self.scale**2)(image, rng), rng)
        photons = float(np.exp(rng.uniform(*np.log(_PHOTONS))))
        return np.clip(Detection(photons, _ELECTRONIC, log_range)(image, rng), 0, 1)

    def _filtered(self, image, rng):
        """Returns the image after another filter, perhaps blurred before and noisy after it."""
        if rng.random() < 0.4:
            image = GaussianBlur(self.scale * rng.uniform(0.1, 0.7))(image, rng)
        size = image.shape[0] // self.scale, image.shape[1] // self.scale
        index = int(rng.integers(len(_FILTERS) + 1))
        lr = resize(image, size, _FILTERS[index]) if index < len(_FILTERS) else AreaMean(self.scale)(image, rng)
        if rng.random() < 0.3:
            lr = lr + np.float32(rng.uniform(0.001, 0.015)) * rng.standard_normal(lr.shape, np.float32)
        return lr

    def _rounded(self, lr, rng):
        levels = np.float32(2 ** int(rng.choice(_BITS, p=(0.7, 0.1, 0.1, 0.1))) - 1)
        return np.rint(np.clip(lr, 0, 1) * levels) / levels


def steps(
    scale: int, bicubic: float = 0.4, detector: float = 0.5, sharpened: float = 0.25, compressed: float = 0.3
) -> tuple:
    """Returns the draw as one step; arguments as of `Acquisition`.

    Raises:
        InputError: A probability is above 1.
    """
    chances = {"bicubic": bicubic, "detector": detector, "sharpened": sharpened, "compressed": compressed}
    for name, chance in chances.items():
        if not 0 <= chance <= 1:
            raise InputError(f"blind_xray needs {name} from 0 to 1. Received: {chance:g}")
    return (Acquisition(scale, **chances),)
