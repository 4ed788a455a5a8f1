"""Training batches of random aligned patches, and pairs of full images for evaluation.

The order of the images and the position, dihedral transform and noise of each patch are a pure function of
(seed, step): a resumed run trains on exactly the batches of an uninterrupted one.
"""

import dataclasses
import functools
import math
import typing

import numpy as np

from tfmisr.data import burned_in, look_up_tables
from tfmisr.data.full_images import image_key, pairs, validation_crops, whole_images
from tfmisr.data.hard_examples import cumulative_error
from tfmisr.data.pixel_cache import PixelCache, Planes, as_float, cache_of, low_resolution
from tfmisr.degradations import Degradation, crop_to_multiple
from tfmisr.edge.dihedral import apply_dihedral
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    "PatchSampler",
    "PixelCache",
    "Planes",
    "cache_of",
    "image_key",
    "low_resolution",
    "pairs",
    "training_data",
    "validation_crops",
    "whole_images",
]

_ANNOTATION_MARGIN = 8  # low-resolution pixels; filters of fixed degradations are narrower, but for Gaussian ones


@dataclasses.dataclass
class PatchSampler:
    """Samples random aligned patches of low and high resolution, the same ones for the same (seed, step).

    Args:
        cache: Images to sample from.
        scale: Upsampling factor.
        degradation: Degradation model that generates the low-resolution image.
        patch_size: Side of a low-resolution patch in pixels.
        batch_size: Patches per step.
        seed: Seed of all random draws.
        augment: Apply a random dihedral transform (flip, rotation by multiples of 90 degrees) to each patch.
        hard_patches: Hard-example mining: fraction of the patches whose position is sampled in proportion to the
            bicubic interpolation error (`tfmisr.data.hard_examples`), not uniformly.
        burned_in: Fraction of the patches with burned-in annotations (`tfmisr.data.burned_in`), in both resolutions.
        intensity_augmentation: Fraction of the patches whose gray levels pass through a random look-up table
            (`tfmisr.data.look_up_tables`), in both resolutions.
        subpixel_shifts: Let patches begin at any high-resolution pixel, so that the grid of low-resolution pixels falls
            on a structure in `scale**2` ways; without, it is that of the full image.

    Raises:
        InputError: An image is smaller than a patch.
    """

    cache: PixelCache
    scale: int
    degradation: Degradation
    patch_size: int
    batch_size: int
    seed: int = 0
    augment: bool = True
    hard_patches: float = 0.0
    burned_in: float = 0.0
    intensity_augmentation: float = 0.0
    subpixel_shifts: bool = False

    def __post_init__(self):
        small = np.flatnonzero((self.cache.shapes // self.scale).min(1) < self.patch_size)
        if len(small):
            i, side = small[0], self.patch_size * self.scale
            height, width = self.cache.shapes[i]
            raise InputError(
                f"images must be at least {side}x{side} pixels for patch_size {self.patch_size} at scale "
                f"{self.scale}. Received: {self.cache.ids[i]} with {height}x{width} and {len(small) - 1} "
                f"more; try --patch_size {max(self.cache.shapes[small].min() // self.scale, 1)}"
            )
        if not self.degradation.reduces_at_random:
            self.lr = low_resolution(self.cache, self.scale, self.degradation)
        self.random_part = None if self.degradation.fixed else self.degradation.split()[1]

    @functools.lru_cache(maxsize=4)  # noqa: B019  a sampler lives as long as its run
    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.cache))

    __hash__ = object.__hash__

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the batch of one step.

        Returns:
            float32 arrays in [0, 1]: low resolution `(batch, patch_size, patch_size, channels)` and high
            resolution, `scale` times as large. An epoch holds one patch of each image.
        """
        return tuple(as_float(*part) for part in self.pixels(step))

    def pixels(self, step: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Returns the batch of one step before its conversion to float32, which makes it four times as large.

        Returns:
            The parts of `batch`, each with the types that its images are stored in, and the full-scale values to divide
            it by, float32 `(batch, 1, 1, 1)`. Low-resolution images with random noise are float32 in [0, 1] here, too.
        """
        images = self._images(step)
        max_vals = self.cache.max_vals[images].astype(np.float32)[:, None, None, None]
        if self.degradation.fixed and not self._altered:
            draws = self.draws(step)
            lr, hr = _crops(self.lr, draws, self.patch_size, 1), _crops(self.cache, draws, self.patch_size, self.scale)
        else:
            rng = self._rng(step)
            lr, hr = map(np.stack, zip(*(self._pair(i, rng) for i in images.tolist()), strict=True))
        return (lr, max_vals), (hr, max_vals)

    def draws(self, step: int) -> np.ndarray:
        """Returns the random draws of one step, which determine its batch.

        Returns:
            int32 array `(batch, 4)`: image, row and column of the patch in low-resolution pixels, and index of the
            dihedral transform; see `tfmisr.edge.dihedral.apply_dihedral`.

        Raises:
            InputError: The degradation has random steps, whose draws depend on the pixels.
        """
        if not self.degradation.fixed or self._altered:
            described = "altered patches" if self.degradation.fixed else self.degradation.describe()
            raise InputError(f"expected a degradation without random steps. Received: {described}")
        rng, images = self._rng(step), self._images(step)
        if self.hard_patches:
            drawn = [(*self._position(i, rng), self._transform(rng)) for i in images.tolist()]
        else:
            ends = self.cache.shapes[images] // self.scale - self.patch_size + 1
            highs = np.column_stack([ends, np.full(len(images), 8)]) if self.augment else ends
            # The same stream as one call for each number, in the order of the array.
            drawn = rng.integers(0, highs)
        draws = np.zeros((self.batch_size, 4), np.int32)
        draws[:, 0] = images
        draws[:, 1 : 1 + np.shape(drawn)[1]] = drawn
        return draws

    def _rng(self, step):
        return np.random.default_rng([self.seed, 0, step])

    def _images(self, step):
        """Returns the images of a step: an epoch holds one patch of each image."""
        epochs, ranks = np.divmod(step * self.batch_size + np.arange(self.batch_size), len(self.cache))
        parts = [self._order(epoch)[ranks[epochs == epoch]] for epoch in range(int(epochs[0]), int(epochs[-1]) + 1)]
        return np.concatenate(parts)

    def _transform(self, rng):
        return int(rng.integers(8)) if self.augment else 0

    def _pair(self, i, rng):
        """Returns a patch of image `i` with random noise, a random kernel or annotations."""
        size, s, max_val = self.patch_size, self.scale, int(self.cache.max_vals[i])
        y, x = self._position(i, rng)
        transform_index = self._transform(rng)
        hr = self.cache[i][y * s : (y + size) * s, x * s : (x + size) * s]
        alterations, shift = self._alterations(rng), self._shift(rng)
        if alterations or shift != (0, 0):
            lr, hr = self._changed(alterations, i, (y, x), shift, rng)
        elif self.degradation.reduces_at_random:
            lr = self._reduced(i, y, x, rng, turned=self.degradation.along_rows and transform_index % 2 == 1)
        else:
            lr = as_float(self.lr[i][y : y + size, x : x + size], max_val)
            lr = self.random_part(lr, max_val, rng) if self.random_part else lr
        return apply_dihedral(lr, transform_index), apply_dihedral(hr, transform_index)

    def _position(self, i, rng):
        """Returns row and column of a patch of image `i`, in low-resolution pixels."""
        ends = [side // self.scale - self.patch_size + 1 for side in self.cache.shapes[i]]
        if not self.hard_patches or rng.random() >= self.hard_patches:
            return tuple(int(rng.integers(0, end)) for end in ends)
        errors, step = self._errors(i)
        # A cell in proportion to its error, and a position in it; the patch is centered on the cell where possible.
        row, column = divmod(int(np.searchsorted(errors, rng.random() * errors[-1], "right")), -(-ends[1] // step))
        return tuple(
            min(cell * step + int(rng.integers(step)), end - 1) for cell, end in zip((row, column), ends, strict=True)
        )

    @functools.lru_cache(maxsize=16384)  # noqa: B019  a sampler lives as long as its run
    def _errors(self, i) -> tuple[np.ndarray, int]:
        hr = crop_to_multiple(as_float(self.cache[i], int(self.cache.max_vals[i])), self.scale)
        return cumulative_error(hr, self.scale, self.patch_size)

    def _reduced(self, i, y, x, rng, turned):
        """Returns a low-resolution patch computed from high-resolution pixels, with the degradation's margin.

        `turned`: it is degraded along its columns, which a transform then makes the rows.
        """
        size, max_val = self.patch_size, int(self.cache.max_vals[i])
        context, y, x = self._context(i, y, x, -(-self.degradation.margin // self.scale))
        context = as_float(context, max_val)
        lr = self.degradation(context.swapaxes(0, 1) if turned else context, max_val, rng)
        lr = lr.swapaxes(0, 1) if turned else lr
        return lr[y : y + size, x : x + size]

    @property
    def _altered(self) -> bool:
        """Whether some patches are altered before their degradation."""
        return bool(self.burned_in or self.intensity_augmentation or self.subpixel_shifts)

    def _shift(self, rng) -> tuple[int, int]:
        """Draws the high-resolution pixels, less than the scale, by which a patch is moved down and right."""
        return tuple(int(rng.integers(self.scale)) for _ in range(2)) if self.subpixel_shifts else (0, 0)

    def _alterations(self, rng) -> list:
        """Draws what is done to the high-resolution pixels of a patch before its degradation."""
        drawn = [(self.intensity_augmentation, look_up_tables.transform), (self.burned_in, burned_in.burn_in)]
        return [alter for share, alter in drawn if share and rng.random() < share]

    def _changed(self, alterations, i, place, shift, rng):
        """Returns a patch in both resolutions, shifted and altered before its degradation."""
        size, s, max_val = self.patch_size, self.scale, int(self.cache.max_vals[i])
        widest = max((getattr(step, "sigma", 0.0) for step in self.degradation.steps), default=0.0)
        margin = _ANNOTATION_MARGIN - (-self.degradation.margin // s) + math.ceil(4 * widest)
        (y, dy), (x, dx) = map(self._inside, place, shift, self.cache.shapes[i])
        context, y, x = self._context(i, y, x, margin, (dy, dx))
        altered = as_float(context, max_val)
        for alter in alterations:
            altered = alter(altered, rng)
        altered = np.rint(altered * max_val).astype(context.dtype)
        lr = self.degradation(as_float(altered, max_val), max_val, rng)[y : y + size, x : x + size]
        return lr, altered[y * s : (y + size) * s, x * s : (x + size) * s]

    def _inside(self, start, shift, side):
        """Returns a position and a shift of a patch that end within `side`, as near to the given ones as there are."""
        while start * self.scale + shift + self.patch_size * self.scale > side:
            start, shift = (start - 1, shift) if start else (0, 0)
        return start, shift

    def _context(self, i, y, x, margin, shift=(0, 0)):
        """Returns the high-resolution pixels of a patch with a margin of low-resolution pixels, and its place there."""
        size, s = self.patch_size, self.scale
        parts, tops = [], [max(start - margin, 0) for start in (y, x)]
        for start, top, moved, side in zip((y, x), tops, shift, self.cache.shapes[i].tolist(), strict=True):
            bottom = min(start + size + margin, (side - moved) // s)
            parts.append(slice(top * s + moved, bottom * s + moved))
        return self.cache[i][tuple(parts)], y - tops[0], x - tops[1]


def _crops(planes, draws, side, scale):
    """Returns the patches in the type of the pixels, `(batch, side * scale, side * scale, channels)`."""
    side = side * scale
    patches = np.empty((len(draws), side, side, planes.channels), planes.dtype)
    for patch, (i, row, column, transform_index) in zip(patches, draws.tolist(), strict=True):
        y, x = row * scale, column * scale
        patch[...] = apply_dihedral(planes[i][y : y + side, x : x + side], transform_index)
    return patches


def training_data(sampler: PatchSampler, start: int, stop: int | None) -> "tf.data.Dataset":
    """Returns a `tf.data.Dataset` of the batches of the steps `start` to `stop`, or an infinite one, prefetched.

    Returns:
        Dataset of pairs (low resolution, high resolution); see `PatchSampler.batch`.
    """
    import tensorflow as tf

    lr_shape = (sampler.batch_size, sampler.patch_size, sampler.patch_size, sampler.cache.channels)
    hr_side = sampler.patch_size * sampler.scale
    hr_shape = (sampler.batch_size, hr_side, hr_side, sampler.cache.channels)

    def batch(step):
        lr, hr = tf.numpy_function(sampler.batch, [step], (tf.float32, tf.float32), stateful=False)
        return tf.ensure_shape(lr, lr_shape), tf.ensure_shape(hr, hr_shape)

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    steps = tf.data.Dataset.counter(start) if stop is None else tf.data.Dataset.range(start, stop)
    return steps.map(batch, num_parallel_calls=2).prefetch(4).with_options(options)
