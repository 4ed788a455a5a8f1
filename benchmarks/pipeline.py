"""Whether training waits for data: step time with the real pipeline and with one batch held in memory.

The two are timed in alternating blocks in one process, so that fluctuations of the machine affect both. Also prints the
throughput of the pipeline alone in patches per second.

    python benchmarks/pipeline.py --dataset chest_phantom --preset paper_cnn --steps 60 --rounds 5
"""

import argparse
import dataclasses
import os
import platform
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tfmisr import config, data
from tfmisr.data import pipeline
from tfmisr.training import loop


def seconds(model, iterator, steps: int) -> float:
    """Returns the mean seconds per step."""
    start = time.perf_counter()
    for _ in range(steps):
        logs = model.train_function(iterator)
    float(logs["loss"])  # waits for the device
    return (time.perf_counter() - start) / steps


def pipeline_throughput(sampler, steps: int) -> float:
    """Returns the patches per second of the pipeline without training."""
    batches = iter(pipeline.training_data(sampler, 0, steps + 8))
    for _ in range(8):
        next(batches)
    start = time.perf_counter()
    for _ in range(steps):
        next(batches)
    return steps * sampler.batch_size / (time.perf_counter() - start)


def measure(run_config, source, steps: int, rounds: int) -> tuple[list[float], list[float], float]:
    """Returns seconds per step with the pipeline and with a held batch, and the pipeline's patches per second."""
    import tensorflow as tf

    run = loop.Run(run_config, source)
    run.model.make_train_function()
    real = iter(pipeline.training_data(run.sampler, 0, 10**9))
    held = tf.data.Dataset.from_tensors(next(real)).cache().repeat()
    held = iter(held.prefetch(tf.data.AUTOTUNE))
    for iterator in (real, held):
        seconds(run.model, iterator, 5)
    times = [(seconds(run.model, real, steps), seconds(run.model, held, steps)) for _ in range(rounds)]
    return *map(list, zip(*times, strict=True)), pipeline_throughput(run.sampler, 500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=["paper_cnn5", "paper_cnn", "paper_gan"])
    parser.add_argument("--dataset", default="chest_phantom")
    parser.add_argument("--manual_dir", nargs="+", default=())
    parser.add_argument("--data_dir")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    source = data.load(arguments.dataset, arguments.data_dir, arguments.manual_dir)
    print("| preset | step [ms], pipeline | step [ms], batch in memory | ratio (median, range) | patches/s alone |")
    print("|---|---|---|---|---|")
    for name in arguments.preset:
        run_config = config.from_dict({**config.preset(name), "epochs": None, "steps": 10**6}, name)
        with tempfile.TemporaryDirectory() as folder:
            run_config = dataclasses.replace(run_config, workdir=folder)
            real, held, rate = measure(run_config, source, arguments.steps, arguments.rounds)
        ratios = sorted(a / b for a, b in zip(real, held, strict=True))
        print(
            f"| {name} | {1e3 * statistics.median(real):.1f} | {1e3 * statistics.median(held):.1f} "
            f"| {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) | {rate:,.0f} |"
        )
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, {source.name}")


if __name__ == "__main__":
    main()
