"""Trains an uncertainty head: quantile regression on the errors that a frozen model makes of the training images.

The run is one of `tfmisr.training.loop`, with its checkpoints, its history and its resumption; sampler, network and
loss are others. Beside `model.keras` it leaves what `python -m tfmisr.export` needs to pack the head: `head.json` and
`calibration.npz`, inputs of the first steps, on which the ranges of the int8 file are measured.
"""

import contextlib
import functools
import json
import pathlib
import typing
from collections.abc import Iterator

import keras
import numpy as np

from tfmisr.config import Config, initial_weights
from tfmisr.data import pipeline
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, write_text
from tfmisr.edge.upscaler import Upscaler
from tfmisr.training import feed, loop, optimizers, processes, uncertainty_network
from tfmisr.training.uncertainty_data import HeadSampler, Results, central_patches

if typing.TYPE_CHECKING:
    from tfmisr.data.sources import Source

DESCRIPTION, CALIBRATION = "head.json", "calibration.npz"
_VALIDATION_IMAGES, _VALIDATION_SIDE = 32, 48
_CALIBRATION_PATCHES = 256


def train(config: Config, source: "Source", upscaler: Upscaler, until: int | None = None) -> pathlib.Path | None:
    """Trains an uncertainty head or resumes its training; see `tfmisr.training.loop.train`.

    Args:
        config: The run.
        source: Its data.
        upscaler: The model that `config.uncertainty` names.
        until: Stop after this step, as if the run had been interrupted there.

    Returns:
        The path of the head's `model.keras`; `None` if `until` comes before the last step.

    Raises:
        InputError: The model is no network, or is one of another scale or number of channels.
    """
    if upscaler.channels is None:
        raise InputError(f"expected a model with weights for --uncertainty. Received: {upscaler.name}")
    for name, given in (("scale", config.scale), ("channels", source.channels)):
        if getattr(upscaler, name) != given:
            raise InputError(f"expected {name} {getattr(upscaler, name)}, that of {upscaler.name}. Received: {given}")
    return loop.train(config, source, until, run_class=functools.partial(HeadRun, upscaler=upscaler))


class HeadRun(loop.Run):
    """The run of an uncertainty head.

    Args:
        config: The run.
        source: Its data.
        lr_source: Always `None`.
        upscaler: The frozen model.
    """

    def __init__(self, config: Config, source: "Source", lr_source: None, upscaler: Upscaler):
        self.upscaler = upscaler
        super().__init__(config, source, lr_source)

    def _sampler(self, source, lr_source):
        config = self.config
        results = Results(source, "train", self.upscaler, config.scale, self.degradation)
        return HeadSampler(
            results, config.scale, config.patch_size, config.batch_size, config.seed, config.hard_patches
        )

    def _validation(self, source):
        if "validation" not in source.splits:
            return None
        cache = pipeline.cache_of(source, "validation")
        return central_patches(
            cache, self.upscaler, self.sampler, self.degradation, _VALIDATION_IMAGES, _VALIDATION_SIDE
        )

    def _network(self, channels):
        return uncertainty_network.build(self.config.scale, channels)

    def _untrained(self):
        return uncertainty_network.build(self.config.scale, self.upscaler.channels)

    def _compiled(self, channels):
        optimizer = optimizers.create(self.config, self.total, self.config.learning_rate)
        jit_compile = self.config.jit_compile or keras.backend.backend() == "jax"
        metrics = [uncertainty_network.coverage]
        self.network.compile(optimizer, uncertainty_network.PinballLoss(), metrics=metrics, jit_compile=jit_compile)
        optimizer.build(self.network.trainable_variables)
        return self.network

    def _validation_data(self):
        if self.crops is None:
            return {"validation_data": None}
        return {"validation_data": self.crops, "validation_batch_size": len(self.crops[1])}

    def _image_crops(self):
        return None  # the head makes no image

    @contextlib.contextmanager
    def feed(self, start: int, stop: int) -> Iterator[Iterator[tuple]]:
        """Yields the batches of the steps, prefetched in the background, with any backend."""
        with contextlib.closing(feed.prefetched(self.sampler, range(start, stop))) as batches:
            yield batches

    def _save(self) -> pathlib.Path:
        if processes.is_writer():
            self._describe()
        return super()._save()

    def _describe(self):
        sampler, config = self.sampler, self.config
        described = {
            "model": self.upscaler.name,
            "weights_sha256": self.upscaler.weights_sha256,
            "is_tflite": initial_weights.path_of(config.uncertainty).suffix == ".tflite",
            "scale": config.scale,
            "channels": self.upscaler.channels,
            "radius": uncertainty_network.RADIUS,
            "log_range": uncertainty_network.LOG_RANGE,
            "parameters": self.network.count_params(),
            "consistency": self.upscaler.consistency,
            "quantile": uncertainty_network.QUANTILE,
            "context": {"mean": sampler.mean.tolist(), "deviation": sampler.deviation.tolist()},
            "training": {"images": len(sampler.cache), "patients": len(np.unique(sampler.cache.patients))},
        }
        write_text(self.folder / DESCRIPTION, json.dumps(described, indent=2) + "\n")
        batches = [sampler.batch(step)[0] for step in range(-(-_CALIBRATION_PATCHES // config.batch_size))]
        patches, context = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        with atomic_write(self.folder / CALIBRATION) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, patches=patches.astype(np.float16), context=context)
