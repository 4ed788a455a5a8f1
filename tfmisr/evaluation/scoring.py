"""Scores models and interpolations on full images."""

import concurrent.futures
import dataclasses
import math
import os
import typing
from collections.abc import Callable, Iterable

import numpy as np

from tfmisr import metrics
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.evaluation import verdicts
from tfmisr.evaluation.protocol import REFERENCE
from tfmisr.evaluation.summary import summarize
from tfmisr.metrics import _old_names

if typing.TYPE_CHECKING:
    from tfmisr.data import Source
    from tfmisr.degradations import Degradation
    from tfmisr.edge.upscaler import Upscaler
    from tfmisr.evaluation.protocol import Protocol
    from tfmisr.metrics._features import Features

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
# More pixels than this must be left inside the borders, so that SSIM's window fits.
_MIN_SIDE = 11


@dataclasses.dataclass
class Result:
    """Result of an evaluation.

    Attributes:
        protocol: `tfmisr.evaluation.protocol.Protocol` of these numbers.
        rows: One dictionary per image and model: `id`, `patient`, `model`, and the metrics.
        summary: Model to its means, intervals and number of parameters, as in `metrics.json`.
        picture: Images of the case for the montage, by name, with `LR` first and `HR` last.
        case: Name of that case.
        max_val: Full-scale value of that case.
        notes: Warnings about these numbers, such as images that were left out.
    """

    protocol: "Protocol"
    rows: list[dict]
    summary: dict[str, dict]
    picture: dict[str, np.ndarray]
    case: str
    max_val: int
    notes: tuple[str, ...] = ()


def score(
    hr: np.ndarray,
    sr: np.ndarray,
    max_val: int,
    crop_border: int,
    measures: Iterable[str] | dict[str, Callable] | None = None,
) -> dict[str, float]:
    """Returns the metrics of one image.

    Args:
        hr: The reference, (height, width, channels) of 8 or 16 bits.
        sr: The restored image, of the same shape and type.
        max_val: Full-scale value.
        crop_border: Pixels cut off at each edge; the `_center` metrics use the central crop of the full image.
        measures: Names of metrics of single images, or names with their functions; `None`: the default metrics.
    """
    if not isinstance(measures, dict):
        measures = _functions(metrics.default_names() if measures is None else measures)
    cropped = metrics.shave(hr, crop_border), metrics.shave(sr, crop_border)
    values = {name: function(*cropped, max_val) for name, function in measures.items()}
    rows = [metric for metric in metrics.rows() if metric.name in measures]
    for metric in rows:
        if metric.no_reference:
            values[f"{metric.name}_hr"] = measures[metric.name](cropped[0], cropped[0], max_val)
    central = metrics.central_crop(hr), metrics.central_crop(sr)
    for metric in rows:
        if metric.center:
            values[f"{metric.name}_center"] = measures[metric.name](*central, max_val)
    return values


