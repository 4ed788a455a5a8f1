"""Whether training waits for data: step time with each way of making batches, and with one batch held in memory.

The ways, whose batches are the same bit for bit: threads of this process, worker processes (`--data_workers`) and
images in device memory (`--device_data`). They and the held batch are timed in alternating blocks in one process, so
that fluctuations of the machine affect all of them; only their ratios mean anything on a shared machine. Then each way
of the host alone, in patches per second, and its processor time per patch, which other processes affect less.

    python benchmarks/pipeline.py --dataset chest_phantom --preset paper_cnn --steps 60 --rounds 5 --batches 1 16
    KERAS_BACKEND=jax python benchmarks/pipeline.py --preset paper_cnn
"""

import argparse
import contextlib
import dataclasses
import itertools
import os
import platform
import resource
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from tfmisr import config, data
from tfmisr.data import workers
from tfmisr.training import feed, loop

_WARM = 5


class Timer(keras.callbacks.Callback):
    """Measures the seconds per step of a `fit`, but for the first steps; waits for the device at both ends.

    Args:
        callbacks: Callbacks that the way of making batches needs.
    """

    def __init__(self, callbacks: list):
        super().__init__()
        self.needed, self.count = callbacks, 0

    def on_train_batch_begin(self, batch, logs=None):
        for callback in self.needed:
            callback.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        if self.count == _WARM:
            float(logs["loss"])
            self.start = time.perf_counter()
        self.last = logs["loss"]

    def seconds(self) -> float:
        """Returns the seconds per step, after the `fit`."""
        return (self.end - self.start) / (self.count - _WARM)

    def on_train_end(self, logs=None):
        float(self.last)
        self.end = time.perf_counter()


@contextlib.contextmanager
def held(sampler, steps: int):
    """Yields one batch in memory, again and again."""
    batch = sampler.batch(0)
    if keras.backend.backend() != "tensorflow":
        arrays = tuple(map(keras.ops.convert_to_tensor, batch))
        yield (arrays for _ in range(steps))
        return
    import tensorflow as tf

    yield tf.data.Dataset.from_tensors(batch).cache().repeat().prefetch(tf.data.AUTOTUNE)


def step_times(ways: dict, steps: int, rounds: int) -> dict[str, list[float]]:
    """Returns the seconds per step of each way, measured in turns.

    Args:
        ways: Name to the model, a function of the number of steps that returns its feed, and its callbacks.
        steps: Steps of each measurement.
        rounds: Measurements of each way.
    """
    times = {name: [] for name in ways}
    for round_number in range(rounds + 1):
        for name, (model, batches, callbacks) in ways.items():
            timer = Timer(callbacks)
            with batches(steps + _WARM) as own:
                model.fit(own, steps_per_epoch=steps + _WARM, epochs=1, callbacks=[timer], shuffle=False, verbose=0)
            if round_number:  # the first one compiles
                times[name].append(timer.seconds())
    return times


def ways_of(run_config, source, count: int) -> dict:
    """Returns the ways to feed a run, for `step_times`; a model for the device, and one for all others."""
    run = loop.Run(run_config, source)
    device = loop.Run(dataclasses.replace(run_config, device_data=True), source)
    own = run.sampler
    return {
        "in memory": (run.model, lambda steps: held(own, steps), []),
        "threads": (run.model, lambda steps: feed.training(own, 0, steps), []),
        f"{count} workers": (run.model, lambda steps: feed.training(own, 0, steps, data_workers=count), []),
        "device": (device.model, lambda steps: device.device_data.training(0, steps), device.device_data.callbacks),
    }


def processor_seconds() -> float:
    """Returns the processor time of this process and of its children that ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def alone(sampler, steps: int, count: int) -> tuple[float, float]:
    """Returns the patches per second without training, and the microseconds of processor time per patch.

    Args:
        sampler: Sampler of the run.
        steps: Batches to make.
        count: Number of workers; 0: this process, without threads.
    """
    used = processor_seconds()
    batches = workers.WorkerBatches(sampler, 0, steps + 16, count) if count else map(sampler.batch, itertools.count())
    for _ in range(16):
        next(batches)
    start = time.perf_counter()
    for _ in range(steps):
        next(batches)
    end = time.perf_counter()
    if count:
        batches.close()
    patches = steps * sampler.batch_size
    return patches / (end - start), 1e6 * (processor_seconds() - used) / patches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=["paper_cnn5", "paper_cnn", "paper_gan"])
    parser.add_argument("--dataset", default="chest_phantom")
    parser.add_argument("--manual_dir", nargs="+", default=())
    parser.add_argument("--data_dir")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="multiples of the preset's batch size")
    parser.add_argument("--data_workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    source = data.load(arguments.dataset, arguments.data_dir, arguments.manual_dir)
    print("| preset, batch | way | step [ms] | ratio to a batch in memory (median, range) |")
    print("|---|---|---|---|")
    samplers = {}
    for name, multiple in itertools.product(arguments.preset, arguments.batches):
        fields = {**config.preset(name), "epochs": None, "steps": 10**6}
        run_config = config.from_dict(fields, name)
        batch_size = run_config.batch_size * multiple
        with tempfile.TemporaryDirectory() as folder:
            run_config = dataclasses.replace(run_config, workdir=folder, batch_size=batch_size)
            times = step_times(ways_of(run_config, source, arguments.data_workers), arguments.steps, arguments.rounds)
            samplers[batch_size] = loop.Run(run_config, source).sampler
        for way, own in times.items():
            ratios = sorted(a / b for a, b in zip(own, times["in memory"], strict=True))
            print(
                f"| {name}, {batch_size} | {way} | {1e3 * statistics.median(own):.1f} "
                f"| {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) |", flush=True
            )  # fmt: skip
    print("\n| batch | workers | patches/s alone (median) | ratio to none | processor time per patch [us] |")
    print("|---|---|---|---|---|")
    counts = sorted({0, 1, arguments.data_workers})
    for batch_size, sampler in samplers.items():
        steps = max(20_000 // batch_size, 20)
        rounds = [[alone(sampler, steps, count) for count in counts] for _ in range(arguments.rounds)]
        for i, count in enumerate(counts):
            rate, cost = (statistics.median(each[i][k] for each in rounds) for k in (0, 1))
            ratio = statistics.median(each[i][0] / each[0][0] for each in rounds)
            print(f"| {batch_size} | {count} | {rate:,.0f} | {ratio:.2f} | {cost:.1f} |", flush=True)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    backend = keras.backend.backend()
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, load average {load}; {backend}; {source.name}")


if __name__ == "__main__":
    main()
