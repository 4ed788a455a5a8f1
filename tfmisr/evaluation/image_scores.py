"""Scores one full image: restores it with every model and measures what is restored.

The scores of an image are a pure function of the models, the images of the split, the degradation, the metrics and the
image's index, so that images can be scored in any order, in any process.
"""

import concurrent.futures
import dataclasses
import os
import typing
from collections.abc import Callable, Iterable

import numpy as np

from tfmisr import metrics
from tfmisr.edge.errors import InputError
from tfmisr.metrics import _collection

if typing.TYPE_CHECKING:
    from tfmisr.data.pixel_cache import PixelCache
    from tfmisr.degradations import Degradation
    from tfmisr.edge.upscaler import Upscaler
    from tfmisr.metrics._features import Features

# More pixels than this must be left inside the borders, so that SSIM's window fits.
_MIN_SIDE = 11
_HALF_WIDTH_LEVEL = 0.1  # that of `tfmisr.metrics.half_width`


@dataclasses.dataclass(frozen=True)
class ImageScores:
    """Scores of one image.

    Attributes:
        rows: One dictionary per model: `id`, `patient`, `model`, and the metrics.
        vectors: Features of the reference (`None`) and of each model's image, for the set-level metrics; empty
            without them.
    """

    rows: list[dict]
    vectors: dict[str | None, np.ndarray]


class Scorer:
    """Scores images by their index.

    Args:
        upscalers: `tfmisr.edge.upscaler.Upscaler`s; names must differ.
        caches: Decoded images, one `PixelCache` after the other; an index counts through all of them.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes LR.
        crop_border: Pixels cut off at each edge.
        measures: Names of metrics.
        features: Network of the set-level metrics; `None`: the standard network.
        weights_dir: Folder of published weights; see `tfmisr.metrics._weights`.

    Attributes:
        sets: `tfmisr.metrics._collection.FeatureCollection` of the set-level metrics, empty.

    Raises:
        InputError: There is no such metric, or weights are not available.
    """

    def __init__(
        self,
        upscalers: list["Upscaler"],
        caches: list["PixelCache"],
        scale: int,
        degradation: "Degradation",
        crop_border: int,
        measures: Iterable[str],
        features: "Features | None" = None,
        weights_dir: str | os.PathLike | None = None,
    ):
        measures = list(measures)
        self.upscalers, self.caches, self.scale, self.degradation = upscalers, caches, scale, degradation
        self.crop_border, self._functions = crop_border, functions_of(measures, weights_dir)
        self.sets = _collection.FeatureCollection(measures, features, weights_dir)
        self._half_widths: dict = {}
        self._measures_half_widths = any(metrics.get(name).half_width for name in self._functions)
        self._pool = concurrent.futures.ThreadPoolExecutor()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._pool.shutdown()

    def __call__(self, index: int) -> ImageScores:
        """Returns the scores of one image.

        Raises:
            InputError: The image is too small, or a model cannot restore it.
        """
        from tfmisr.data import pipeline

        cache, index = located(self.caches, index)
        ((name, patient, max_val, lr, hr),) = pipeline.pairs(cache, self.scale, self.degradation, [index])
        _require_size(name, hr, self.crop_border)
        restored = [(u.name, u(lr, self.scale, max_val)) for u in self.upscalers]
        widths = [self._half_width(u, lr, sr, max_val) for u, (_, sr) in zip(self.upscalers, restored, strict=True)]
        scores = self._pool.map(self._score, [(hr, sr, max_val) for _, sr in restored], widths)
        rows = [
            {"id": name, "patient": patient, "model": model, **values}
            for (model, _), values in zip(restored, scores, strict=True)
        ]
        return ImageScores(rows, self.sets.vectors(hr, restored, max_val, self.crop_border))

    def _score(self, images, half_width):
        return score(*images, self.crop_border, self._functions, half_width)

    def _half_width(self, upscaler, lr, sr, max_val) -> np.ndarray | None:
        """Returns the calibrated half-width, if one is measured and the model has one."""
        if not self._measures_half_widths or upscaler.half_width is None:
            return None
        if upscaler.name not in self._half_widths:
            self._half_widths[upscaler.name] = upscaler.half_width(_HALF_WIDTH_LEVEL)
        return self._half_widths[upscaler.name](lr, sr.astype(np.float32) / np.float32(max_val))


