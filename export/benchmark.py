"""python -m tfmisr.export.benchmark: how fast `.tflite` files are on this machine; the base install is enough."""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import numpy as np

from tfmisr import cli
from tfmisr.edge import card, runtime
from tfmisr.edge.errors import InputError

SIDE = 128  # of the window, for a file that takes any; more where the network sees far


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.export.benchmark",
        description="Times .tflite files made by python -m tfmisr.export on this machine. All files and numbers of "
        "threads take turns in one process, so that heat and other load fall on all of them alike.",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL.tflite")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="windows each is timed on (default: 30)")
    parser.add_argument(
        "--seconds", type=float, default=120, metavar="S", help="stop after the round that passes S (default: 120)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the numbers there")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    if arguments.memory:
        print(json.dumps(_own_peak(arguments.models[0])))
        return 0
    for name in ("rounds", "seconds"):
        if getattr(arguments, name) <= 0:
            raise InputError(f"{name} must be above 0. Received: {getattr(arguments, name)}")
    found = measure(arguments.models, arguments.threads, arguments.rounds, arguments.seconds)
    print(table(found))
    if arguments.json:
        from tfmisr.edge.files import write_text

        write_text(arguments.json, json.dumps(found, indent=2) + "\n")
    return 0


def measure(paths, threads=(1, 2), rounds: int = 30, seconds: float = 120) -> dict:
    """Times windows of files, one window of each in turn.

    Args:
        paths: `.tflite` files with their cards.
        threads: Numbers of threads to try.
        rounds: Windows of each.
        seconds: Stop after the round that passes this time.

    Returns:
        `machine`, how it was done, and `models`: one dictionary for each file and number of threads.
    """
    entries = [(runtime.Model(path, count), count) for path in paths for count in threads]
    lanes = [(model, count, _picture(model)) for model, count in entries]
    for model, _, lr in lanes:
        model.window(lr)
    heat, times, started = [_temperature()], [[] for _ in lanes], time.monotonic()
    for _ in range(rounds):
        for (model, _, lr), own in zip(lanes, times, strict=True):
            own.append(_timed(model, lr))
        if time.monotonic() - started > seconds:
            break
    heat.append(_temperature())
    peaks = {str(path): peak_memory(path) for path in paths}
    models = [_row(*lane, own, peaks) for lane, own in zip(lanes, times, strict=True)]
    return {
        "machine": machine() | {"celsius_before_and_after": heat},
        "method": f"one process, one window of each file in turn, {len(times[0])} rounds after a warm-up",
        "models": models,
    }


def _picture(model):
    side = model.card["tile"] or max(SIDE, 4 * (model.overlap or 0))
    return np.random.default_rng(0).random((side, side, model.channels), np.float32)


def _timed(model, lr) -> tuple[float, float]:
    start = time.perf_counter()
    model.residual(lr)
    middle = time.perf_counter()
    model.window(lr)
    return 1e3 * (middle - start), 1e3 * (time.perf_counter() - middle)


def _row(model, threads, lr, times, peaks):
    network, window = np.array(times).T
    overlap = model.overlap or 0
    # Where windows are chosen for each image, one of this size has a single one and throws nothing away.
    thrown = 0 if model.tile is None else overlap
    kept = (lr.shape[0] - 2 * thrown) * model.scale
    return {
        "file": model.path.name,
        "flavour": model.card.get("flavour"),
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


def delegate_of(model) -> str:
    """Returns who does the work: XNNPACK, LiteRT's own kernels, or unknown."""
    details = getattr(model._interpreter, "_get_ops_details", None)
    if details is None:
        return "unknown"
    return "XNNPACK" if any(op["op_name"] == "DELEGATE" for op in details()) else "none"


def peak_memory(path) -> float | None:
    """Returns by how many MiB one window raises the peak of a fresh process, `None` where that cannot be told."""
    root = str(pathlib.Path(card.__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "tfmisr.export.benchmark", "--memory", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else None


def _own_peak(path) -> float | None:
    runtime.interpreter_class()
    before = _resident("VmRSS")
    model = runtime.Model(path)
    model.window(_picture(model))
    peak = _resident("VmHWM")
    return None if before is None or peak is None else round((peak - before) / 1024, 1)


def _resident(field: str) -> int | None:
    """Returns a line of Linux's own account of this process, in KiB; that of `getrusage` counts the parent's too."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), None)


def machine() -> dict:
    """Returns the processor's name, their number, the system and its load."""
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
    found = []
    for zone in pathlib.Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def table(found: dict) -> str:
    """Returns the numbers as text."""
    machine = found["machine"]
    heat = machine["celsius_before_and_after"]
    lines = [
        f"{machine['processor']}, {machine['processors']} processors, load {machine['load']}",
        f"{found['method']}; temperature " + ("unknown" if None in heat else f"{heat[0]:.0f} to {heat[1]:.0f} C"),
        "",
    ]
    return "\n".join(lines + _aligned([_TITLES, *map(_texts, found["models"])]))


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
    """Returns lines whose columns are as wide as their longest text: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip() for first, *rest in rows]


if __name__ == "__main__":
    cli.run(main)
