"""Training data of an uncertainty head: patches of LR and of the final image, statistics, and the error to predict.

The main network is frozen, so its result on each training image is computed once, corrected and rounded to stored
levels as `upscale` stores it, and kept beside the decoded images. A batch is a pure function of (seed, step).
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import typing

import numpy as np

from tfmisr import degradations
from tfmisr.data import pipeline
from tfmisr.data.pixel_cache import PixelCache, Planes, as_float, write_folder
from tfmisr.degradations import Degradation
from tfmisr.edge import uncertainty_inputs as inputs
from tfmisr.edge.dihedral import apply_dihedral
from tfmisr.edge.upscaler import Upscaler
from tfmisr.progress import bar

if typing.TYPE_CHECKING:
    from tfmisr.data.sources import Source

_MARGIN = 2  # low-resolution pixels around a patch that its bicubic interpolation depends on


class Results:
    """What a model makes of the images of a split; the first call for a model upscales and stores them.

    Args:
        source: The images.
        split: Its split.
        upscaler: The model.
        scale: Upsampling factor.
        degradation: Degradation model that makes LR; random noise is drawn once for each image.

    Attributes:
        cache: High-resolution images.
        lr: LR images, float32 or integer levels.
        sr: Final images in stored levels.
        statistics: float64 (images, statistics); see `tfmisr.edge.uncertainty_inputs.STATISTICS`.
    """

    def __init__(self, source: "Source", split: str, upscaler: Upscaler, scale: int, degradation: Degradation):
        self.cache = pipeline.cache_of(source, split)
        named = [upscaler.weights_sha256, upscaler.consistency, scale, degradation.describe(), inputs.STATISTICS]
        folder = self.cache.folder / f"sr-{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:12]}"
        dtype = np.uint16 if degradation.quantize and self.cache.max_vals.max() < 2**16 else np.float32
        if not folder.exists():
            write_folder(folder, functools.partial(_write, self.cache, upscaler, scale, degradation, dtype))
        shapes = self.cache.shapes // scale
        self.lr = Planes(folder / "lr.bin", shapes, self.cache.channels, dtype)
        self.sr = Planes(folder / "sr.bin", shapes * scale, self.cache.channels, self.cache.dtype)
        self.statistics = np.load(folder / "statistics.npy")


def _write(cache: PixelCache, upscaler, scale, degradation, dtype, folder: pathlib.Path) -> None:
    rows, images = [], pipeline.pairs(cache, scale, degradation)
    with open(folder / "lr.bin", "wb") as low, open(folder / "sr.bin", "wb") as high:
        for _, _, max_val, lr, _ in bar(images, total=len(cache), desc="upscaling", unit=" images", leave=False):
            stored = np.rint(lr * max_val) if dtype == np.uint16 else lr
            lr = as_float(stored.astype(dtype), max_val)  # as the sampler reads it
            sr = upscaler(lr, scale, max_val)
            low.write(stored.astype(dtype).tobytes())
            high.write(sr.astype(cache.dtype).tobytes())
            rows.append(inputs.statistics(lr, as_float(sr, max_val), scale))
    np.save(folder / "statistics.npy", np.array(rows))


@dataclasses.dataclass
class HeadSampler:
    """Samples patches for an uncertainty head.

    Args:
        results: Images of the training split.
        scale: Upsampling factor.
        patch_size: Side of a low-resolution patch in pixels.
        batch_size: Patches per step.
        seed: Seed of all random draws.
        hard_patches: As of `tfmisr.data.pipeline.PatchSampler`.

    Attributes:
        mean: Mean of the statistics over the training images, by which the second input is standardized.
        deviation: Their standard deviation.
    """

    results: Results
    scale: int
    patch_size: int
    batch_size: int
    seed: int
    hard_patches: float = 0.0

    def __post_init__(self):
        self.mean, self.deviation = self.results.statistics.mean(0), self.results.statistics.std(0)
        sizes = (self.patch_size, self.batch_size, self.seed)
        # Positions only: they do not depend on the degradation.
        bicubic = degradations.make(self.scale)
        self._positions = pipeline.PatchSampler(self.cache, self.scale, bicubic, *sizes, hard_patches=self.hard_patches)

    @property
    def cache(self) -> PixelCache:
        """The high-resolution images."""
        return self.results.cache

    def batch(self, step: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Returns the batch of one step.

        Returns:
            The network's inputs (patches, context), float32 in [-1, 1], `(batch, patch_size, patch_size, features)` and
            `(batch, 1, 1, statistics)`; and the absolute error of the final image in levels of 8 bits, with the pixel
            shuffle inverted, `(batch, patch_size, patch_size, scale * scale * channels)`.
        """
        draws = self._positions.draws(step)
        patches, errors = map(np.stack, zip(*(self.patch(*draw) for draw in draws.tolist()), strict=True))
        return (patches, self.context(draws[:, 0])), errors

    def context(self, images: np.ndarray) -> np.ndarray:
        """Returns the second input for images by index, float32 `(images, 1, 1, statistics)` in [-1, 1]."""
        return self.standardized(self.results.statistics[images])

    def standardized(self, statistics: np.ndarray) -> np.ndarray:
        """Returns the second input for statistics `(images, statistics)`."""
        return inputs.standardized(statistics, self.mean, self.deviation)[:, None, None]

    def patch(self, image: int, row: int, column: int, transform: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns one patch of the first input and its error; arguments as of `PatchSampler.draws`."""
        max_val = int(self.cache.max_vals[image])
        planes = self.results.lr[image], self.results.sr[image], self.cache[image]
        low, difference, error = _patch(planes, max_val, (row, column), self.patch_size, self.scale)
        low, difference, error = (apply_dihedral(part, transform) for part in (low, difference, error))
        return inputs.network_input(low, difference, self.scale), inputs.space_to_depth(error, self.scale)


def _patch(planes, max_val, place, size, scale) -> list[np.ndarray]:
    """Returns a patch of LR in [0, 1], of the residual, and of the absolute error in levels of 8 bits."""
    starts = [max(at - _MARGIN, 0) for at in place]
    window = [slice(start, at + size + _MARGIN) for start, at in zip(starts, place, strict=True)]
    large = tuple(slice(part.start * scale, part.stop * scale) for part in window)
    low = as_float(planes[0][tuple(window)], max_val)
    sr, hr = (as_float(plane[large], max_val) for plane in planes[1:])
    error = np.abs(hr[: len(sr), : sr.shape[1]] - sr) * np.float32(inputs.LEVELS)
    found = [low, inputs.residual(low, sr, scale), error]
    for i, step in enumerate((1, scale, scale)):
        y, x = ((at - start) * step for at, start in zip(place, starts, strict=True))
        found[i] = found[i][y : y + size * step, x : x + size * step]
    return found


def central_patches(
    cache: PixelCache, upscaler: Upscaler, sampler: HeadSampler, degradation: Degradation, count: int, side: int
) -> tuple:
    """Returns a batch, as of `HeadSampler.batch`, of central patches of full images that are upscaled for it.

    Args:
        cache: Images of the validation split.
        upscaler: The model.
        sampler: That of the run, whose standardization is used.
        degradation: Degradation model that makes LR.
        count: Number of images at most, evenly spaced in the split.
        side: Side of a patch in low-resolution pixels at most.
    """
    scale, rows = sampler.scale, []
    indices = np.unique(np.linspace(0, len(cache) - 1, count).astype(int))
    side = min(side, int(cache.shapes[indices].min()) // scale)
    for _, _, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, indices):
        sr = upscaler(lr, scale, max_val)
        place = [(length - side) // 2 for length in lr.shape[:2]]
        low, difference, error = _patch((lr, sr, hr), max_val, place, side, scale)
        statistics = inputs.statistics(lr, as_float(sr, max_val), scale)
        patch = inputs.network_input(low, difference, scale)
        rows.append((patch, sampler.standardized(statistics[None])[0], inputs.space_to_depth(error, scale)))
    patches, context, errors = (np.stack(parts) for parts in zip(*rows, strict=True))
    return (patches, context), errors
