"""Compares exported files with their Keras network on full images, and reports their size, memory and time."""

import dataclasses
import math
import typing
from collections.abc import Sequence

import numpy as np

from tfmisr import metrics
from tfmisr.data import pipeline
from tfmisr.edge.text import counted
from tfmisr.edge.upscaler import to_levels
from tfmisr.edge.volumes import plane_model
from tfmisr.inference import upscalers
from tfmisr.progress import bar

if typing.TYPE_CHECKING:
    import keras

    from tfmisr.data import Source
    from tfmisr.degradations import Degradation

MEASURES = ("psnr", "ssim")


@dataclasses.dataclass(frozen=True)
class Limits:
    """Largest differences from the Keras network that a file may have.

    Attributes:
        psnr_drop: Mean loss of PSNR against Keras, in dB.
        ssim_drop: Mean loss of SSIM against Keras.
        float32_error: Largest difference of a pixel between float32 and Keras, in units of the range [0, 1].
    """

    psnr_drop: float
    ssim_drop: float
    float32_error: float


def parity(
    network: "keras.Model",
    paths: Sequence,
    source: "Source",
    split: str,
    scale: int,
    degradation: "Degradation",
    count: int,
) -> dict:
    """Compares files with the Keras network on full images.

    Args:
        network: The Keras network.
        paths: `.tflite` files with their cards.
        source: `tfmisr.data.Source` of the images.
        split: Its split.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes LR.
        count: Number of images, at even distances in the split.

    Returns:
        `images`, `keras` with its own scores, and `files`: scores and differences by file name.
    """
    keras, files = upscalers.tiled(network), [_file(path) for path in paths]
    cache = pipeline.cache_of(source, split)
    indices = np.unique(np.linspace(0, len(cache) - 1, count).round().astype(int))
    rows = {name: [] for name in ("keras", *(model.path.name for model in files))}
    images = pipeline.pairs(cache, scale, degradation, indices)
    for name, _, max_val, lr, hr in bar(images, total=len(indices), desc="comparing", unit=" images", leave=False):
        exact = keras(lr, scale)
        rows["keras"].append(_scores(hr, exact, max_val, scale))
        for model in files:
            image = model(lr)
            worst = float(np.abs(image - exact).max())
            rows[model.path.name].append({"id": name, "worst": worst, **_scores(hr, image, max_val, scale)})
    return {
        "dataset": source.name,
        "split": split,
        "images": [cache.ids[i] for i in indices],
        "keras": _means(rows["keras"]) | {"psnr_n": sum(row["psnr"] != math.inf for row in rows["keras"])},
        "files": {model.path.name: _costs(rows[model.path.name], rows["keras"]) for model in files},
    }


def _file(path):
    # What the conversion costs: the network has no correction by consistency to compare with.
    return plane_model.load(path, threads=2, consistency=False)


def _scores(hr, image, max_val, scale):
    pair = [metrics.shave(x, scale) for x in (hr, to_levels(image, max_val))]
    return {name: metrics.get(name)(*pair, max_val) for name in MEASURES}


def _means(rows):
    return {name: _mean([row[name] for row in rows]) for name in MEASURES}


def _mean(values) -> float:
    """Returns the mean of the finite values: PSNR is infinite for an exactly reproduced image, such as a blank one."""
    finite = [value for value in values if value != math.inf]
    return float(np.mean(finite)) if finite else math.inf


def _costs(rows, exact) -> dict:
    worst = max(rows, key=lambda row: row["worst"])
    costs = {**_means(rows), "worst_pixel": worst["worst"], "worst_pixel_image": worst["id"]}
    for name in MEASURES:
        pairs = [(a[name], b[name]) for a, b in zip(exact, rows, strict=True)]
        # Two exact images have no drop; a drop from an exact one is infinite in dB, worst pixel and SSIM show it.
        drops = [0.0 if a == b else a - b for a, b in pairs if a == b or math.inf not in (a, b)] or [math.nan]
        costs |= {f"{name}_drop": float(np.mean(drops)), f"{name}_drop_worst": float(np.max(drops))}
    return costs


