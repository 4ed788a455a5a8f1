"""Selects the training images that calibrate the activation ranges of the integer flavors."""

import dataclasses
import hashlib
import typing
from collections.abc import Iterator

import numpy as np

from tfmisr.data import pipeline
from tfmisr.edge import resize
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import keras

    from tfmisr.data import Source
    from tfmisr.degradations import Degradation

_CANDIDATES = 16  # images whose mean intensity is read for each one selected


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Crops of training images, and where they come from.

    Attributes:
        dataset: Name of the dataset.
        crops: float32 arrays (height, width, channels) in [0, 1].
        places: One dictionary a crop: `id`, `top`, `left` in low-resolution pixels.
        fraction: Calibration fraction: which part of the selected crops these are; see `trim_outlier_crops`.
    """

    dataset: str
    crops: list[np.ndarray]
    places: list[dict]
    fraction: float = 1.0

    def samples(self) -> Iterator[np.ndarray]:
        """Yields the crops, then a pyramid from black to white, so that the input range is all of [0, 1].

        The pyramid has neither edges nor a bright border, which would widen the ranges of the layers.
        """
        yield from self.crops
        yield pyramid(self.crops[0].shape)

    @property
    def sha256(self) -> str:
        """SHA-256 of names, positions and pixels of the crops."""
        digest = hashlib.sha256()
        for place, crop in zip(self.places, self.crops, strict=True):
            digest.update(f"{place} {crop.shape}".encode())
            digest.update(np.ascontiguousarray(crop, "<f4").tobytes())
        return digest.hexdigest()

    @property
    def _trimming(self) -> str:
        return "" if self.fraction == 1 else f"; of these the {self.fraction:.0%} on which the network adds least"

    def trim_outlier_crops(self, network: "keras.Model", fraction: float) -> "Calibration":
        """Returns the fraction of the crops with the smallest peaks of the network's output (outlier trimming).

        A few extreme crops, such as burned-in letters, can widen the ranges of the layers so far that all others lose
        most of their 256 levels. Without them those places saturate, and the rest is precise.

        Args:
            network: Keras network whose absolute output is measured: the residual, where there is one.
            fraction: Part to keep, above 0 and at most 1; at least two crops are kept.
        """
        if fraction == 1:
            return self
        peaks = [float(np.abs(np.asarray(network(crop[None], training=False))).max()) for crop in self.crops]
        kept = sorted(np.argsort(peaks, kind="stable")[: max(2, round(fraction * len(peaks)))])
        crops, places = ([items[i] for i in kept] for items in (self.crops, self.places))
        return dataclasses.replace(self, crops=crops, places=places, fraction=fraction)

    def summary(self) -> dict:
        """Returns the entry of the model card."""
        return {
            "dataset": self.dataset,
            "split": "train",
            "images": len(self.crops),
            "chosen": "one from each quantile of mean intensity, every other where interpolation errs most"
            f"{self._trimming}, and a pyramid from black to white",
            "sha256": self.sha256,
        }


def choose(
    source: "Source", scale: int, degradation: "Degradation", count: int, side: int, seed: int = 0
) -> Calibration:
    """Returns crops of training images from dark to bright: one from each of `count` quantiles of mean intensity.

    Every other crop lies where the interpolation error of its image is largest: burned-in letters and edges are few but
    have the largest activations, which saturate in a range that was calibrated without them.

    Args:
        source: `tfmisr.data.Source`; of its splits only `train` is ever read.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes LR.
        count: Number of crops at most.
        side: Side of a crop in low-resolution pixels at most; all are as large as the smallest image allows.
        seed: Of the random choice.

    Raises:
        InputError: The dataset has no training images.
    """
    if "train" not in source.splits:
        raise InputError(f"the integer flavors are calibrated on training images; {source.name} has none")
    cache = pipeline.cache_of(source, "train")
    rng = np.random.default_rng([seed, 4])
    candidates = np.unique(np.linspace(0, len(cache) - 1, count * _CANDIDATES).astype(int))
    means = [cache[i][::4, ::4].mean() / cache.max_vals[i] for i in candidates]
    strata = np.array_split(candidates[np.argsort(means, kind="stable")], min(count, len(candidates)))
    indices = [int(rng.choice(stratum)) for stratum in strata]
    side = min(side, int((cache.shapes[indices] // scale).min()))
    crops, places = [], []
    for name, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, indices, seed):
        ends = [length - side for length in lr.shape[:2]]
        top, left = (int(rng.integers(0, end + 1)) for end in ends)
        if len(crops) % 2:
            top, left = _hardest(lr, hr.astype(np.float32) / max_val, scale, side, ends)
        crops.append(lr[top : top + side, left : left + side])
        places.append({"id": name, "top": top, "left": left})
    return Calibration(source.name, crops, places)


def _hardest(lr, hr, scale, side, ends) -> list[int]:
    """Returns top and left of the crop in whose center the interpolation error is largest."""
    error = np.abs(hr - resize.upscale(lr, scale)).max(-1)
    place = np.unravel_index(error.argmax(), error.shape)
    return [int(np.clip(at // scale - side // 2, 0, end)) for at, end in zip(place, ends, strict=True)]


def pyramid(shape: tuple[int, int, int]) -> np.ndarray:
    """Returns a float32 image (height, width, channels) that rises linearly from 0 at its border to 1 in its center."""
    y, x = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in shape[:2])
    heights = np.minimum.outer(y, x).astype(np.float32)
    return np.broadcast_to((heights / max(heights.max(), 1))[..., None], shape)
