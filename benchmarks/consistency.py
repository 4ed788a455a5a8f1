"""Consistency of the models that come with the package, and of bicubic interpolation (T-03): a table in Markdown.

For each of them, with and without the correction of `tfmisr.edge.consistency`: PSNR of the full image and its center,
the image that loses most, the share of input pixels reproduced to within half a level (q) and 0.75 levels, and the time
of the correction beside that of the network, in turns in one process. Results are rounded to the levels of the image,
as they are stored. PSNR leaves out a border of `scale` pixels, as `python -m tfmisr.evaluate` does; the lowest change
is given with the border as well, because most of what the correction gains at the border is left out.

    OPENBLAS_NUM_THREADS=1 python benchmarks/consistency.py --dataset chest_xray14/512 --manual_dir ARCHIVE
    python benchmarks/consistency.py --split validation --recipes --dataset ... --manual_dir ...
"""

import argparse
import itertools
import time

import numpy as np

from tfmisr import data, degradations, metrics
from tfmisr.data import pipeline
from tfmisr.edge import card, consistency, consistency_measures, resize, runtime, shipped
from tfmisr.edge.upscaler import to_levels

_RECIPES = tuple(itertools.product((1, 2, 3), (0.2, 0.25, 0.3, 0.4)))  # iterations, dead zone in levels


def upscale(name: str, scale: int, lr: np.ndarray, model: runtime.Model | None) -> np.ndarray:
    """Returns the image before the correction."""
    return resize.upscale(lr, scale) if model is None else model(lr)


def scores(hr: np.ndarray, sr: np.ndarray, lr: np.ndarray, correction: consistency.Consistency, max_val: int) -> dict:
    """Returns the measures of one stored result."""
    scale, psnr = correction.operator.scale, metrics.get("psnr")
    stored = to_levels(sr, max_val)
    agreement = consistency_measures.agreement(stored, lr * np.float32(max_val), correction.operator, max_val, False)
    return {
        "psnr": psnr(metrics.shave(hr, scale), metrics.shave(stored, scale), max_val),
        "center": psnr(metrics.central_crop(hr), metrics.central_crop(stored), max_val),
        "full": psnr(hr, stored, max_val),
        "half": 100 * agreement.within_half,
        "wider": 100 * agreement.within_three_quarters,
        "maximum": agreement.maximum,
    }


def consistent() -> list[str]:
    """Returns the names of the shipped models whose card has the degradation to agree with: not the blind ones."""
    return [name for name in shipped.names() if card.read(shipped.path(name))["consistency"]]


def compare(name: str, source: data.Source, arguments: argparse.Namespace) -> list[str]:
    """Returns rows of the table for one model, or for `bicubic-x2` and `bicubic-x4`."""
    scale = int(name[-1])
    model = None if name.startswith("bicubic") else runtime.Model(shipped.path(name), consistency=False)
    recipes = [card.read(shipped.path(name if model else f"fast-x{scale}"))["consistency"]]
    if arguments.recipes:
        recipes = [consistency.describe("bicubic", scale, *recipe, 0.0) for recipe in _RECIPES]
    corrections = [consistency.Consistency.from_card(recipe, scale) for recipe in recipes]
    cache = pipeline.cache_of(source, arguments.split)
    degradation = degradations.make(scale)
    before, after, times = [], [[] for _ in corrections], []
    for _, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, range(len(cache))):
        start = time.perf_counter()
        sr = upscale(name, scale, lr, model)
        middle = time.perf_counter()
        corrected = [correction.correct(sr.copy(), lr, max_val) for correction in corrections]
        times.append((middle - start, (time.perf_counter() - middle) / len(corrections)))
        before.append(scores(hr, sr, lr, corrections[0], max_val))
        for rows, correction, result in zip(after, corrections, corrected, strict=True):
            rows.append(scores(hr, result, lr, correction, max_val))
    return [row(name, c, before, rows, times) for c, rows in zip(corrections, after, strict=True)]


def row(name: str, correction: consistency.Consistency, before: list[dict], after: list[dict], times: list) -> str:
    """Returns one line of the table."""
    old, new = ({key: np.array([each[key] for each in rows]) for key in rows[0]} for rows in (before, after))
    network, added = 1e3 * np.median(np.array(times), axis=0)
    lost = {key: (new[key] - old[key]).min() for key in ("psnr", "full", "center")}
    cells = (
        f"{name}, {correction.iterations} of {correction.dead_zone:g}",
        f"{old['psnr'].mean():.3f} -> {new['psnr'].mean():.3f}",
        f"{old['center'].mean():.3f} -> {new['center'].mean():.3f}",
        f"{lost['psnr']:+.3f} ({lost['full']:+.3f} with the border; center {lost['center']:+.3f})",
        f"{old['half'].mean():.2f} -> {new['half'].mean():.2f} ({new['half'].min():.1f})",
        f"{new['wider'].mean():.2f}",
        f"{old['maximum'].mean():.1f} -> {new['maximum'].mean():.1f}",
        f"{added:.1f} ms / {network:.0f} ms",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="by default those with a correction, and bicubic-x2, bicubic-x4")
    parser.add_argument("--dataset", default="chest_phantom")
    parser.add_argument("--split", default="test")
    parser.add_argument("--manual_dir", nargs="+", default=())
    parser.add_argument("--data_dir")
    parser.add_argument("--recipes", action="store_true", help="try other iterations and dead zones (validation only)")
    arguments = parser.parse_args()
    if arguments.recipes and arguments.split == "test":
        parser.error("recipes are chosen on the validation split")
    arguments.models = arguments.models or [*consistent(), "bicubic-x2", "bicubic-x4"]
    source = data.load(arguments.dataset, arguments.data_dir, arguments.manual_dir)
    print(
        "| model, iterations of dead zone in levels | PSNR, dB | center | lowest change of an image | within q, % "
        "(worst image) | within 1.5 q, % | largest deviation, levels, mean | correction / network |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in arguments.models:
        print("\n".join(compare(name, source, arguments)), flush=True)


if __name__ == "__main__":
    main()
