"""Images without a PSNR: bicubic interpolation reproduces them exactly, as it does blank ones (one gray value).

Their interpolation error is zero, so PSNR is infinite and a gain in dB has no meaning. They are left out of means in
dB and of the crops that a run is validated on; a data set that holds nothing else is refused before it costs time.
"""

import numpy as np

from tfmisr.data import pipeline
from tfmisr.edge.errors import InputError
from tfmisr.edge.resize import upscale
from tfmisr.edge.upscaler import to_levels

# Half a level of 16 bits: what is nearer is equal once it is rounded, whatever the image's depth.
_EQUAL = 0.5 / 65535


def all_exact(source, split: str, scale: int, degradation) -> bool:
    """Returns whether bicubic interpolation reproduces every image, rounded to its levels; stops at the first other.

    Args:
        source: `tfmisr.data.Source` of the images.
        split: Its split.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes LR.
    """
    cache = pipeline.cache_of(source, split)
    if cache.shapes.min() < scale:
        return False  # too small to be made smaller; whoever cuts patches refuses it by name
    for _, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation):
        if not np.array_equal(to_levels(upscale(lr, scale), max_val), hr):
            return False
    return True


def require_some(source, split: str, scale: int, degradation) -> None:
    """Raises an `InputError` where bicubic interpolation reproduces every image of a split; see `all_exact`."""
    if all_exact(source, split, scale, degradation):
        raise refusal(source, split)


def refusal(source, split: str) -> InputError:
    """Returns the error that names a split without an image that can be scored in dB."""
    return InputError(
        f"expected images with detail in the {split} split of {source.name}, found only images that "
        "interpolation reproduces exactly, such as blank ones (one gray value): they have no PSNR and nothing to learn "
        "from. Remove the blank images, or add patients"
    )


def validation_crops(cache, scale: int, degradation, count: int, side: int, seed: int = 0) -> tuple | None:
    """Returns `tfmisr.data.pipeline.validation_crops` without those that have no PSNR; `None` where no crop is left."""
    lr, hr = pipeline.validation_crops(cache, scale, degradation, count, side, seed)
    errors = [np.abs(np.clip(upscale(a, scale), 0.0, 1.0) - b).max() for a, b in zip(lr, hr, strict=True)]
    kept = np.array(errors) > _EQUAL
    return (lr[kept], hr[kept]) if kept.any() else None
