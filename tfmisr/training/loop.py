"""The training loop: one run from its configuration to `model.keras`, resumed from its last checkpoint."""

import contextlib
import copy
import pathlib
import typing

import keras
import numpy as np

from tfmisr import degradations
from tfmisr.config import Config, initial_weights
from tfmisr.data import exact_images, pipeline
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, remove_orphaned_temporaries
from tfmisr.training import (
    averaging,
    backends,
    callbacks,
    checkpoints,
    device_data,
    distribution,
    environment,
    feed,
    interruption,
    optimizers,
    processes,
    trainers,
    unpaired,
)
from tfmisr.training.run_directory import (
    holds_run,
    initialize_run_directory,
    record_resumption,
    require_same_run,
)

if typing.TYPE_CHECKING:
    from tfmisr.data.sources import Source

VALIDATION_IMAGES, VALIDATION_SIDE = 16, 192
_CALIBRATION_PATCHES = 128  # that activation ranges of quantization-aware training are measured on


def train(
    config: Config,
    source: "Source",
    until: int | None = None,
    lr_source: "Source | None" = None,
    run_class: "type[Run] | None" = None,
) -> pathlib.Path | None:
    """Trains one model or resumes its training, and writes the files of the run's directory.

    These are `config.json`, `environment.json`, `history.csv`, `checkpoints/`, `tensorboard/` and `model.keras`.

    Args:
        config: The run.
        source: Its data, a `tfmisr.data.Source`.
        until: Stop after this step, with a validation and a checkpoint, as if the run had been interrupted there.
        lr_source: Its low-resolution images, for unpaired training with a dataset of them.
        run_class: The kind of run, such as `tfmisr.training.uncertainty.HeadRun`; `Run` by default.

    Returns:
        The path of `model.keras`, the network in float32, with averaged weights if the run has them; `None` if `until`
        comes before the last step.

    Raises:
        InputError: The directory holds another run, the configuration cannot be trained, or all images are blank.
    """
    if "train" not in source.splits:
        raise InputError(
            f"expected a train split in {source.name}, found only {', '.join(source.splits)}: images of at least "
            "two patients are needed (for a folder: --patient_pattern finds the patient in a file name)"
        )
    check_backend(config)
    exact_images.require_some(source, "train", config.scale, degradations.of(config.identity()))
    if config.initial_weights:
        initial_weights.digest(config.initial_weights)  # raises if they are unreadable
    folder = config.folder
    held = holds_run(folder, config, source, lr_source)
    finished = (folder / "model.keras").is_file()
    require_same_run(config, source, lr_source, {"a run in --workdir": held, "a finished run there": finished})
    if finished:
        return folder / "model.keras"
    if processes.is_writer():
        remove_orphaned_temporaries(folder, folder / "checkpoints", folder / "evaluation")
    environment.set_seed(config.seed)
    if config.deterministic:
        environment.make_deterministic()
    keras.mixed_precision.set_dtype_policy(config.mixed_precision)
    try:
        run = (run_class or Run)(config, source, lr_source)
        if processes.is_writer():  # only now: a run that cannot start leaves nothing
            initialize_run_directory(folder, config, source, lr_source)
        return run.finish(until)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def check_backend(config: Config) -> None:
    """Checks that the Keras backend supports the run.

    Networks, losses and weight averages run on any backend, GAN trainers and distribution on TensorFlow and JAX.

    Raises:
        InputError: The run needs another `KERAS_BACKEND`.
    """
    backend = keras.backend.backend()
    if config.discriminator and backend not in backends.SUPPORTED:
        raise InputError(f"--discriminator needs KERAS_BACKEND=tensorflow or jax. Received: {backend}")
    distribution.check(config)


