"""What Keras's `fit` reads: the batches of training, prefetched in the background, and the validation's crops.

With TensorFlow these are `tf.data` pipelines; with another backend a generator and arrays, for which TensorFlow is not
imported. Both give the same batches, in the order of the steps: a sampler's batch is a pure function of (seed, step).
"""

import collections
import concurrent.futures
import contextlib
import itertools
import typing
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from tfmisr.data import pipeline, workers
from tfmisr.training import unpaired

if typing.TYPE_CHECKING:
    import tensorflow as tf

THREADS, AHEAD = 2, 4  # as many as of `tfmisr.data.pipeline.training_data`


class Sampler(typing.Protocol):
    """Whatever gives the batch of a step: `tfmisr.data.pipeline.PatchSampler`, `unpaired.UnpairedSampler`."""

    def batch(self, step: int) -> tuple[np.ndarray, ...]:
        """Returns the arrays of the batch of one step, a pure function of `step`; called by several threads."""


class Rows:
    """Gives some rows of the batches of a sampler.

    The whole batch is drawn, as by one process: the random numbers of a row follow those of the rows before it.

    Args:
        sampler: The sampler.
        rows: The rows.
    """

    def __init__(self, sampler: Sampler, rows: slice):
        self.sampler, self.rows = sampler, rows

    def batch(self, step: int) -> tuple[np.ndarray, ...]:
        """Returns the rows of the batch of one step."""
        return tuple(part[self.rows] for part in self.sampler.batch(step))


@contextlib.contextmanager
def training(
    sampler: Sampler, start: int, stop: int, rows: slice = slice(None), data_workers: int = 0
) -> Iterator["tf.data.Dataset | Iterator[tuple]"]:
    """Yields the batches of the steps as Keras's `fit` takes them; ends their threads or processes afterwards.

    Args:
        sampler: Sampler of the run.
        start: First step.
        stop: Step after the last.
        rows: Rows of each batch, those of this process; with TensorFlow all, which its strategies divide themselves.
        data_workers: Processes that make the batches; 0: threads of this process.
    """
    if data_workers:
        with _by_workers(sampler, start, stop, rows, data_workers) as batches:
            yield batches
        return
    if keras.backend.backend() == "tensorflow":
        kind = unpaired if isinstance(sampler, unpaired.UnpairedSampler) else pipeline
        yield kind.training_data(sampler, start, stop)
        return
    with contextlib.closing(prefetched(Rows(sampler, rows), range(start, stop))) as batches:
        yield batches


@contextlib.contextmanager
def _by_workers(sampler, start, stop, rows, data_workers):
    opened = []

    def batches():
        opened.append(workers.WorkerBatches(sampler, start, stop, data_workers))
        yield from (tuple(part[rows] for part in batch) for batch in opened[-1])

    try:
        yield _dataset(sampler, start, batches) if keras.backend.backend() == "tensorflow" else batches()
    except Exception as error:
        # TensorFlow reports an error in a generator as one of its own, with a traceback in its message.
        failed = [each.error for each in opened if each.error is not None and each.error is not error]
        if failed:
            raise failed[0] from error
        raise
    finally:
        for each in opened:
            each.close()


def _dataset(sampler, start, batches):
    import tensorflow as tf

    signature = tuple(tf.TensorSpec(pixels.shape, tf.float32) for pixels, _ in sampler.pixels(start))
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(AHEAD).with_options(options)


def prefetched(sampler: Sampler, steps: Iterable[int]) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the batches of `steps` in order, while threads compute the next `AHEAD` of them.

    Args:
        sampler: Sampler of the run; what it raises is raised here, at its step.
        steps: The steps.
    """
    steps = iter(steps)
    with concurrent.futures.ThreadPoolExecutor(THREADS, "tfmisr-feed") as pool:
        waiting = collections.deque(pool.submit(sampler.batch, step) for step in itertools.islice(steps, AHEAD))
        try:
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(sampler.batch, step) for step in itertools.islice(steps, 1))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def validation(crops: tuple[np.ndarray, np.ndarray] | None) -> dict:
    """Returns the arguments of `fit` for a validation on all crops in one batch.

    Args:
        crops: Low- and high-resolution crops, float32 in [0, 1], `(count, height, width, channels)`; `None`: none.
    """
    if crops is None:
        return {"validation_data": None}
    if keras.backend.backend() != "tensorflow":
        return {"validation_data": crops, "validation_batch_size": len(crops[0])}
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    data = tf.data.Dataset.from_tensor_slices(crops).batch(len(crops[0]))
    return {"validation_data": data.with_options(options)}
