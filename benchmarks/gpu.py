"""Speed of training on a GPU, then training for a number of minutes: with TensorFlow or with JAX alone.

Without `--train` it measures the device's peaks and then the training steps of the shipped networks and of the paper's
GAN (`gpu_steps.py`), in float32, bfloat16 and float16, with the preset's batch and a larger one; with TensorFlow with
and without XLA, which JAX always uses. `--train` trains presets for `--minutes` (`gpu_train.py`).

    KERAS_BACKEND=jax python benchmarks/gpu.py --output runs/gpu
    KERAS_BACKEND=jax python benchmarks/gpu.py --train best_x4 --minutes 8 --cache pixels --output runs/gpu
    KERAS_BACKEND=jax python benchmarks/gpu.py --train paper_cnn paper_gan --steps 20000 --cache pixels

Everything goes under `--output`, by default the folder that the variable OUT names: figures.json, written after each
row, so that a run that is stopped leaves what it had. `--quick` shows on a CPU that all of it works; its numbers mean
nothing. `benchmarks/pack_gpu.py` packs what a machine without network access needs.
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

_HEADER = (
    "| network | dtype | XLA | batch | step [ms] | images/s | of convolution peak | of matmul peak "
    "| reading the loss [ms] | wait for the pipeline | peak memory so far [MiB] |\n"
    "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(os.environ.get("OUT") or "runs/gpu"))
    parser.add_argument("--quick", action="store_true", help="tiny networks and short rounds, to try it on a CPU")
    parser.add_argument("--networks", nargs="+", help="rows to measure (default: all)")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "float16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[0, 256], help="patches of a step; 0: the preset's")
    parser.add_argument("--seconds", type=float, default=170, help="start no further row after so many seconds")
    parser.add_argument("--cache", type=pathlib.Path, help="pixel cache of python -m tfmisr.prepare --pixel_cache")
    parser.add_argument("--train", nargs="+", metavar="PRESET", help="train these presets instead, one after another")
    parser.add_argument("--minutes", type=float, default=8.0, help="of the training, all presets together")
    parser.add_argument("--steps", type=int, help="train so many steps of each stage, however long they take")
    parser.add_argument("--batch_size", type=int, help="patches of a step (default: the preset's)")
    parser.add_argument("--learning_rate", type=float, help="default: the preset's")
    parser.add_argument("--mixed_precision", choices=["float32", "mixed_bfloat16", "mixed_float16"])
    parser.add_argument("--data_workers", type=int, help="with --train: processes that make the batches")
    parser.add_argument(
        "--device_data", action="store_true", default=None, help="with --train: the images lie in the device's memory"
    )
    parser.add_argument("--initial", type=pathlib.Path, help="folder of initial weights, NAME.keras of shipped models")
    parser.add_argument("--resume", type=pathlib.Path, help="folder with the state-* files of a stopped training")
    parser.add_argument("--workdir", type=pathlib.Path, help="where the runs are kept (default: OUTPUT-runs)")
    return parser


def check(arguments: argparse.Namespace) -> None:
    """Checks the flags that argparse cannot.

    Raises:
        InputError: Unknown rows, dtypes or presets, training without images, or a flag of a training without one.
    """
    import gpu_steps
    import gpu_train

    known = {"networks": gpu_steps.PRESETS, "dtypes": gpu_steps.POLICIES, "train": gpu_train.STAGES}
    for flag, names in known.items():
        for name in getattr(arguments, flag) or ():
            if name not in names:
                raise InputError(f"--{flag} must be of {', '.join(names)}. Received: {name}")
    if arguments.train and not arguments.cache:
        raise InputError("--train needs images: --cache FOLDER, made by python -m tfmisr.prepare --pixel_cache FOLDER")
    if not arguments.train and (arguments.data_workers is not None or arguments.device_data):
        raise InputError("--data_workers and --device_data are of a training: give --train PRESET too")
    if arguments.minutes <= 0 or arguments.seconds <= 0:
        raise InputError("--minutes and --seconds must be greater than 0")


def rows(arguments: argparse.Namespace) -> list:
    """Returns the rows to measure, the most telling first, since the time may not suffice for all."""
    import gpu_device
    import gpu_steps

    both = (True,) if gpu_device.BACKEND == "jax" else (False, True)
    return [
        gpu_steps.Row(name, dtype, batch, xla, arguments.quick)
        for batch in arguments.batches
        for dtype in arguments.dtypes
        for xla in both
        for name in arguments.networks or gpu_steps.PRESETS
    ]


def line_of(row: dict) -> str:
    """Returns a row of the table in Markdown."""
    name, settings = row["name"], f"{row['dtype']} | {'yes' if row['xla'] else 'no'} | {row['batch']}"
    if "error" in row:
        return f"| {name} | {settings} | {row['error']} |"
    wait = "-" if row["pipeline_wait"] is None else f"{row['pipeline_wait']:.0%}"
    return (
        f"| {name} | {settings} | {row['step_ms']:.2f} | {row['images_per_s']:,.0f} | {row['of_convolution_peak']:.0%} "
        f"| {row['of_matmul_peak']:.0%} | {row['step_reading_loss_ms']:.2f} | {wait} | {row['memory_mib']:,.0f} |"
    )


def benchmark(arguments: argparse.Namespace, figures: dict, write) -> None:
    """Measures the peaks and the rows; adds them to `figures` and calls `write()` after each."""
    import gpu_device
    import gpu_steps
    import gpu_train

    start = time.perf_counter()
    small = arguments.quick or not gpu_device.on_gpu()
    figures["peaks_mac_per_s"] = gpu_device.peaks(512 if small else 8192, 1 if small else 64)
    for dtype, peak in figures["peaks_mac_per_s"].items():
        tera = {name: 2e-12 * rate for name, rate in peak.items()}
        print(f"peak, {dtype}: matmul {tera['matmul']:.3g} TFLOP/s, convolution {tera['convolution']:.3g} TFLOP/s")
    print("\n" + _HEADER, flush=True)
    feeds = gpu_train.feeds(arguments.cache) if arguments.cache else None
    figures["rows"] = []
    for row in rows(arguments):
        if time.perf_counter() - start > arguments.seconds:
            figures["not_measured"] = len(rows(arguments)) - len(figures["rows"])
            print(f"\n{figures['not_measured']} rows not measured: --seconds {arguments.seconds:.0f} are over")
            break
        figures["rows"].append(_measured(gpu_steps, row, figures, feeds, 0.05 if arguments.quick else 0.5))
        print(line_of(figures["rows"][-1]), flush=True)
        write()


def _measured(gpu_steps, row, figures, feeds, least) -> dict:
    """Returns the figures of a row, or why it cannot be measured: too little memory, say, or no such kernel."""
    try:
        return gpu_steps.measure(row, figures["peaks_mac_per_s"], least, 3, feeds)
    except Exception as error:  # noqa: BLE001  the other rows are measured still, and the reason is in the table
        first = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        return {**vars(row), "error": f"not measured: {first}"}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = make_parser().parse_args(argv)
    check(arguments)
    import gpu_device
    import gpu_train

    arguments.output.mkdir(parents=True, exist_ok=True)
    figures = {"device": gpu_device.describe(), "quick": arguments.quick}
    print(json.dumps(figures["device"], indent=1), flush=True)
    name = "figures.json" if not arguments.train else "training.json"

    def write():
        write_text(arguments.output / name, json.dumps(figures, indent=1) + "\n")

    write()
    if arguments.train:
        gpu_train.train(arguments, figures, write)
    else:
        benchmark(arguments, figures, write)
    write()
    return 0


if __name__ == "__main__":
    cli.run(main)
