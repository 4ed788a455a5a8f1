"""What a console or an archive does to an acquired image: unsharp masking and lossy compression."""

import dataclasses
import io
from typing import ClassVar

import numpy as np
from PIL import Image

from tfmisr.degradations._steps import GaussianBlur


@dataclasses.dataclass(frozen=True)
class UnsharpMask:
    """Linear unsharp masking: `image + amount * (image - blurred image)`, not clipped.

    Args:
        amount: Gain of the difference; at high frequencies the contrast is `1 + amount` times as large.
        sigma: Standard deviation of the Gaussian blur, in pixels of the image it is applied to.
    """

    amount: float
    sigma: float
    random: ClassVar[bool] = False

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image + np.float32(self.amount) * (image - GaussianBlur(self.sigma)(image, rng))


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """JPEG baseline, encoded and decoded; 8 bits at any bit depth of the source, color with Pillow's subsampling.

    Args:
        quality: Pillow's quality, 1 to 95.
    """

    quality: int
    random: ClassVar[bool] = False
    lossy: ClassVar[bool] = True  # there is no operator to invert; the loss is treated as noise

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
        decoded = compressed(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, self.quality)
        return (decoded / np.float32(255)).reshape(image.shape)


def compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Returns uint8 pixels (height, width) or (height, width, 3) as Pillow's JPEG of them is decoded, float32."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream), np.float32)
