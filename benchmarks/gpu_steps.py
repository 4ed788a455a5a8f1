"""Training steps of the shipped networks and of the paper's GAN: time, share of the device's peak, wait for the feed.

Steps are timed through `fit`, as a run trains, once with a batch that lies in the device's memory and once with the
run's own pipeline, in turn; the difference is the wait for the feed. Work of a step, in multiply-adds: three times
those of the network (the forward pass, the backward pass for features and for weights). A GAN adds seven times those of
the discriminator: two forward passes, a backward pass of features for the generator, and four for its own weights.
"""

import contextlib
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import gpu_device
import keras
import numpy as np

from tfmisr import config
from tfmisr.config import Config
from tfmisr.models import _cost, discriminators
from tfmisr.training import trainers

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# Row to preset. The generator alone: the network of `perceptual_x4` with a pixel loss.
PRESETS = {
    "fast_x2": "fast_x2",
    "fast_x4": "fast_x4",
    "best_x2": "best_x2",
    "best_x4": "best_x4",
    "perceptual_x4 generator": "perceptual_x4",
    "paper_gan": "paper_gan",
}
# Smallest sizes of the same structure, for tests and --quick.
TINY = {"patch_size": 12, "batch_size": 2}


@dataclasses.dataclass(frozen=True)
class Row:
    """What one row of the table measures.

    Args:
        name: Key of `PRESETS`.
        dtype: Key of `POLICIES`.
        batch: Patches of a step; 0: those of the preset.
        xla: Compile with XLA; JAX always does.
        tiny: Small patches and a small network.
    """

    name: str
    dtype: str
    batch: int = 0
    xla: bool = True
    tiny: bool = False


def config_of(row: Row, workdir: str) -> Config:
    """Returns the run that a row times."""
    fields = dict(config.preset(PRESETS[row.name]))
    if row.name.endswith("generator"):
        fields.pop("discriminator")
    if row.tiny:
        fields |= TINY | ({"model": "plain/num_filters=8,num_layers=3"} if "plain" in fields["model"] else {})
    fields |= {"batch_size": row.batch} if row.batch else {}
    fields |= {"mixed_precision": POLICIES[row.dtype], "epochs": None, "steps": 10**6, "workdir": workdir}
    return config.from_dict({**fields, "jit_compile": row.xla, "deterministic": False}, row.name)


