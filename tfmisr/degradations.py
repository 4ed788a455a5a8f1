"""From a high-resolution image to the low-resolution one: the model of the acquisition.

A degradation is a row of steps. The steps before the first random one are worked out once for the whole
image and cached; the random ones, which treat every pixel alone, are drawn anew for each patch.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from tfmisr.edge.resize import resize


@dataclasses.dataclass(frozen=True)
class Bicubic:
    """Antialiased bicubic reduction, equal to Pillow's `BICUBIC` (see `tfmisr.edge.resize.resize`)."""

    scale: int
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[0] // self.scale, image.shape[1] // self.scale
        return resize(image, (height, width), "bicubic")


@dataclasses.dataclass(frozen=True)
class GaussianBlur:
    """Gaussian point spread, as of a detector or a focal spot.

    Args:
        sigma: Standard deviation in pixels of the image it is applied to (high-resolution pixels when it
            stands before the reduction).
    """

    sigma: float
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy import ndimage

        return ndimage.gaussian_filter(image, (self.sigma, self.sigma, 0), mode="nearest", truncate=4)


@dataclasses.dataclass(frozen=True)
class GaussianNoise:
    """White Gaussian noise.

    Args:
        std: Standard deviation as a fraction of the range [0, 1].
    """

    std: float
    random: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image + self.std * rng.standard_normal(image.shape, dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class Degradation:
    """Steps one after the other, then clipping and, if wanted, rounding to the source's levels.

    Args:
        steps: `Bicubic`, `GaussianBlur`, ...: one of them reduces by the scale.
        quantize: Round the result to whole steps of `1 / max_val`, as a stored image would be.
    """

    steps: tuple
    quantize: bool = True

    def split(self) -> tuple["Degradation", "Degradation"]:
        """Returns the part to be worked out once, not yet rounded, and the part to be drawn each time."""
        at = next((i for i, step in enumerate(self.steps) if step.random), len(self.steps))
        once = dataclasses.replace(self, steps=self.steps[:at], quantize=self.quantize and self.fixed)
        return once, dataclasses.replace(self, steps=self.steps[at:])

    @property
    def fixed(self) -> bool:
        """Whether the same image always gives the same result."""
        return not any(step.random for step in self.steps)

    def __call__(self, hr: np.ndarray, max_val: int, rng: np.random.Generator | None = None):
        """Degrades one image.

        Args:
            hr: float32 array (height, width, channels) in [0, 1].
            max_val: Pixel value that 1.0 stands for; the levels to round to.
            rng: Source of the random steps.

        Returns:
            float32 array (height // scale, width // scale, channels) in [0, 1].
        """
        image = np.asarray(hr, np.float32)
        for step in self.steps:
            # Where `split` cuts, so that its two parts together give the same.
            image = step(np.clip(image, 0.0, 1.0) if step.random else image, rng)
        image = np.clip(image, 0.0, 1.0)
        if self.quantize:
            image = np.floor(image * np.float32(max_val) + np.float32(0.5)) / np.float32(max_val)
        return image

    def describe(self) -> str:
        """Returns the steps in words for a protocol, such as `GaussianBlur(sigma=1.0) Bicubic(scale=4) rounded`."""
        return " ".join([*map(repr, self.steps), *(["rounded"] if self.quantize else [])])


def make(scale: int, blur_sigma: float = 0.0, noise_std: float = 0.0, quantize_lr: bool = True) -> Degradation:
    """Returns blur, antialiased bicubic reduction and noise in this order, leaving out what is 0.

    Args:
        scale: Factor of the reduction.
        blur_sigma: Standard deviation of the blur, in high-resolution pixels.
        noise_std: Standard deviation of the noise, as a fraction of the range.
        quantize_lr: Round the low-resolution image to the source's bit depth.
    """
    blur = (GaussianBlur(blur_sigma),) if blur_sigma else ()
    noise = (GaussianNoise(noise_std),) if noise_std else ()
    return Degradation((*blur, Bicubic(scale), *noise), quantize_lr)


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Returns `image` without the last rows and columns that do not make a whole low-resolution pixel."""
    height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
    return image[:height, :width]