def located(caches: list["PixelCache"], index: int) -> tuple["PixelCache", int]:
    """Returns the cache that holds an image, and the image's index in it.

    Args:
        caches: Caches that follow each other.
        index: Index of the image, counted through all of them.
    """
    for cache in caches:
        if index < len(cache):
            return cache, int(index)
        index -= len(cache)
    raise IndexError(index)


def evenly_spaced(total: int, count: int | None) -> np.ndarray:
    """Returns `count` evenly spaced indices of `total` images; all of them for `None` or too large a count."""
    if count is None or count >= total:
        return np.arange(total)
    return np.unique(np.linspace(0, total - 1, count).round().astype(int))


def reference(caches: list["PixelCache"], index: int, scale: int) -> tuple[str, np.ndarray, int]:
    """Returns name, HR and full-scale value of an image, HR cropped to a multiple of the scale as it is scored.

    Args:
        caches: Caches that follow each other.
        index: Index of the image, counted through all of them.
        scale: Upsampling factor.
    """
    from tfmisr.degradations import crop_to_multiple

    cache, index = located(caches, index)
    return cache.ids[index], crop_to_multiple(cache[index], scale), int(cache.max_vals[index])


def score(
    hr: np.ndarray,
    sr: np.ndarray,
    max_val: int,
    crop_border: int,
    measures: Iterable[str] | dict[str, Callable] | None = None,
    half_width: np.ndarray | None = None,
) -> dict[str, float]:
    """Returns the metrics of one image.

    Args:
        hr: The reference, (height, width, channels) of 8 or 16 bits.
        sr: The restored image, of the same shape and type.
        max_val: Full-scale value.
        crop_border: Pixels cut off at each edge; the `_center` metrics use the central crop of the full image.
        measures: Names of metrics of single images, or names with their functions; `None`: the default metrics.
        half_width: Calibrated half-width of the restored image, a fraction of the full scale; metrics of it are left
            out without.
    """
    if not isinstance(measures, dict):
        measures = functions_of(metrics.default_names() if measures is None else measures)
    cropped = metrics.shave(hr, crop_border), metrics.shave(sr, crop_border)
    rows = [metric for metric in metrics.rows() if metric.name in measures]
    of_widths = {metric.name for metric in rows if metric.half_width}
    values = {name: function(*cropped, max_val) for name, function in measures.items() if name not in of_widths}
    if half_width is not None:
        values |= {name: measures[name](hr, sr, max_val, half_width) for name in measures if name in of_widths}
    for metric in rows:
        if metric.no_reference:
            values[f"{metric.name}_hr"] = measures[metric.name](cropped[0], cropped[0], max_val)
    central = metrics.central_crop(hr), metrics.central_crop(sr)
    for metric in rows:
        if metric.center:
            values[f"{metric.name}_center"] = measures[metric.name](*central, max_val)
    return values


def functions_of(measures: Iterable[str], weights_dir: str | os.PathLike | None = None) -> dict[str, Callable]:
    """Returns the metrics of single images by name, those with published weights last.

    Args:
        measures: Names of metrics; set-level ones are left out.
        weights_dir: Folder of published weights; see `tfmisr.metrics._weights`.
    """
    rows = [metric for metric in map(metrics.get, measures) if not metric.per_set]
    return {metric.name: metric.load(weights_dir) for metric in sorted(rows, key=lambda metric: bool(metric.weights))}


def _require_size(name, hr, crop_border):
    if min(hr.shape[:2]) <= 2 * crop_border + _MIN_SIDE:
        raise InputError(
            f"images must be larger than {2 * crop_border + _MIN_SIDE} pixels for crop_border {crop_border}. "
            f"Received: {name} with {hr.shape[0]}x{hr.shape[1]}"
        )
