"""Batches of low- and high-resolution images that show nothing in common, a pure function of (seed, step)."""

import dataclasses

import numpy as np

from tfmisr import degradations
from tfmisr.data import pipeline
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted


class Part:
    """The images of some patients of a `tfmisr.data.pipeline.PixelCache`, which reads like one.

    Args:
        cache: All images.
        name: Folder, inside the cache's, for what is derived from these.
        chosen: Positions of the images in the cache.
    """

    def __init__(self, cache: pipeline.PixelCache, name: str, chosen):
        self.cache, self.folder, self.channels = cache, cache.folder / name, cache.channels
        self._chosen = np.asarray(chosen)
        self.ids = [cache.ids[i] for i in self._chosen]
        self.shapes, self.max_vals, self.patients = (
            x[self._chosen] for x in (cache.shapes, cache.max_vals, cache.patients)
        )

    def __len__(self):
        return len(self._chosen)

    def __getitem__(self, i: int) -> np.ndarray:
        """Returns the pixels of the part's image `i`."""
        return self.cache[self._chosen[i]]


def halves(cache: pipeline.PixelCache) -> tuple[Part, Part]:
    """Returns the images of every other patient, and those of the others.

    Raises:
        InputError: There is one patient alone.
    """
    patients, place = np.unique(cache.patients, return_inverse=True)
    if len(patients) < 2:
        raise InputError("expected training images of at least 2 patients for unpaired training, found 1")
    return tuple(Part(cache, name, np.flatnonzero(place % 2 == i)) for i, name in enumerate(("even", "odd")))


@dataclasses.dataclass
class UnpairedSampler:
    """Cuts patches of low and of high resolution at random, each from its own images.

    Attributes:
        hr: Sampler of HR patches and of their bicubic reductions.
        lr: Sampler whose LR patches are taken.
    """

    hr: pipeline.PatchSampler
    lr: pipeline.PatchSampler

    @property
    def cache(self):
        """The high-resolution images."""
        return self.hr.cache

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns LR patches, bicubic reductions of HR patches, and these HR patches, float32 in [0, 1]."""
        reduced, hr = self.hr.batch(step)
        return self.lr.batch(step)[0], reduced, hr


def sampler(config, source, lr_source, degradation) -> UnpairedSampler:
    """Returns the sampler of an unpaired run.

    Args:
        config: `tfmisr.config.Config`.
        source: Dataset of HR images, a `tfmisr.data.Source`.
        lr_source: Dataset of LR images, or `None`: then one half of the patients of `source` gives HR images, and the
            other LR images, made by `degradation`.
        degradation: What the run's LR images are like.

    Raises:
        InputError: The two datasets do not go together, or hold too small or too few images.
    """
    hr_cache = pipeline.cache_of(source, "train")
    if lr_source is None:
        hr_cache, lr_cache = halves(hr_cache)
        scale, made_by = config.scale, degradation
    else:
        lr_cache = _lr_cache(source, lr_source)
        scale, made_by = 1, degradations.make(1)
    bicubic = degradations.make(config.scale)
    sizes = {"patch_size": config.patch_size, "batch_size": config.batch_size}
    hr = pipeline.PatchSampler(hr_cache, config.scale, bicubic, seed=config.seed, **sizes)
    # Another seed, or both would be cut at the same places.
    other = (config.seed + 2**31) % 2**32
    return UnpairedSampler(hr, pipeline.PatchSampler(lr_cache, scale, made_by, seed=other, **sizes))


def _lr_cache(source, lr_source):
    if lr_source.channels != source.channels:
        raise InputError(
            f"lr_dataset must have images of {counted(source.channels, 'channel')}, as {source.name} has. "
            f"Received: {lr_source.name} with {lr_source.channels}"
        )
    if "train" not in lr_source.splits:
        raise InputError(f"expected a train split in {lr_source.name}, found {', '.join(lr_source.splits)} alone")
    return pipeline.cache_of(lr_source, "train")


def training_data(sampler: UnpairedSampler, start: int, stop: int):
    """Returns a `tf.data.Dataset` of the batches of the steps `start` to `stop`, made ahead of their use."""
    import tensorflow as tf

    side, large = sampler.hr.patch_size, sampler.hr.patch_size * sampler.hr.scale
    count, channels = sampler.hr.batch_size, sampler.cache.channels
    shapes = [(count, n, n, channels) for n in (side, side, large)]

    def batch(step):
        found = tf.numpy_function(sampler.batch, [step], (tf.float32,) * 3, stateful=False)
        return tuple(tf.ensure_shape(x, shape) for x, shape in zip(found, shapes, strict=True))

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    steps = tf.data.Dataset.range(start, stop)
    return steps.map(batch, num_parallel_calls=2).prefetch(4).with_options(options)
