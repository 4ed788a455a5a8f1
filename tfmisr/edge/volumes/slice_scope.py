"""Whether the slices of a volume are like those that a through-plane network was trained on (V-08).

Each statistic of a slice (power spectrum, noise, gradients, gray levels; `tfmisr.edge.applicability_statistics`) has a
range in the training slices. The median over the slices of a volume is compared with it, in widths of the range. A
network is trained on few volumes, so there is no p-value as for images of many patients
(`tfmisr.edge.applicability`). The limits were set on a few volumes. Gross differences are found, such as inverted gray
levels; what is within the limits may still be of another kind.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from tfmisr.edge import applicability_statistics as statistics

# Without the traces of JPEG, as volumes are not compressed so, and without what depends on how much air is shown.
_LEFT_OUT = ("noise_10", "noise_25", "gray_2", "gray_10", "gray_30", "black")
NAMES = tuple(name for name in statistics.INPUT_NAMES if not name.startswith("block_") and name not in _LEFT_OUT)
UNUSUAL, OUT_OF_SCOPE = 1.0, 1.5  # widths of the range beyond its end
_WORDS = {
    "power": "power spectrum",
    "direction": "direction of structures",
    "noise": "noise",
    "gradient": "steepness of edges",
    "gray": "gray levels",
    "white": "gray levels",
}
_KEPT = [statistics.INPUT_NAMES.index(name) for name in NAMES]
_QUANTILES = (0.02, 0.98)
_LEAST_WIDTH = 0.3  # of a statistic that hardly varies in the training slices; most are logarithms
_LEAST_IMAGES, _MOST_IMAGES, _SLICES, _MOST_NAMED = 8, 256, 16, 3
_MIDDLE = (0.2, 0.8)  # of a volume: the outer slices show little


def describe(images: Iterable[np.ndarray]) -> dict | None:
    """Returns the card's field `slices`, without a pixel of a patient; `None` for fewer than eight usable slices.

    Args:
        images: Training slices, float32 (height, width) in [0, 1].
    """
    usable = (image for image in images if min(image.shape) >= statistics.SMALLEST)
    rows = [_measured(image) for image, _ in zip(usable, range(_MOST_IMAGES), strict=False)]
    if len(rows) < _LEAST_IMAGES:
        return None
    low, high = np.quantile(rows, _QUANTILES, axis=0)
    return {"names": list(NAMES), "low": _rounded(low), "high": _rounded(high), "images": len(rows)}


def is_valid(field: object) -> bool:
    """Whether the card's field `slices` is one that `deviations` can follow; `None` is no check."""
    if field is None:
        return True
    if not isinstance(field, Mapping) or field.get("names") != list(NAMES):
        return False
    ranges = [each for each in (field.get("low"), field.get("high")) if isinstance(each, list)]
    if [len(each) for each in ranges] != [len(NAMES)] * 2:
        return False
    numbers = all(type(value) in (int, float) and math.isfinite(value) for each in ranges for value in each)
    return numbers and bool((np.array(ranges[0]) <= np.array(ranges[1])).all())


def deviations(field: Mapping, values: np.ndarray, to_unit: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """Returns the statistics of a volume beyond their ranges, and how far in widths of the range; largest first.

    Args:
        field: The card's field `slices`.
        values: Slices, float32 (slices, rows, columns). Nothing deviates in those below 32 x 32 pixels.
        to_unit: Maps them to what the network sees, 0 to 1.
    """
    if min(values.shape[1:]) < statistics.SMALLEST:
        return {}
    first, last = (share * (len(values) - 1) for share in _MIDDLE)
    chosen = np.unique(np.linspace(first, last, _SLICES).round().astype(int))
    median = np.median([_measured(np.clip(to_unit(values[i]), 0.0, 1.0)) for i in chosen], axis=0)
    low, high = (np.array(field[end]) for end in ("low", "high"))
    beyond = np.maximum(low - median, median - high) / np.maximum(high - low, _LEAST_WIDTH)
    order = [i for i in np.argsort(-beyond) if beyond[i] > 0]
    return {NAMES[i]: float(beyond[i]) for i in order}


def sentence(found: Mapping[str, float]) -> str:
    """Returns what deviates most, in words; empty where nothing deviates much."""
    largest = [_WORDS[name.partition("_")[0]] for name, value in found.items() if value > UNUSUAL]
    named = list(dict.fromkeys(largest))[:_MOST_NAMED]
    return f"slices unlike those of the training in {' and '.join(named)}" if named else ""


def _measured(image: np.ndarray) -> np.ndarray:
    return statistics.measure_input(np.asarray(image, np.float32))[_KEPT]


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
