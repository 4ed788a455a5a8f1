"""Pairs of LR and HR images as a `tf.data.Dataset`, for a user's own Keras training loop."""

import os
import typing
from collections.abc import Iterable

import numpy as np

from tfmisr import degradations
from tfmisr.data import pipeline, sources
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import tensorflow as tf


def pairs(
    dataset: str | os.PathLike | None = None,
    split: str = "train",
    scale: int = 4,
    *,
    batch_size: int = 16,
    patch_size: int | None = 24,
    steps: int | None = None,
    degradation: str | degradations.Degradation = "bicubic",
    augment: bool = True,
    hard_patches: float = 0.0,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    manual_dir: Iterable[str | os.PathLike] = (),
    patient_pattern: str | None = None,
) -> "tf.data.Dataset":
    """Returns pairs of LR and HR images for a custom training loop; the first call prepares the dataset.

    Args:
        dataset: Name or folder of images; see `builder`. `None`: the built-in phantom.
        split: `train`, `validation` or `test`; these are disjoint by patient.
        scale: Upsampling factor.
        batch_size: Patches per batch; full images always come in batches of one.
        patch_size: Side of an LR patch in pixels. `None`: full images, each once.
        steps: Number of batches of patches. `None`: infinite, for `fit(..., steps_per_epoch=...)`, where each Keras
            epoch gets new patches; with a number, each epoch gets the same `steps` batches.
        degradation: Degradation model that generates LR: a text as in `--degradation` of `python -m tfmisr.fit`, or
            what `tfmisr.degradations.make` returns for this scale.
        augment: Apply a random dihedral transform (flip, rotation by multiples of 90 degrees) to each patch.
        hard_patches: Hard-example mining: fraction of the patches whose position is sampled in proportion to the
            bicubic interpolation error.
        seed: Seed of all random draws: the batches are the same for the same seed.
        data_dir: Folder of prepared datasets; that of TFDS by default.
        manual_dir: Folders with the dataset's source files.
        patient_pattern: For a folder of images: regular expression with one group, the patient identifier in a file
            name.

    Returns:
        `tf.data.Dataset` of float32 tensors `(batch, height, width, channels)` in [0, 1], HR `scale` times as large.

    Raises:
        InputError: No such dataset, split or degradation, or an image is smaller than a patch.
    """
    for name, value in (("scale", scale), ("batch_size", batch_size), ("patch_size", patch_size), ("steps", steps)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
            raise InputError(f"{name} must be a whole number, 1 or more. Received: {value!r}")
    if isinstance(degradation, str):
        degradation = degradations.make(degradation, scale=scale)
    elif (factor := next((step.scale for step in degradation.steps if hasattr(step, "scale")), scale)) != scale:
        raise InputError(f"the degradation reduces {factor} times. Received: scale={scale}")
    source = sources.load(None if dataset is None else os.fspath(dataset), data_dir, manual_dir, patient_pattern)
    cache = pipeline.cache_of(source, split)
    if patch_size is None:
        if steps is not None:
            raise InputError(f"steps counts batches of patches; full images come once each. Received: {steps}")
        return pipeline.whole_images(cache, scale, degradation, seed)
    sampler = pipeline.PatchSampler(
        cache, scale, degradation, patch_size, batch_size, seed, augment=augment, hard_patches=hard_patches
    )
    return pipeline.training_data(sampler, 0, steps)
