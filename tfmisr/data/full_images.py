"""Pairs of full images for evaluation, and central crops for the validation of a run."""

import hashlib
import typing
from collections.abc import Iterable, Iterator

import numpy as np

from tfmisr.data.pixel_cache import PixelCache
from tfmisr.degradations import Degradation, crop_to_multiple

if typing.TYPE_CHECKING:
    import tensorflow as tf


def image_key(name: str) -> int:
    """Returns a number for the id of an image, for seeds of draws that depend on the image alone."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)


def pairs(
    cache: PixelCache, scale: int, degradation: Degradation, indices: Iterable[int] | None = None, seed: int = 0
) -> Iterator[tuple]:
    """Yields full images for evaluation: (id, patient, max_val, LR, HR).

    The noise of a random degradation depends only on the seed and the image's id. HR, of 8 or 16 bits, is cropped to
    a multiple of the scale; LR is float32 in [0, 1].

    Args:
        cache: The images.
        scale: Upsampling factor.
        degradation: Degradation model that generates LR.
        indices: Indices of the images; all by default.
        seed: Seed of the degradation's random draws.
    """
    for i in range(len(cache)) if indices is None else indices:
        name = cache.ids[i]
        key = image_key(name)
        max_val = int(cache.max_vals[i])
        hr = crop_to_multiple(cache[i], scale)
        lr = degradation(hr.astype(np.float32) / max_val, max_val, np.random.default_rng([seed, 2, key]))
        yield name, int(cache.patients[i]), max_val, lr, hr


def whole_images(cache: PixelCache, scale: int, degradation: Degradation, seed: int = 0) -> "tf.data.Dataset":
    """Returns a `tf.data.Dataset` of the pairs (LR, HR) of all full images, each a float32 batch of one in [0, 1]."""
    import tensorflow as tf

    def batches():
        for _, _, max_val, lr, hr in pairs(cache, scale, degradation, seed=seed):
            yield lr[None], hr[None].astype(np.float32) / np.float32(max_val)

    signature = tf.TensorSpec((1, None, None, cache.channels), tf.float32)
    images = tf.data.Dataset.from_generator(batches, output_signature=(signature, signature))
    return images.apply(tf.data.experimental.assert_cardinality(len(cache))).prefetch(2)


def validation_crops(
    cache: PixelCache, scale: int, degradation: Degradation, count: int, side: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns central crops for the validation of a run, the same in every call.

    Args:
        cache: Images of the validation split.
        scale: Upsampling factor.
        degradation: Degradation model that generates the low-resolution image.
        count: Maximum number of images, evenly spaced in the split.
        side: Maximum side of the high-resolution crop; smaller if an image is smaller.
        seed: Seed of the degradation's random draws.

    Returns:
        float32 arrays in [0, 1], low and high resolution, as `tfmisr.data.pipeline.PatchSampler.batch` returns.
    """
    indices = np.unique(np.linspace(0, len(cache) - 1, count).astype(int))
    side = min(side, int(cache.shapes[indices].min())) // scale
    crops = []
    for i in indices:
        max_val = int(cache.max_vals[i])
        hr = crop_to_multiple(cache[i], scale).astype(np.float32) / max_val
        lr = degradation(hr, max_val, np.random.default_rng([seed, 3, i]))
        y, x = ((length - side) // 2 for length in lr.shape[:2])
        big = slice(y * scale, (y + side) * scale), slice(x * scale, (x + side) * scale)
        crops.append((lr[y : y + side, x : x + side], hr[big]))
    lr, hr = zip(*crops, strict=True)
    return np.stack(lr), np.stack(hr)