class Run:
    """The objects of one run, always built in the same order: initializers take their seeds in it.

    Args:
        config: The run.
        source: Its data, a `tfmisr.data.Source`.
        lr_source: Its low-resolution images, for unpaired training with a dataset of them.
    """

    def __init__(self, config: Config, source: "Source", lr_source: "Source | None" = None):
        self.config, self.folder = config, config.folder
        self.degradation = degradations.of(config.identity())
        self.sampler = self._sampler(source, lr_source)
        self.total = config.total_steps(len(self.sampler.cache))
        self.distribution = distribution.create(config)
        self.crops = self._validation(source)
        with self.distribution.scope():
            self.network = self._network(source.channels)
            self.model = self._compiled(source.channels)
            self.average = averaging.WeightAverage(self.network, config.ema_decay) if config.ema_decay else None
        self.device_data = device_data.DeviceData(self.sampler) if config.device_data else None
        if self.device_data:
            self.device_data.attach(self.model)

    def _sampler(self, source, lr_source):
        config = self.config
        if config.unpaired:
            return unpaired.sampler(config, source, lr_source, self.degradation)
        cache = pipeline.cache_of(source, "train")
        sizes = (config.patch_size, config.batch_size, config.seed)
        augmentations = ("hard_patches", "burned_in", "intensity_augmentation", "subpixel_shifts")
        shares = {name: getattr(config, name) for name in augmentations}
        return pipeline.PatchSampler(cache, config.scale, self.degradation, *sizes, **shares)

    def _network(self, channels):
        return trainers.network(self.config, channels, self._patches)

    def _compiled(self, channels):
        return trainers.compiled(self.config, self.network, channels, self.total)

    def _untrained(self):
        """Returns a network with the layers of the run's, in the present dtype policy."""
        return trainers.untrained(self.config, self.network.input_shape[-1])

    def _patches(self):
        """Returns the low-resolution patches of the first steps, then as many hard ones, such as letters."""
        samplers = [self.sampler]
        if self.config.scale > 1:
            samplers.append(copy.copy(self.sampler))
            samplers[1].hard_patches, samplers[1].burned_in = 1.0, 0.0
        steps = range(-(-_CALIBRATION_PATCHES // self.config.batch_size))
        return np.concatenate([sampler.batch(step)[0] for sampler in samplers for step in steps])

    def _validation(self, source):
        if "validation" not in source.splits:
            return None
        cache = pipeline.cache_of(source, "validation")
        replicas = self.distribution.replicas
        count = min(len(cache), max(VALIDATION_IMAGES, replicas)) // replicas * replicas
        if not count:
            return None
        crops = exact_images.validation_crops(
            cache, self.config.scale, self.degradation, count, VALIDATION_SIDE, self.config.seed
        )
        kept = len(crops[0]) // replicas * replicas if crops else 0
        return tuple(part[:kept] for part in crops) if kept else None

    def state(self) -> dict[str, list]:
        """Returns every variable that the next step depends on."""
        groups = {
            "network": self.network.variables,
            "optimizer": optimizers.variables(self.model.optimizer),
        }
        if self.config.discriminator:
            groups |= self.model.state()
        if self.average:
            groups["average"] = self.average.variables
        return groups

    def finish(self, until: int | None = None) -> pathlib.Path | None:
        """Trains the remaining steps and saves the network; with `until` before the last step, saves none.

        Returns:
            The path of `model.keras`, or `None`.
        """
        with self.distribution.training():
            start = checkpoints.restore(self.folder / "checkpoints", self.state(), _require_same_checkpoint)
        if start and processes.is_writer():
            record_resumption(self.folder, start)
        stop = min(until or self.total, self.total)
        if start:
            print(f"resuming from step {start} of {stop}")
        if start < stop:
            run_callbacks = self._callbacks(callbacks.StepCounter(start), stop)
            try:
                with self.distribution.training(), self.interrupt.deferred():
                    self._fit(start, stop, run_callbacks)
            finally:
                self.progress.close()
        if stop < self.total:
            return None
        with self.average.applied() if self.average else contextlib.nullcontext():
            return self._save() if processes.is_writer() else self.folder / "model.keras"

    def _fit(self, start, stop, run_callbacks):
        # The first and the last part of a run may be shorter than the others; the bar stays one bar.
        for first, count, steps in _parts(start, stop, self.config.save_every):
            with self.feed(first, first + count * steps) as batches:
                self.model.fit(
                    batches,
                    steps_per_epoch=steps,
                    epochs=count,
                    callbacks=callbacks.for_fit(run_callbacks, self.model),
                    validation_freq=_validation_epochs(first, count, steps, self.config, stop),
                    shuffle=False,
                    verbose=0,
                    **self._validation_data(),
                )

    def _validation_data(self):
        return feed.validation(self.crops)

    def _image_crops(self):
        """Returns the pairs of images that TensorBoard shows, and bicubic interpolation is measured on."""
        return self.crops

    def feed(self, start: int, stop: int) -> contextlib.AbstractContextManager:
        """Returns the context manager of the batches of the steps `start` to `stop`, as `fit` takes them."""
        if self.device_data:
            return self.device_data.training(start, stop)
        rows = self.distribution.rows(self.config.batch_size)
        return feed.training(self.sampler, start, stop, rows, self.config.data_workers)

    def _callbacks(self, counter, stop):
        self.progress = callbacks.Progress(counter, stop)
        checkpoint = callbacks.Checkpoints(self.folder / "checkpoints", counter, self.state())
        self.interrupt = interruption.Interrupt(checkpoint)
        scale = self.config.scale
        return [
            counter,
            *(self.device_data.callbacks if self.device_data else []),
            callbacks.DivergenceCheck(counter, self._image_crops(), scale),
            # Before the average, which restores the trained weights when the validation ends.
            callbacks.TensorBoard(self.folder / "tensorboard", counter, self.network, self._image_crops(), scale),
            *([self.average] if self.average else []),
            callbacks.History(self.folder / "history.csv", counter, self.model.optimizer),
            self.progress,
            checkpoint,
            self.interrupt,
        ]

    def _save(self) -> pathlib.Path:
        """Writes the network under the float32 policy: a file of mixed precision could not be exported."""
        keras.mixed_precision.set_dtype_policy("float32")
        network = self._untrained()
        network.set_weights(self.network.get_weights())
        path = self.folder / "model.keras"
        with atomic_write(path) as temporary:
            network.save(temporary)
        return path


def _parts(start: int, stop: int, every: int) -> list[tuple[int, int, int]]:
    """Returns first step, number of epochs and steps of an epoch of each call of `fit`.

    Epochs end at multiples of `every`, also in a run that is resumed from a step between two, and at `stop`.
    """
    first = min(-start % every, stop - start)
    whole, rest = divmod(stop - start - first, every)
    parts = [(start, 1, first), (start + first, whole, every), (stop - rest, 1, rest)]
    return [part for part in parts if part[1] and part[2]]


def _require_same_checkpoint(step):
    advice = "--workdir must be on a file system that all processes share"
    processes.require_equal({"the step of the last checkpoint": step}, advice)


def _validation_epochs(first, count, steps, config, total) -> list[int]:
    """Returns the Keras epochs, counted from 1, that end with a validation: those at `validate_every`, and the last."""
    ends = {i: first + i * steps for i in range(1, count + 1)}
    return [i for i, step in ends.items() if step % config.validate_every == 0 or step == total]


__getattr__ = renamed(__name__, claim="initialize_run_directory", is_own="holds_run")
