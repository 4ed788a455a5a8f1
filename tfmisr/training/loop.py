"""One training run from its configuration to `model.keras`, going on where an earlier one stopped."""

import contextlib
import json
import pathlib
import platform

import keras
import numpy as np
import tensorflow as tf

import tfmisr
from tfmisr import cli, degradations
from tfmisr.config.fields import EARLIER_DEFAULTS, Config
from tfmisr.data import exact_images, pipeline
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, remove_orphaned_temporaries, write_text
from tfmisr.training import averaging, callbacks, checkpoints, initial, optimizers, trainers, unpaired

VALIDATION_IMAGES, VALIDATION_SIDE = 16, 192
_PATCHES = 128  # that show how far the channels reach


def train(config: Config, source, until: int | None = None, lr_source=None) -> pathlib.Path | None:
    """Trains one model, or goes on with it, and writes what house.md promises of a run's folder.

    Args:
        config: The run.
        source: Its data, a `tfmisr.data.Source`.
        until: Stop after this step, validated and with a checkpoint, as if the run had been interrupted there.
        lr_source: Its low-resolution images, where it is unpaired and has a dataset of them.

    Returns:
        The path of `model.keras`, the network in float32, with averaged weights where the run has some; `None`
        where `until` comes before the run's end.

    Raises:
        InputError: The folder holds another run, or cannot be trained as asked, or the images are all blank.
    """
    if "train" not in source.splits:
        raise InputError(
            f"expected a train split in {source.name}, found {', '.join(source.splits)} alone: images of at least "
            "two patients are needed (for a folder: --patient_pattern says which files are one patient's)"
        )
    check_backend(config)
    exact_images.require_some(source, "train", config.scale, degradations.of(config.identity()))
    if config.initial_weights:
        initial.digest(config.initial_weights)  # refuses what are no weights
    folder = config.folder
    is_own(folder, config, source, lr_source)
    if (folder / "model.keras").is_file():
        return folder / "model.keras"
    remove_orphaned_temporaries(folder, folder / "checkpoints", folder / "evaluation")
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_dtype_policy(config.mixed_precision)
    try:
        run = Run(config, source, lr_source)
        claim(folder, config, source, lr_source)  # only now: a run that cannot begin leaves nothing
        return run.finish(until)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def check_backend(config):
    """Raises an `InputError` where Keras computes with another library than TensorFlow and that is not enough.

    The networks, losses and averages are written for any; the trainers of GANs and the strategies are TensorFlow's.
    """
    backend = keras.backend.backend()
    for field, least in (("discriminator", None), ("distribute", "none")):
        if backend != "tensorflow" and getattr(config, field) != least:
            raise InputError(f"--{field} needs KERAS_BACKEND=tensorflow. Received: {backend}")


def claim(folder: pathlib.Path, config: Config, source, lr_source=None) -> None:
    """Makes the folder this run's, with `config.json` and `environment.json`, or finds that it is already.

    Raises:
        InputError: The folder belongs to a run of another configuration, or to other data.
    """
    if is_own(folder, config, source, lr_source):
        return
    cli.require_writable(folder)
    environment = _inputs(config, source, lr_source) | {
        "tfmisr": tfmisr.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "machine": platform.machine(),
        "devices": [device.device_type for device in tf.config.list_physical_devices()],
    }
    write_text(folder / "environment.json", json.dumps(environment, indent=2) + "\n")
    write_text(folder / "config.json", config.to_json())


def is_own(folder: pathlib.Path, config: Config, source, lr_source=None) -> bool:
    """Returns whether a folder holds this run already; one in which nothing was trained yet is free for any.

    Raises:
        InputError: It holds a run of another configuration, or of other data.
    """
    trained = any((folder / "checkpoints").glob("step-*.npz")) or (folder / "model.keras").exists()
    if trained and not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds a run without its config.json; choose another --workdir")
    if trained:
        identity = json.loads(json.dumps(config.identity()))
        _compare(folder, "config.json", identity, {**json.loads(Config().to_json()), **EARLIER_DEFAULTS})
        _compare(folder, "environment.json", _inputs(config, source, lr_source), {})
    return trained


def _inputs(config, source, lr_source):
    return {
        "data": _data(source),
        "lr_data": _data(lr_source) if lr_source else None,
        "initial_weights": initial.digest(config.initial_weights) if config.initial_weights else None,
    }


def _data(source) -> dict:
    sizes = {split: source.builder.info.splits[split].num_examples for split in source.builder.info.splits}
    return {"dataset": source.name, "prepared": source.folder.parent.name, "images": sizes}


