"""Simulated defects of an input: noise, blur, JPEG, and another reduction than that of the training images."""

from collections.abc import Iterator

import numpy as np

from tfmisr.degradations import _postprocessing
from tfmisr.edge import applicability_statistics, resize

NOISE = 2 / 255  # standard deviation, as a fraction of the full scale
BLUR = 0.5  # standard deviation in pixels of the input
DARKER = 0.4  # factor, as of images that use the lower part of their range
JPEG_QUALITY = 75  # of Pillow and libjpeg
SEED = 16


def simulated(lr: np.ndarray, hr: np.ndarray, max_val: float, index: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (name, input with this defect), rounded to the levels of the image.

    Args:
        lr: Input (height, width) in [0, max_val].
        hr: Ground truth (scale * height, scale * width) in [0, max_val].
        max_val: Full-scale value; 1.0 is taken for 8 bits.
        index: Seed of the noise, another one for each image.
    """
    from scipy import ndimage

    levels = 255 if max_val == 1 else max_val
    lr, hr = (np.asarray(image, np.float32) * np.float32(levels / max_val) for image in (lr, hr))
    scale = len(hr) // len(lr)
    noise = np.random.default_rng([SEED, index]).normal(0, NOISE * levels, lr.shape)
    found = {
        "noise": lr + noise,
        "blur": ndimage.gaussian_filter(lr, BLUR),
        "jpeg": jpeg(lr, levels, JPEG_QUALITY),
        "coarser": _resized(lr, 2.0),
        "finer": _resized(hr, scale / 2),
        "darker": DARKER * lr,
    }
    for name, image in found.items():
        if min(image.shape) >= applicability_statistics.SMALLEST:
            yield name, np.rint(np.clip(image, 0, levels)) * np.float32(max_val / levels)


def jpeg(image: np.ndarray, levels: float, quality: int) -> np.ndarray:
    """Returns a float32 image (height, width) in [0, levels] after compression by JPEG, whose pixels have 8 bits."""
    pixels = np.rint(image * (255 / levels)).astype(np.uint8)
    return _postprocessing.compressed(pixels, quality) * np.float32(levels / 255)


def _resized(image: np.ndarray, factor: float) -> np.ndarray:
    """Returns an image (height, width) with 1 / `factor` of its sides, by antialiased bicubic interpolation."""
    size = tuple(round(side / factor) for side in image.shape)
    return resize.resize(image[..., np.newaxis], size)[..., 0]
