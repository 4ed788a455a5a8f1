"""The cost of tiling: fixed tiles, as in the first shipped models, and tiles that are chosen for each image.

For each model and each side of a square image: the area that the network reads relative to the image, and the time of
the full image on one thread. Before: tiles of 256 pixels (fast-x4: 128) at a fixed stride, with the overlap in the
first cards (best models: 49, where 17 suffices). After: the default of the model. Both run alternately in one process;
the minimum of several rounds of processor time, so that other programs do not count.

    python benchmarks/tiles.py
    python benchmarks/tiles.py --models fast-x2 best-x2 --sides 512 1024 --rounds 3
"""

import argparse
import time

import numpy as np

from tfmisr.edge import runtime, shipped
from tfmisr.export import benchmark

SIDES = (512, 1024, 1760, 2048)
_FIRST_TILE, _FIRST_TILE_OF = 256, {"fast-x4": 128}
_FIRST_OVERLAP_OF = {"best-x2": 49, "best-x4": 49}


def first(name: str) -> runtime.Model:
    """Returns a shipped model with the tiles of its first card."""
    model = runtime.Model(shipped.path(name), tile=_FIRST_TILE_OF.get(name, _FIRST_TILE))
    model.overlap = _FIRST_OVERLAP_OF.get(name, model.overlap)
    return model


def area_ratio(model: runtime.Model, side: int) -> float:
    """Returns the area that all tiles of a square image read, relative to the image."""
    windows = model.grid(side, side)
    return sum((rows[1] - rows[0]) * (columns[1] - columns[0]) for rows, columns in windows) / side**2


def milliseconds(models, pixels: np.ndarray, rounds: int) -> list[float]:
    """Returns the minimum processor time of a full image for each model, interleaved in each round."""
    times = [[] for _ in models]
    for _ in range(rounds):
        for model, model_times in zip(models, times, strict=True):
            start = time.process_time()
            model.upscale(pixels, 255)
            model_times.append(1e3 * (time.process_time() - start))
    return [min(model_times) for model_times in times]


def row(name: str, side: int, rounds: int) -> str:
    """Returns the line of the table for one model and one size."""
    models = first(name), runtime.Model(shipped.path(name))
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, models[0].channels)).astype(np.uint8)
    before, after = milliseconds(models, pixels, rounds)
    areas = [area_ratio(model, side) for model in models]
    windows = list(models[1].grid(side, side))
    (top, bottom, *_), (left, right, *_) = windows[0]
    shape = f"{len(windows)} of {bottom - top}x{right - left}"
    cells = f"{areas[0]:>8.2f} {areas[1]:>7.3f} {before:>9.0f} {after:>8.0f} {before / after:>7.2f}"
    return f"{name:14} {side:>5} {cells}  {shape}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=shipped.names(), choices=shipped.names(), metavar="NAME")
    parser.add_argument("--sides", nargs="+", type=int, default=SIDES, metavar="N", help="of square images")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="each model on each image (default: 1)")
    arguments = parser.parse_args()
    print(f"{'':14} {'':>5} {'area read / image':^16} {'one thread [ms]':^18} {'times':>7}")
    print(
        f"{'model':14} {'side':>5} {'before':>8} {'after':>7} {'before':>9} {'after':>8} {'faster':>7}  windows after"
    )
    for name in arguments.models:
        for side in arguments.sides:
            print(row(name, side, arguments.rounds), flush=True)
    machine = benchmark.machine()
    print(f"\n{machine['processor']}, {machine['processors']} processors, load {machine['load']}")


if __name__ == "__main__":
    main()