def evaluate(
    upscalers: list["Upscaler"],
    source: "Source",
    split: str,
    scale: int,
    degradation: "Degradation",
    crop_border: int | None = None,
    measures: Iterable[str] | None = None,
    max_images: int | None = None,
    progress: bool = True,
    features: "Features | None" = None,
    weights_dir: str | os.PathLike | None = None,
) -> Result:
    """Scores upscalers on full images; gains are over `bicubic`, where it is one of them.

    The montage shows the image on which the last upscaler's PSNR gain over bicubic is the median.

    Args:
        upscalers: `tfmisr.edge.upscaler.Upscaler`s; names must differ.
        source: Dataset of the images.
        split: Its split, or `all`.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes LR.
        crop_border: Pixels cut off at each edge; `None`: the scale.
        measures: Names of metrics; `None`: the default metrics.
        max_images: Evaluate this many images, evenly spaced; `None`: all.
        progress: Show a progress bar.
        features: Network of the set-level metrics; `None`: the standard network.
        weights_dir: Folder of published weights; see `tfmisr.metrics._weights`.

    Raises:
        InputError: There is no such metric, an image is too small, or weights are not available.
    """
    from tfmisr.data import pipeline
    from tfmisr.evaluation import protocol
    from tfmisr.metrics import _collection
    from tfmisr.progress import bar

    crop_border = scale if crop_border is None else crop_border
    measures = metrics.default_names() if measures is None else list(measures)
    functions = _functions(measures, weights_dir)
    sets = _collection.FeatureCollection(measures, features, weights_dir)
    caches = [pipeline.cache_of(source, s) for s in (source.splits if split == "all" else [split])]
    total = sum(map(len, caches))
    indices = _evenly_spaced(total, max_images)
    digest, rows = protocol.ImagesHash(), []
    progress_bar = bar(total=len(indices), desc="evaluating", unit=" images", disable=not progress, leave=False)
    with progress_bar, concurrent.futures.ThreadPoolExecutor() as pool:
        for cache, cache_indices in _by_cache(caches, indices):
            for name, patient, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, cache_indices):
                digest.add(name, hr, max_val)
                _require_size(name, hr, crop_border)
                restored = [(u.name, u(lr, scale, max_val)) for u in upscalers]
                scores = pool.map(lambda s: score(hr, s[1], max_val, crop_border, functions), restored)  # noqa: B023
                for (model, _), values in zip(restored, scores, strict=True):
                    rows.append({"id": name, "patient": patient, "model": model, **values})
                sets.add(hr, restored, max_val, crop_border)
                progress_bar.update(1)
    run_protocol = protocol.Protocol(
        source.name,
        split,
        len(indices),
        digest.hexdigest(),
        scale,
        degradation.describe(),
        crop_border,
        measures=protocol.definitions(measures, sets.description),
        full_scale=getattr(source, "full_scale", ""),
    )
    summary = summarize(rows, {u.name: u.parameters for u in upscalers})
    for u in upscalers:
        summary[u.name] |= sets.distances(u.name)
    notes = (*verdicts.left_out(summary), *verdicts.few(summary), *sets.notes())
    return Result(run_protocol, rows, summary, *_picture(rows, upscalers, caches, scale, degradation), notes)


def _functions(measures, weights_dir=None) -> dict[str, Callable]:
    """Returns the metrics of single images by name, those with published weights last."""
    rows = [metric for metric in map(metrics.get, measures) if not metric.per_set]
    return {metric.name: metric.load(weights_dir) for metric in sorted(rows, key=lambda metric: bool(metric.weights))}


def _evenly_spaced(total: int, count: int | None) -> np.ndarray:
    if count is None or count >= total:
        return np.arange(total)
    return np.unique(np.linspace(0, total - 1, count).round().astype(int))


def _by_cache(caches, indices):
    start = 0
    for cache in caches:
        yield cache, [int(i) - start for i in indices if start <= i < start + len(cache)]
        start += len(cache)


def _require_size(name, hr, crop_border):
    if min(hr.shape[:2]) <= 2 * crop_border + _MIN_SIDE:
        raise InputError(
            f"images must be larger than {2 * crop_border + _MIN_SIDE} pixels for crop_border {crop_border}. "
            f"Received: {name} with {hr.shape[0]}x{hr.shape[1]}"
        )


def _picture(rows, upscalers, caches, scale, degradation):
    """Returns images, name and full-scale value of the case with the last model's median gain over bicubic."""
    from tfmisr.data import pipeline
    from tfmisr.edge.upscaler import to_levels

    last = [row["psnr"] for row in rows if row["model"] == upscalers[-1].name]
    first = [row["psnr"] for row in rows if row["model"] == REFERENCE] or [0.0] * len(last)
    names = [row["id"] for row in rows if row["model"] == upscalers[-1].name]
    # Images with infinite PSNR are not representative; where all are, any of them is taken.
    gains = [(a - b, name) for a, b, name in zip(last, first, names, strict=True)]
    finite = sorted((gain for gain in gains if math.isfinite(gain[0])), key=lambda gain: gain[0]) or gains
    case = finite[len(finite) // 2][1]
    cache = next(c for c in caches if case in c.ids)
    _, _, max_val, lr, hr = next(pipeline.pairs(cache, scale, degradation, [cache.ids.index(case)]))
    images = {"LR": to_levels(lr, max_val)}
    images |= {u.name: u(lr, scale, max_val) for u in upscalers}
    return {**images, "HR": hr}, case, max_val


_renamed = renamed(
    __name__,
    summarise="tfmisr.evaluation.summary.summarize",
    write="tfmisr.evaluation.results.write",
    case_caption="tfmisr.evaluation.results.case_caption",
)


def __getattr__(name: str):
    if name in ("summarise", "write", "case_caption"):
        return _renamed(name)
    return _old_names.constant(__name__, name)
