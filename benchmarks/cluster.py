"""Cost of `upscale --cluster local:N` beside `--processes N`, and its scaling with workers and images.

    python benchmarks/cluster.py                       # about 15 minutes on two idle cores
    python benchmarks/cluster.py --counts 100 1000 10000

Each command is run as a user runs it. Variants are measured in turn, round after round, on the same files: compare only
figures of one run. A command takes a start (imports, processes, scheduler) and a time per image; both are computed from
two runs, of a quarter of the images and of all. The ledger of millions of rows has a benchmark of its own,
`benchmarks/ledger.py`.
"""

import argparse
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from tfmisr.edge import images

ROOT = pathlib.Path(__file__).resolve().parent.parent
VARIANTS = {
    "--processes 1": ["--processes", "1"],
    "--cluster local:1": ["--cluster", "local:1"],
    "--processes 2": ["--processes", "2"],
    "--cluster local:2": ["--cluster", "local:2"],
}


def _folder(path: pathlib.Path, count: int, side: int) -> pathlib.Path:
    """Writes 16-bit images of noise that is smooth over eight pixels, one of which is copied under many names."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 4096, (-(-side // 8), -(-side // 8), 1))
    path.mkdir()
    images.write_image(path / "000000.png", np.uint16(coarse.repeat(8, 0).repeat(8, 1)[:side, :side]), 4095)
    for number in range(1, count):
        shutil.copyfile(path / "000000.png", path / f"{number:06d}.png")
    return path


def _seconds(folder: pathlib.Path, flags: list[str], model: str) -> float:
    """Returns the wall time of one command, and checks that it wrote every result."""
    output = folder.with_name("output")
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "tfmisr.upscale", str(folder), "--model", model, "--output", str(output), *flags]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    expected, written = len(list(folder.glob("*.png"))), len(list(output.rglob("*.png")))
    if written != expected:
        raise SystemExit(f"expected {expected} results of {' '.join(flags)}, found {written}")
    return seconds


def _overhead(root: pathlib.Path, side: int, count: int, arguments: argparse.Namespace) -> None:
    """Prints one table: all variants at one size of images."""
    few, all_ = _folder(root / f"{side}-few", max(count // 4, 1), side), _folder(root / f"{side}-all", count, side)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    for _ in range(arguments.rounds):
        for name, flags in VARIANTS.items():
            times[name].append(tuple(_seconds(folder, flags, arguments.model) for folder in (few, all_)))
    span = count - max(count // 4, 1)
    each = {n: statistics.median((b - a) / span for a, b in found) for n, found in times.items()}
    total = {n: statistics.median(b for _, b in found) for n, found in times.items()}
    print(f"\n{count} images of {side}x{side}, {arguments.model}, median of {arguments.rounds} rounds\n")
    print("| variant | total, s | ms an image | start, s | total / --processes | image / --processes |")
    print("|---|---|---|---|---|---|")
    for name in VARIANTS:
        same = f"--processes {name[-1]}"
        ratios = f"{total[name] / total[same]:.3f} | {each[name] / each[same]:.3f}"
        start = total[name] - count * each[name]
        print(f"| {name} | {total[name]:.2f} | {each[name] * 1e3:.1f} | {start:.2f} | {ratios} |")
    one, two = (each[f"--cluster local:{n}"] for n in (1, 2))
    whole = total["--cluster local:1"] / total["--cluster local:2"]
    print(f"\nthroughput of 2 workers over 1: {one / two:.2f} an image, {whole:.2f} in total", flush=True)


def _scaling(root: pathlib.Path, arguments: argparse.Namespace) -> None:
    """Prints one table: cost per image from hundreds to thousands of tiny images."""
    print("\nbicubic, 32x32, --cluster local:2\n\n| images | total, s | ms an image |\n|---|---|---|")
    for count in arguments.counts:
        folder = _folder(root / f"tiny-{count}", count, 32)
        seconds = _seconds(folder, ["--scale", "2", "--cluster", "local:2"], "bicubic")
        print(f"| {count:,} | {seconds:.2f} | {seconds / count * 1e3:.2f} |", flush=True)
        shutil.rmtree(folder)


def main() -> None:
    """Runs the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast-x2", help="default: fast-x2")
    parser.add_argument("--small", type=int, default=400, metavar="N", help="images of 256x256 (default: 400)")
    parser.add_argument("--large", type=int, default=16, metavar="N", help="images of 2048x2048 (default: 16)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--counts", type=int, nargs="+", default=[100, 1000], metavar="N", help="tiny images (default: 100 1000)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", end="")
        print(f", load {os.getloadavg()[0]:.1f} at the start", flush=True)
        _overhead(root, 256, arguments.small, arguments)
        _overhead(root, 2048, arguments.large, arguments)
        _scaling(root, arguments)
        print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
