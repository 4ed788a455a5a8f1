"""Collects the features of all images of an evaluation for the set-level metrics, such as FID and KID."""

import math
import os
from collections.abc import Iterable

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.text import counted
from tfmisr.metrics import _features, _metric
from tfmisr.metrics._region import shave


class FeatureCollection:
    """Collects features of the reference and of the restored images; without set-level metrics it does nothing.

    Args:
        names: Names of metrics; only set-level ones are used.
        features: `tfmisr.metrics._features.Features`; `None`: those of the standard network.
        weights_dir: Folder of its published weights; see `tfmisr.metrics._weights`.

    Attributes:
        description: Description of the feature network, for the protocol.
    """

    def __init__(
        self,
        names: Iterable[str],
        features: _features.Features | None = None,
        weights_dir: str | os.PathLike | None = None,
    ):
        names = set(names)
        self._metrics = [metric for metric in _metric.rows() if metric.per_set and metric.name in names]
        self._vectors: dict[str | None, list[np.ndarray]] = {None: []}  # model to features; None: of the reference
        self._features = _features.standard(weights_dir) if self._metrics and features is None else features
        self.description = self._features.description if self._metrics else ""

    def add(self, hr: np.ndarray, restored: list[tuple[str, np.ndarray]], max_val: int, crop_border: int) -> None:
        """Adds a reference image and the restored images by the model's name; their borders are cut off."""
        self.append(self.vectors(hr, restored, max_val, crop_border))

    def vectors(
        self, hr: np.ndarray, restored: list[tuple[str, np.ndarray]], max_val: int, crop_border: int
    ) -> dict[str | None, np.ndarray]:
        """Returns the features of a reference image (`None`) and of the restored images, without adding them."""
        images = [(None, hr), *restored] if self._metrics else ()
        return {name: self._features(shave(image, crop_border), max_val) for name, image in images}

    def append(self, vectors: dict[str | None, np.ndarray]) -> None:
        """Adds the features of one image, the result of `vectors`."""
        for name, vector in vectors.items():
            self._vectors.setdefault(name, []).append(vector)

    def distances(self, model: str) -> dict[str, float]:
        """Returns the metrics of a model, with their standard deviation where there is one; nan for a single image."""
        if not self._metrics or len(self._vectors[None]) < 2:
            return {metric.name: math.nan for metric in self._metrics}
        pair, values = (np.stack(self._vectors[None]), np.stack(self._vectors[model])), {}
        for metric in self._metrics:
            value = metric.function(*pair)
            names = (metric.name, f"{metric.name}_deviation")
            values |= dict(zip(names, value if isinstance(value, tuple) else (value,), strict=False))
        return values

    def notes(self) -> tuple[str, ...]:
        """Returns a warning for each metric that is biased by too few images."""
        count = len(self._vectors[None])
        return tuple(
            f"{metric.column} of {counted(count, 'image')} by {self._features.count:,} features is biased upwards (as "
            f"a rule it needs {metric.images_per_feature * self._features.count:,} images); compare it only on the "
            "same images, or use kid"
            for metric in self._metrics
            if count < metric.images_per_feature * self._features.count
        )


__getattr__ = renamed(__name__, Collection="FeatureCollection")
