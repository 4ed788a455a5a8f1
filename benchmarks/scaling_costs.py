"""Measures the unit costs of `scaling.py`: processor seconds and bytes of one image for each job, on one core.

Each job is the command that a user runs, in a process of its own that is bound to one core, once with few and once with
more images. Its cost is the difference: what a process takes to start is paid once and reported apart. Processor time,
so that other programs disturb it less than the clock's; still, other programs slow the caches and the clock rate.
"""

import datetime
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np

from tfmisr.edge import images, resize
from tfmisr.edge.errors import InputError
from tfmisr.progress import bar

ROOT = pathlib.Path(__file__).resolve().parent.parent
ARCHIVE = ROOT.parent / "shared" / "data" / "ChestX-ray14" / "images"
FEW, MORE = 4, 20
ROUNDS = 3


def _upscale(model):
    return lambda files, folder: ["upscale", "--model", model, *files, "--output", folder / "out"]


def _prepare(files, folder):
    return ["prepare", files[0].parent, "--data_dir", folder / "out"]


# Job to (side of its input, command). Inputs: radiographs of 1024x1024 pixels, and the same reduced to the side.
JOBS: dict[str, tuple[int, Callable]] = {
    "upscale fast-x4, 256 to 1024": (256, _upscale("fast-x4")),
    "upscale best-x4, 256 to 1024": (256, _upscale("best-x4")),
    "upscale fast-x2, 1024 to 2048": (1024, _upscale("fast-x2")),
    "prepare a folder, 1024": (1024, _prepare),
}


def _inputs(folder: pathlib.Path, side: int, count: int) -> list[pathlib.Path]:
    """Writes `count` gray radiographs of `side` pixels as 8-bit PNG files; returns their paths."""
    sources = sorted(ARCHIVE.glob("*.png"))
    if len(sources) < count:
        raise InputError(f"expected {count} images of ChestX-ray14 in {ARCHIVE}, found {len(sources)}")
    place = folder / f"{side}-{count}"
    place.mkdir()
    for source in sources[:count]:
        pixels = images.read_images(str(source))[0].pixels[..., :1].astype(np.float32)
        if side != pixels.shape[0]:
            pixels = resize.resize(pixels, (side, side))
        images.write_image(str(place / source.name), np.clip(np.rint(pixels), 0, 255).astype(np.uint8), 255)
    return sorted(place.iterdir())


def _size(paths) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def _run(command: list) -> float:
    """Runs a command of the package on one core; returns its processor seconds."""
    core = min(os.sched_getaffinity(0))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", f"tfmisr.{command[0]}", *map(str, command[1:])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode:
        raise InputError(f"tfmisr.{command[0]} failed: {done.stderr.strip()[-300:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def cost_of(side: int, command: Callable, folder: pathlib.Path) -> dict[str, float]:
    """Returns seconds of an image and of the start, and bytes of an image in and out, as medians of rounds."""
    seconds = {FEW: [], MORE: []}
    inputs = {count: _inputs(folder, side, count) for count in seconds}
    for i in range(ROUNDS):
        for count, files in inputs.items():
            place = folder / f"{count}-{i}"
            place.mkdir()
            seconds[count].append(_run(command(files, place)))
    few, more = (statistics.median(each) for each in seconds.values())
    each = (more - few) / (MORE - FEW)
    return {
        "seconds": each,
        "start_seconds": few - FEW * each,
        "bytes_in": _size(inputs[MORE]) / MORE,
        "bytes_out": _size((folder / f"{MORE}-0").rglob("*")) / MORE,
    }


def measure() -> dict:
    """Returns the unit costs of all jobs, the machine and the date."""
    jobs = {}
    for name, (side, command) in bar(JOBS.items(), desc="measuring", unit=" jobs"):
        with tempfile.TemporaryDirectory() as folder:
            jobs[name] = cost_of(side, command, pathlib.Path(folder))
    model = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    names = [line.partition(":")[2].strip() for line in model.splitlines() if line.startswith("model name")]
    return {
        "machine": f"one core of {names[0] if names else platform.machine()}",
        "load": os.getloadavg()[0],
        "date": datetime.date.today().isoformat(),
        "jobs": jobs,
    }