def _compare(folder, name, expected, defaults):
    try:
        # A field that came after the run was made has in it what was done then.
        found = {**defaults, **json.loads((folder / name).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / name} cannot be read ({error}); choose another --workdir") from error
    differing = [key for key in expected if found.get(key) != expected[key]]
    if differing:
        key = differing[0]
        more = f" and {len(differing) - 1} more fields" if len(differing) > 1 else ""
        raise InputError(
            f"{folder} holds a run of another configuration: {key} is {found.get(key)!r} there and "
            f"{expected[key]!r} here{more}; choose another --workdir or delete it"
        )


class Run:
    """The objects of one run, built in the same order each time."""

    def __init__(self, config, source, lr_source=None):
        self.config, self.folder = config, config.folder
        self.degradation = degradations.of(config.identity())
        self.sampler, self.training_data = self._sampling(source, lr_source)
        self.total = config.total_steps(len(self.sampler.cache))
        self.strategy = _strategy(config)
        self.crops = self._validation(source)
        with self.strategy.scope():
            self.network = trainers.network(config, source.channels, self._patches)
            self.model = trainers.compiled(config, self.network, source.channels, self.total)
            self.average = averaging.WeightAverage(self.network, config.ema_decay) if config.ema_decay else None

    def _sampling(self, source, lr_source):
        config = self.config
        if config.unpaired:
            return unpaired.sampler(config, source, lr_source, self.degradation), unpaired.training_data
        cache = pipeline.cache_of(source, "train")
        sizes = (config.patch_size, config.batch_size, config.seed)
        sampler = pipeline.PatchSampler(cache, config.scale, self.degradation, *sizes, hard_patches=config.hard_patches)
        return sampler, pipeline.training_data

    def _patches(self):
        """Returns the low-resolution patches of the first steps."""
        return np.concatenate([self.sampler.batch(step)[0] for step in range(-(-_PATCHES // self.config.batch_size))])

    def _validation(self, source):
        if "validation" not in source.splits:
            return None
        cache = pipeline.cache_of(source, "validation")
        replicas = self.strategy.num_replicas_in_sync
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
        """Does the steps that are left and writes the network, or those up to `until` and no network."""
        start = checkpoints.restore(self.folder / "checkpoints", self.state())
        stop = min(until or self.total, self.total)
        if start:
            print(f"going on from step {start} of {stop}")
        if start < stop:
            watchers = self._watchers(callbacks.Clock(start), stop)
            try:
                with self.interrupt.deferred():
                    self._fit(start, stop, watchers)
            finally:
                self.progress.close()
        if stop < self.total:
            return None
        with self.average.applied() if self.average else contextlib.nullcontext():
            return self._save()

    def _fit(self, start, stop, watchers):
        every = self.config.save_every
        data = self.training_data(self.sampler, start, stop)
        whole, rest = divmod(stop - start, every)
        # The last part of a run may be shorter than the others; the bar stays one bar.
        for first, count, steps in ((start, whole, every), (stop - rest, min(rest, 1), rest)):
            if not count:
                continue
            part = data if first == start else self.training_data(self.sampler, first, stop)
            self.model.fit(
                part,
                steps_per_epoch=steps,
                epochs=count,
                callbacks=watchers,
                validation_data=self._validation_data(),
                validation_freq=_validation_epochs(first, count, steps, self.config, stop),
                shuffle=False,
                verbose=0,
            )

    def _validation_data(self):
        if self.crops is None:
            return None
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        data = tf.data.Dataset.from_tensor_slices(self.crops).batch(len(self.crops[0]))
        return data.with_options(options)

    def _watchers(self, clock, stop):
        self.progress = callbacks.Progress(clock, stop)
        self.interrupt = callbacks.Interrupt()
        scale = self.config.scale
        return [
            clock,
            callbacks.StopAtNaN(clock),
            # Before the average, which takes itself out of the network when the validation ends.
            callbacks.TensorBoard(self.folder / "tensorboard", clock, self.network, self.crops, scale),
            *([self.average] if self.average else []),
            callbacks.History(self.folder / "history.csv", clock, self.model.optimizer),
            self.progress,
            callbacks.Checkpoints(self.folder / "checkpoints", clock, self.state()),
            self.interrupt,
        ]

    def _save(self) -> pathlib.Path:
        """Writes the network under the float32 policy: a file of mixed precision could not be exported."""
        keras.mixed_precision.set_dtype_policy("float32")
        network = trainers.untrained(self.config, self.network.input_shape[-1])
        network.set_weights(self.network.get_weights())
        path = self.folder / "model.keras"
        with atomic_write(path) as temporary:
            network.save(temporary)
        return path


def _validation_epochs(first, count, steps, config, total) -> list[int]:
    """Returns the parts, counted from 1, after which the run is validated: every so often and at its end."""
    ends = {i: first + i * steps for i in range(1, count + 1)}
    return [i for i, step in ends.items() if step % config.validate_every == 0 or step == total]


def _strategy(config: Config):
    if config.distribute == "none":
        return tf.distribute.get_strategy()
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    if config.batch_size % len(devices):
        raise InputError(f"batch_size must be a multiple of the {len(devices)} devices. Received: {config.batch_size}")
    return tf.distribute.MirroredStrategy(devices)