def failures(report: dict, limits: Limits) -> list[str]:
    """Returns one line for each limit that a file exceeds."""
    lines = []
    for name, row in report["files"].items():
        for measure, unit in (("psnr", " dB"), ("ssim", "")):
            drop, limit = row[f"{measure}_drop"], getattr(limits, f"{measure}_drop")
            if not drop <= limit:
                lines.append(f"{name}: loses {drop:.4f}{unit} of {measure.upper()}, above the limit of {limit}{unit}")
        if row["flavour"] == "float32" and not row["worst_pixel"] <= limits.float32_error:
            lines.append(f"{name}: differs by {row['worst_pixel']:.2g}, above the limit of {limits.float32_error}")
    return lines


def markdown(report: dict) -> str:
    """Returns the report in Markdown: one table, then the definitions of its columns."""
    compared, speed = report["files"], _by_file(report["benchmark"])
    base = next((speed[name] for name, row in compared.items() if row["flavour"] == "float32"), None)
    keras, count = report["keras"], counted(len(report["images"]), "full image")
    exact = len(report["images"]) - keras["psnr_n"]
    without = f" ({exact} left out: reproduced exactly, such as blank ones: no dB)" if exact else ""
    lines = [
        f"# {report['name']}: what each file costs",
        "",
        f"Against the Keras network on {count}, {report['dataset']}, {report['split']} split: "
        f"PSNR {keras['psnr']:.3f} dB{without}, SSIM {keras['ssim']:.5f}.",
        "",
        "| file | size | PSNR drop, dB (worst image) | SSIM drop | worst pixel | peak memory | ms per window, "
        "1 / 2 threads | ms per megapixel, 1 / 2 threads (to float32) | operations |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(name, row, speed[name], base) for name, row in compared.items()]
    machine = report["benchmark"]["machine"]
    lines += [
        "",
        f"Gate: {'; '.join(report['failures']) or 'all within the limits'} "
        f"({', '.join(f'{key} {value}' for key, value in report['limits'].items())}).",
        "",
        "Drop: loss against Keras after rounding to the image's gray levels. Worst pixel: largest difference "
        "before rounding, the range being 0 to 1. Time: the whole window with interpolation; a megapixel of output, "
        "overlap included where all windows have one size; elsewhere it adds up to 15 %. Peak memory: what one window "
        "adds to a fresh process.",
        "",
        f"Measured on {machine['processor']}, load {machine['load']}: {report['benchmark']['method']}.",
    ]
    return "\n".join(lines) + "\n"


def _by_file(benchmark) -> dict[str, list[dict]]:
    rows = {}
    for row in benchmark["models"]:
        rows.setdefault(row["file"], []).append(row)
    return rows


def _line(name, row, speed, base) -> str:
    window = " / ".join(f"{timing['window_ms']:.1f}" for timing in speed)
    area = " / ".join(f"{timing['ms_per_megapixel']:.0f}" for timing in speed)
    if base:
        ratios = (a["ms_per_megapixel"] / b["ms_per_megapixel"] for a, b in zip(speed, base, strict=True))
        area += " (" + " / ".join(f"{ratio:.2f}" for ratio in ratios) + ")"
    peak = speed[0]["peak_mib"]
    operations = ", ".join(f"{count} {operation}" for operation, count in row["operations"].items())
    return (
        f"| {name} | {row['bytes'] / 1e6:.2f} MB | {row['psnr_drop']:+.4f} ({row['psnr_drop_worst']:+.4f}) | "
        f"{row['ssim_drop']:+.6f} | {row['worst_pixel']:.1e} | {'unknown' if peak is None else f'{peak:.0f} MiB'} | "
        f"{window} | {area} | {operations} |"
    )
