"""Scores models and interpolations on full images."""

import dataclasses
import math
import os
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tfmisr import metrics
from tfmisr.edge.deprecation import renamed
from tfmisr.evaluation import image_scores, verdicts
from tfmisr.evaluation.image_scores import ImageScores, score
from tfmisr.evaluation.protocol import PLANE_REFERENCE, REFERENCE, reference
from tfmisr.evaluation.summary import summarize
from tfmisr.metrics import _old_names

if typing.TYPE_CHECKING:
    from tfmisr.data import Source
    from tfmisr.degradations import Degradation
    from tfmisr.edge.upscaler import Upscaler
    from tfmisr.evaluation.protocol import Protocol
    from tfmisr.metrics._features import Features

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")

__all__ = ["INTERPOLATIONS", "REFERENCE", "ImageScores", "Result", "evaluate", "interpolations", "score", "summarize"]


def interpolations(scale: int) -> list["Upscaler"]:
    """Returns what a network is compared with: for planes, scale 1, their interpolation alone, which is its input."""
    from tfmisr.inference import upscalers

    if scale == 1:
        return [dataclasses.replace(upscalers.load(REFERENCE), name=PLANE_REFERENCE)]
    return [upscalers.load(name) for name in INTERPOLATIONS]


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
    distribute: Callable[[Sequence[int]], Iterator[tuple[int, ImageScores]]] | None = None,
) -> Result:
    """Scores upscalers on full images; gains are over `bicubic` or, for planes, `spline`, where it is one of them.

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
        distribute: Scores the images of some indices, counted through the splits, elsewhere: yields index and
            `ImageScores` in any order, such as `tfmisr.evaluation.distributed.EvaluationTask.processes`. `None`: here.

    Raises:
        InputError: There is no such metric, an image is too small, or weights are not available.
    """
    from tfmisr.data import pipeline
    from tfmisr.evaluation import protocol
    from tfmisr.progress import bar

    crop_border = scale if crop_border is None else crop_border
    measures = metrics.default_names() if measures is None else list(measures)
    caches = [pipeline.cache_of(source, s) for s in (source.splits if split == "all" else [split])]
    indices = image_scores.evenly_spaced(sum(map(len, caches)), max_images)
    digest, rows = protocol.ImagesHash(), []
    with image_scores.Scorer(
        upscalers, caches, scale, degradation, crop_border, measures, features, weights_dir
    ) as scorer:
        scored = distribute(indices) if distribute else ((i, scorer(i)) for i in indices)
        shown = bar(scored, total=len(indices), desc="evaluating", unit=" images", disable=not progress, leave=False)
        for index, scores in zip(indices, _in_order(shown, indices), strict=True):
            digest.add(*image_scores.reference(caches, index, scale))
            rows += scores.rows
            scorer.sets.append(scores.vectors)
    sets = scorer.sets
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


def _in_order(scored, indices) -> Iterator[ImageScores]:
    """Yields the scores in the order of the indices, each as soon as it and those before it are there."""
    waiting, ordered = {}, iter(indices)
    expected = next(ordered, None)
    for index, scores in scored:
        waiting[index] = scores
        while expected in waiting:
            yield waiting.pop(expected)
            expected = next(ordered, None)


def _picture(rows, upscalers, caches, scale, degradation):
    """Returns images, name and full-scale value of the case with the last model's median gain over bicubic."""
    from tfmisr.data import pipeline
    from tfmisr.edge.upscaler import to_levels

    last = [row["psnr"] for row in rows if row["model"] == upscalers[-1].name]
    base = reference([u.name for u in upscalers])
    first = [row["psnr"] for row in rows if row["model"] == base] or [0.0] * len(last)
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
