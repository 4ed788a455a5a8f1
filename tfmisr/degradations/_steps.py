"""The steps that several degradation models share: down-sampling, blur and noise."""

import dataclasses
from typing import ClassVar

import numpy as np
from PIL import Image

from tfmisr.edge.resize import resize


@dataclasses.dataclass(frozen=True)
class Bicubic:
    """Antialiased bicubic down-sampling, equal to Pillow's `BICUBIC` (see `tfmisr.edge.resize.resize`)."""

    scale: int
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[0] // self.scale, image.shape[1] // self.scale
        return resize(image, (height, width), "bicubic")


@dataclasses.dataclass(frozen=True, repr=False)
class Pillow8Bicubic:
    """Antialiased bicubic down-sampling by Pillow's resize of 8-bit images, bit for bit.

    Pillow resizes rows first, then columns, and clips and rounds to 8 bits after each pass; the LR images of many
    published results are generated this way. An image that is not on 8-bit gray levels, such as a blurred one, is
    clipped and rounded to them first. With 16 bits, rounding between the passes changes a pixel by at most one of
    65,536 levels, so such images need no variant of `bicubic`.

    Reference:
        Pillow's `Resample.c`, `ImagingResampleHorizontal_8bpc` and `ImagingResampleVertical_8bpc`
    """

    scale: int
    random: ClassVar[bool] = False
    max_val: ClassVar[int] = 255

    def __repr__(self):
        return f"Bicubic(scale={self.scale}, rounding=pillow8)"

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size = image.shape[1] // self.scale, image.shape[0] // self.scale
        pixels = np.rint(255 * np.clip(np.asarray(image, np.float32), 0, 1)).astype(np.uint8)
        planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(pixels, -1, 0))
        reduced = [np.asarray(plane.resize(size, Image.Resampling.BICUBIC)) for plane in planes]
        return np.stack(reduced, axis=-1) / np.float32(255)


@dataclasses.dataclass(frozen=True)
class AreaMean:
    """Average pooling over `scale` x `scale` pixels: larger detector elements with a fill factor of 1."""

    scale: int
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        image = crop_to_multiple(image, self.scale)
        height, width, channels = image.shape
        blocks = image.reshape(height // self.scale, self.scale, width // self.scale, self.scale, channels)
        return blocks.mean((1, 3), dtype=np.float32)


@dataclasses.dataclass(frozen=True, repr=False)
class GaussianBlur:
    """Gaussian point spread function, as of a detector or a focal spot.

    Args:
        sigma: Standard deviation in pixels of the image it is applied to (high-resolution pixels before
            down-sampling).
        sigma_x: Standard deviation along the rows of the image, if it differs.
    """

    sigma: float
    sigma_x: float | None = None
    random: ClassVar[bool] = False

    def __repr__(self):
        return f"GaussianBlur(sigma={self.sigma!r}{'' if self.sigma_x is None else f', sigma_x={self.sigma_x!r}'})"

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy import ndimage

        sigmas = (self.sigma, self.sigma if self.sigma_x is None else self.sigma_x, 0)
        return ndimage.gaussian_filter(image, sigmas, mode="nearest", truncate=4)


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


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Returns `image` cropped at the bottom and right so that both sides are multiples of `scale`."""
    height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
    return image[:height, :width]