def batch_of(run: Config, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns a random batch of a run: low and high resolution, float32 in [0, 1], one channel."""
    rng, side = np.random.default_rng(seed), run.patch_size
    lr = rng.random((run.batch_size, side, side, 1), np.float32)
    return lr, rng.random((run.batch_size, run.scale * side, run.scale * side, 1), np.float32)


def multiply_adds(run: Config, network: keras.Model) -> int:
    """Returns the multiply-adds of a training step; see the module."""
    work = 3 * _cost.multiply_adds(network, run.patch_size, run.patch_size)
    if run.discriminator:
        side = run.scale * run.patch_size
        work += 7 * _cost.multiply_adds(discriminators.create(run.discriminator, 1), side, side)
    return work * run.batch_size


def held(batch: tuple) -> Iterable:
    """Returns an endless feed of one batch that lies in the device's memory."""
    if gpu_device.BACKEND == "jax":
        return _endless(tuple(map(gpu_device.on_device, batch)))
    import tensorflow as tf

    return tf.data.Dataset.from_tensors(batch).cache().repeat().prefetch(tf.data.AUTOTUNE)


def _endless(batch):
    while True:
        yield batch


class _Times(keras.callbacks.Callback):
    """Times epochs; their logs are numbers, so the device has done its steps. Reads each step's loss if asked to."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        float(logs["loss"])
        self.seconds.append(time.perf_counter() - self.start)


class _Reads(keras.callbacks.Callback):
    """Reads the loss of each step, as the callbacks of a run do: the host waits for the device."""

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])


def seconds_per_step(
    model: keras.Model, feed: Iterable, steps: int, reads_loss: bool = False, of_feed: Sequence = ()
) -> float:
    """Returns the seconds of a step, the mean of the second of two epochs of `steps` steps.

    Args:
        model: The compiled model.
        feed: Its batches.
        steps: Steps of an epoch.
        reads_loss: Read the loss of each step.
        of_feed: Callbacks that the feed needs.
    """
    times = _Times()
    callbacks = [times, *of_feed, *([_Reads()] if reads_loss else [])]
    model.fit(feed, steps_per_epoch=steps, epochs=2, callbacks=callbacks, shuffle=False, verbose=0)
    return times.seconds[-1] / steps


def steps_for(model: keras.Model, feed: Iterable, least: float, of_feed: Sequence = ()) -> tuple[int, float]:
    """Compiles the step; returns how many steps take about `least` seconds, and the seconds of the compilation."""
    start = time.perf_counter()
    seconds_per_step(model, feed, 1, of_feed=of_feed)
    compilation = time.perf_counter() - start
    return max(2, round(least / seconds_per_step(model, feed, 2, of_feed=of_feed))), compilation


@contextlib.contextmanager
def policy_of(run: Config) -> Iterator[None]:
    """Sets the dtype policy of a run while the block runs."""
    keras.mixed_precision.set_dtype_policy(run.mixed_precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def build(run: Config) -> tuple[keras.Model, keras.Model]:
    """Returns the network and the compiled model of a run, of one channel and with its dtype policy."""
    with policy_of(run):
        network = trainers.network(run, 1, lambda: batch_of(run)[0])
        return network, trainers.compiled(run, network, 1, 10**6)


def measure(row: Row, peaks: dict, least: float, rounds: int, open_feed: Callable | None = None) -> dict:
    """Times a row's step.

    Args:
        row: What to time.
        peaks: Of `gpu_device.peaks`.
        least: Seconds of a round.
        rounds: Rounds; the median is taken.
        open_feed: Function from a run to a context manager of its pipeline's endless feed, or `None` without images.

    Returns:
        The figures by name; times in milliseconds.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        run = config_of(row, folder)
        network, model = build(run)
        work = multiply_adds(run, network)
        in_memory = held(batch_of(run))
        steps, compilation = steps_for(model, in_memory, least)
        feed = stack.enter_context(open_feed(run)) if open_feed else None
        times = [_round(model, in_memory, feed, steps) for _ in range(rounds)]
        return {
            **dataclasses.asdict(row),
            **_figures(run, network, work, times, peaks),
            "compilation_s": compilation,
            "steps": steps,
        }


def _round(model, in_memory, feed, steps) -> tuple:
    """Returns the seconds of a step with the batch in memory, the same with its loss read, and with the pipeline."""
    alone = seconds_per_step(model, in_memory, steps)
    return (
        alone,
        seconds_per_step(model, in_memory, steps, reads_loss=True),
        seconds_per_step(model, feed, steps) if feed is not None else None,
    )


def _figures(run, network, work, times, peaks) -> dict:
    seconds, synchronized, fed = (
        None if None in part else statistics.median(part) for part in zip(*times, strict=True)
    )
    dtype = {policy: dtype for dtype, policy in POLICIES.items()}[run.mixed_precision]
    rate = work / seconds
    waits = [1 - memory / pipeline for memory, _, pipeline in times if pipeline]
    return {
        "batch": run.batch_size,
        "patch_size": run.patch_size,
        "scale": run.scale,
        "parameters": network.count_params(),
        "step_ms": 1e3 * seconds,
        "step_reading_loss_ms": 1e3 * synchronized,
        "step_fed_ms": 1e3 * fed if fed else None,
        "pipeline_wait": max(0.0, statistics.median(waits)) if waits else None,
        "images_per_s": run.batch_size / seconds,
        "gmac_per_s": rate / 1e9,
        "of_convolution_peak": rate / peaks[dtype]["convolution"],
        "of_matmul_peak": rate / peaks[dtype]["matmul"],
        "memory_mib": gpu_device.memory_mib(),
    }
