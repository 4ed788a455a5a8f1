"""python -m tfmisr.export.benchmark: times `.tflite` files on this machine; the base install is enough."""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from tfmisr import cli
from tfmisr.edge import card, runtime
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import plane_model

SIDE = 128  # of the window in pixels, for a file of any size; more where the receptive field is large


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.export.benchmark",
        description="Times .tflite files made by python -m tfmisr.export on this machine. All files and numbers of "
        "threads take turns in one process, so that heat and other load affect all of them alike.",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL.tflite")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="windows each is timed on (default: 30)")
    parser.add_argument(
        "--seconds", type=float, default=120, metavar="S", help="stop after the round that passes S (default: 120)"
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="also time, on one image of 128x128 pixels, what agreement with the input, half-widths and applicability "
        "add, where a file's card describes them",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the numbers there")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    if arguments.memory:
        print(json.dumps(_peak_of_this_process(arguments.models[0])))
        return 0
    for name in ("rounds", "seconds"):
        if getattr(arguments, name) <= 0:
            raise InputError(f"{name} must be above 0. Received: {getattr(arguments, name)}")
    results = measure(arguments.models, arguments.threads, arguments.rounds, arguments.seconds)
    if arguments.trust:
        from tfmisr.export import benchmark_trust

        limits = arguments.rounds, arguments.seconds
        results["trust"] = benchmark_trust.measure(arguments.models, arguments.threads, *limits)
    print(table(results))
    if arguments.json:
        from tfmisr.edge.files import write_text

        write_text(arguments.json, json.dumps(results, indent=2) + "\n")
    return 0


def measure(paths: Sequence, threads: Sequence[int] = (1, 2), rounds: int = 30, seconds: float = 120) -> dict:
    """Times windows of files, one window of each in turn.

    Args:
        paths: `.tflite` files with their cards.
        threads: Numbers of threads to try.
        rounds: Windows of each.
        seconds: Stop after the round that passes this time.

    Returns:
        `machine`, `method`, and `models`: one dictionary for each file and number of threads.
    """
    entries = [(plane_model.load(path, count), count) for path in paths for count in threads]
    cases = [(model, count, _random_image(model)) for model, count in entries]
    for model, _, lr in cases:
        model(lr)
    celsius, times, started = [_temperature()], [[] for _ in cases], time.monotonic()
    for _ in range(rounds):
        for (model, _, lr), times_of_case in zip(cases, times, strict=True):
            times_of_case.append(_time_window(model, lr))
        if time.monotonic() - started > seconds:
            break
    celsius.append(_temperature())
    peaks = {str(path): peak_memory(path) for path in paths}
    models = [_row(*case, times_of_case, peaks) for case, times_of_case in zip(cases, times, strict=True)]
    return {
        "machine": machine() | {"celsius_before_and_after": celsius},
        "method": f"one process, one window of each file in turn, {len(times[0])} rounds after a warm-up",
        "models": models,
    }


def _random_image(model):
    side = model.card["tile"] or max(SIDE, 4 * (model.overlap or 0))
    return np.random.default_rng(0).random((side, side, model.channels), np.float32)


def _time_window(model, lr) -> tuple[float, float]:
    """Returns milliseconds of the network alone, and of a whole window with interpolation and consistency."""
    start = time.perf_counter()
    model.residual(lr)
    middle = time.perf_counter()
    model(lr)
    return 1e3 * (middle - start), 1e3 * (time.perf_counter() - middle)


def _row(model, threads, lr, times, peaks):
    network, window = np.array(times).T
    overlap = model.overlap or 0
    # Where windows are chosen for each image, an image of this size has a single one and discards nothing.
    discarded = 0 if model.tile is None else overlap
    kept = (lr.shape[0] - 2 * discarded) * model.scale
    return {
        "file": model.path.name,
        "flavour": model.card.get("flavor"),
        "threads": threads,
        "delegate": delegate_of(model),
        "window": lr.shape[0],
        "overlap": overlap,
        "window_ms": round(float(np.median(window)), 3),
        "window_p95_ms": round(float(np.percentile(window, 95)), 3),
        "network_ms": round(float(np.median(network)), 3),
        "ms_per_megapixel": round(float(np.median(window)) / (kept * kept / 1e6), 2),
        "peak_mib": peaks[str(model.path)],
        "megabytes": round(model.path.stat().st_size / 1e6, 3),
    }


def delegate_of(model: runtime.Model) -> str:
    """Returns the LiteRT delegate: `XNNPACK`, `none` for LiteRT's own kernels, or `unknown`."""
    details = getattr(model._interpreter, "_get_ops_details", None)
    if details is None:
        return "unknown"
    return "XNNPACK" if any(op["op_name"] == "DELEGATE" for op in details()) else "none"


def peak_memory(path: str | os.PathLike) -> float | None:
    """Returns by how many MiB one window raises the peak memory of a fresh process, `None` where that is unknown."""
    root = str(pathlib.Path(card.__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "tfmisr.export.benchmark", "--memory", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else None


def _peak_of_this_process(path) -> float | None:
    runtime.interpreter_class()
    before = _resident("VmRSS")
    model = plane_model.load(path)
    model(_random_image(model))
    peak = _resident("VmHWM")
    return None if before is None or peak is None else round((peak - before) / 1024, 1)


def _resident(field: str) -> int | None:
    """Returns a field of `/proc/self/status` in KiB; the peak of `getrusage` includes that of the parent process."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), None)


def machine() -> dict:
    """Returns name and number of the processors, the operating system and its load average."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def _temperature() -> float | None:
    """Returns the hottest sensor's temperature, in degrees Celsius."""
    temperatures = []
    for zone in pathlib.Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            temperatures.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(temperatures, default=None)


def table(results: dict) -> str:
    """Returns what `measure` returns as a text table."""
    machine = results["machine"]
    celsius = machine["celsius_before_and_after"]
    lines = [
        f"{machine['processor']}, {machine['processors']} processors, load {machine['load']}",
        f"{results['method']}; temperature "
        + ("unknown" if None in celsius else f"{celsius[0]:.0f} to {celsius[1]:.0f} C"),
        "",
    ]
    lines += _aligned([_TITLES, *map(_texts, results["models"])])
    if "trust" in results:
        from tfmisr.export import benchmark_trust

        lines += [
            "",
            f"one image of {benchmark_trust.SIDE}x{benchmark_trust.SIDE} pixels, each step added to the others",
        ]
        lines += _aligned([benchmark_trust.TITLES, *map(benchmark_trust.texts, results["trust"])])
    return "\n".join(lines)


_TITLES = ("file", "threads", "delegate", "window", "median", "p95", "network", "ms/Mpx", "peak", "size")


def _texts(row) -> tuple[str, ...]:
    return (
        row["file"],
        str(row["threads"]),
        row["delegate"],
        str(row["window"]),
        *(f"{row[key]:.1f} ms" for key in ("window_ms", "window_p95_ms", "network_ms")),
        f"{row['ms_per_megapixel']:.0f}",
        "unknown" if row["peak_mib"] is None else f"{row['peak_mib']:.1f} MiB",
        f"{row['megabytes']:.2f} MB",
    )


def _aligned(rows) -> list[str]:
    """Returns the rows as lines of aligned columns, the first one left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip() for first, *rest in rows]


if __name__ == "__main__":
    cli.run(main)
