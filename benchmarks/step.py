"""Throughput of a training step as a fraction of the processor's peak (roofline).

Measures the peak first, in multiply-adds per second of a large matrix product in float32 and in bfloat16 and of a
convolution like those of the networks; then training steps with each dtype policy, with and without XLA, for several
batch shapes; and the time in which the pipeline makes a batch. A training step counts three times the multiply-adds of
the network: the forward pass, and the backward pass for features and weights. Medians of interleaved rounds; only
ratios are comparable between machines.

    python benchmarks/step.py --model plain/best --scale 4 --threads 1
"""

import argparse
import os
import pathlib
import platform
import statistics
import time

SHARED = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data"
POLICIES = ("float32", "mixed_bfloat16")
SHAPES = ((4, 48), (8, 48), (16, 24))  # patches of a step, and their side in LR pixels


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="plain/best")
    parser.add_argument("--scale", type=int, default=4, choices=[2, 3, 4, 8])
    parser.add_argument("--optimizer", default="muon", choices=["adam", "sgd", "muon"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", nargs="+", default=[str(SHARED / "ChestX-ray14-512")], help="folders of the archive")
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    return parser


def seconds_per_call(calls: dict, rounds: int) -> dict[str, float]:
    """Returns name to seconds per call, the median of interleaved rounds."""
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def peak_throughput(rounds: int) -> dict[str, float]:
    """Returns the peak of the processor: name to multiply-adds per second."""
    import tensorflow as tf

    calls, work = {}, {}
    for dtype in (tf.float32, tf.bfloat16):
        a, b = (tf.cast(tf.random.normal((2048, 2048)), dtype) for _ in range(2))
        image, kernel = (tf.cast(tf.random.normal(s), dtype) for s in ((4, 96, 96, 64), (3, 3, 64, 64)))
        product, conv = tf.function(tf.matmul), tf.function(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"))
        calls[f"matrix product, {dtype.name}"] = lambda product=product, a=a, b=b: product(a, b)
        calls[f"convolution 64 to 64, {dtype.name}"] = lambda conv=conv, x=image, k=kernel: conv(x, k)
        work |= {f"matrix product, {dtype.name}": 2048**3, f"convolution 64 to 64, {dtype.name}": 4 * 96**2 * 9 * 64**2}
    return {name: work[name] / seconds for name, seconds in seconds_per_call(calls, rounds).items()}


def step_of(arguments, policy: str, shape, jit_compile: bool):
    """Returns a function that trains one step, and the multiply-adds that it counts."""
    import keras
    import numpy as np

    from tfmisr import config, models
    from tfmisr.models import _cost
    from tfmisr.training import trainers

    batch, side = shape
    fields = {"model": arguments.model, "scale": arguments.scale, "optimizer": arguments.optimizer}
    run = config.Config(**fields, jit_compile=jit_compile, deterministic=False)
    keras.mixed_precision.set_dtype_policy(policy)
    network = models.create(arguments.model, arguments.scale, 1)
    model = trainers.compiled(run, network, 1, 1000)
    keras.mixed_precision.set_dtype_policy("float32")
    lr = np.random.default_rng(0).random((batch, side, side, 1), np.float32)
    hr = np.random.default_rng(1).random((batch, arguments.scale * side, arguments.scale * side, 1), np.float32)
    return lambda: model.train_on_batch(lr, hr), 3 * batch * _cost.multiply_adds(network, side, side)


def pipeline_seconds(arguments, shape) -> float:
    """Returns the seconds in which one thread makes a batch."""
    from tfmisr import data, degradations
    from tfmisr.data import pipeline

    source = data.load("chest_xray14/512", arguments.data_dir, tuple(arguments.data))
    fields = {"degradation": "bicubic", "blur_sigma": 0.0, "noise_std": 0.0, "quantize_lr": True}
    degradation = degradations.of({**fields, "scale": arguments.scale})
    cache = pipeline.cache_of(source, "train")
    sampler = pipeline.PatchSampler(cache, arguments.scale, degradation, shape[1], shape[0], hard_patches=0.5)
    for step in range(200):
        sampler.batch(step)
    start = time.perf_counter()
    for step in range(200):  # again: hard-example mining has the losses of all images now, as in a long run
        sampler.batch(step)
    return (time.perf_counter() - start) / 200


def main(argv=None) -> int:
    arguments = make_parser().parse_args(argv)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    peaks = peak_throughput(3 * arguments.rounds)
    print(f"{platform.machine()}, {arguments.threads} threads\n\n| peak | GMAC/s |\n|---|---:|")
    for name, rate in peaks.items():
        print(f"| {name} | {rate / 1e9:.0f} |")
    print("\n| step of " + arguments.model + " | ms | GMAC/s | of the convolution's peak | pipeline, one thread, ms |")
    print("|---|---:|---:|---:|---:|")
    for shape in SHAPES:
        pipeline = pipeline_seconds(arguments, shape)
        steps = {(p, xla): step_of(arguments, p, shape, xla) for p in POLICIES for xla in (False, True)}
        seconds = seconds_per_call({key: step for key, (step, _) in steps.items()}, arguments.rounds)
        for (policy, xla), taken in seconds.items():
            rate = steps[policy, xla][1] / taken
            best = peaks[f"convolution 64 to 64, {'float32' if policy == 'float32' else 'bfloat16'}"]
            name = f"{shape[0]} patches of {shape[1]}x{shape[1]}, {policy}{', XLA' if xla else ''}"
            print(
                f"| {name} | {1e3 * taken:.0f} | {rate / 1e9:.0f} | {rate / best:.0%} | {1e3 * pipeline:.1f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    from tfmisr import cli

    cli.run(main)
