"""Images without a finite PSNR: bicubic interpolation reproduces them exactly, for example blank images.

Their interpolation error is zero, so PSNR is infinite and a gain in dB is undefined. They are excluded from means in
dB and from validation crops; a dataset without any other image is rejected before training.
"""

import typing

import numpy as np

from tfmisr.data import pipeline
from tfmisr.degradations import Degradation
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.resize import upscale
from tfmisr.edge.upscaler import to_levels

if typing.TYPE_CHECKING:
    from tfmisr.data.sources import Source

# Half a gray level of 16 bits: smaller errors vanish when the image is rounded, at any bit depth.
_EQUAL = 0.5 / 65535


def all_exact(source: "Source", split: str, scale: int, degradation: Degradation) -> bool:
    """Returns whether bicubic interpolation, rounded to gray levels, reproduces every image of a split.

    Args:
        source: The images.
        split: Its split.
        scale: Upsampling factor.
        degradation: Degradation model that generates LR.
    """
    cache = pipeline.cache_of(source, split)
    if cache.shapes.min() < scale:
        return False  # too small to be down-sampled; the patch sampler raises an error that names the image
    for _, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation):
        if not np.array_equal(to_levels(upscale(lr, scale), max_val), hr):
            return False
    return True


def require_some(source: "Source", split: str, scale: int, degradation: Degradation) -> None:
    """Checks that a split has images with a finite PSNR; arguments as of `all_exact`.

    Raises:
        InputError: Bicubic interpolation reproduces every image.
    """
    if all_exact(source, split, scale, degradation):
        raise no_finite_psnr(source, split)


def no_finite_psnr(source: "Source", split: str) -> InputError:
    """Returns the error for a split without any image of finite PSNR."""
    return InputError(
        f"expected images with detail in the {split} split of {source.name}, found only images that "
        "interpolation reproduces exactly, such as blank ones (one gray value): they have no PSNR and nothing to learn "
        "from. Remove the blank images, or add patients"
    )


def validation_crops(
    cache: pipeline.PixelCache, scale: int, degradation: Degradation, count: int, side: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the crops of `tfmisr.data.pipeline.validation_crops` with a finite PSNR; `None` if there are none.

    Args:
        cache: Images of the validation split.
        scale: Upsampling factor.
        degradation: Degradation model that generates LR.
        count: Maximum number of images.
        side: Maximum side of the high-resolution crop.
        seed: Seed of the degradation's random draws.
    """
    lr, hr = pipeline.validation_crops(cache, scale, degradation, count, side, seed)
    errors = [np.abs(np.clip(upscale(a, scale), 0.0, 1.0) - b).max() for a, b in zip(lr, hr, strict=True)]
    kept = np.array(errors) > _EQUAL
    return (lr[kept], hr[kept]) if kept.any() else None


__getattr__ = renamed(__name__, refusal="no_finite_psnr")
