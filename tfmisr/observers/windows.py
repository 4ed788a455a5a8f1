"""Windows with and without a signal, of the reference, of LR and of every upscaled image.

Signals are added to the high-resolution image, at places in the anatomy and at all phases of the reduction grid, before
the image is reduced and rounded. The upscalers see whole images that hold all signals at once; a window holds one.
"""

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler, to_levels
from tfmisr.observers import parts
from tfmisr.observers.parts import Parts
from tfmisr.observers.search import Search
from tfmisr.observers.tasks import WINDOW, Task

if typing.TYPE_CHECKING:
    from tfmisr.data import Source
    from tfmisr.degradations import Degradation

HR, LR, UNSHARP = "HR", "LR", "unsharp_mask"
_PITCH = WINDOW + 8  # distance of places: a window reaches no other signal, whatever its phase
# Left out: windows of background, and those with letters, markers or collimation edges.
_LEAST_MEAN, _MOST_GRADIENT = 0.1, 0.15  # of the range of the image, and of the full scale per pixel


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of several arms at the same places.

    Attributes:
        arms: Names of the arms: `HR`, `LR`, then upscalers.
        absent: Levels `(arms, windows, 64, 64)` of the first hypothesis.
        present: The same windows with the signal.
        patients: int array `(windows,)`.
        images: Number of images they come from.
        max_val: Full-scale value of the images.
        offsets: Offset of each signal from the middle of its window, int array `(windows, 2)`; `None`: all zero.
    """

    arms: list[str]
    absent: np.ndarray
    present: np.ndarray
    patients: np.ndarray
    images: int
    max_val: int
    offsets: np.ndarray | None = None


def sample(
    upscalers: list[Upscaler],
    source: "Source",
    splits: Sequence[str],
    scale: int,
    degradation: "Degradation",
    task: Task,
    per_image: int = 14,
    max_images: int | None = None,
    seed: int = 0,
    progress: bool = True,
    store: Parts | None = None,
    search: Search | None = None,
) -> Windows:
    """Returns the windows of all arms.

    Args:
        upscalers: Arms beside `HR` and `LR`; names must differ.
        source: Dataset of gray images.
        splits: Its splits, or `all`.
        scale: Upsampling factor.
        degradation: Degradation model that makes LR.
        task: The detection task.
        per_image: Largest number of places in one image.
        max_images: Use this many images, evenly spaced; `None`: all.
        seed: Seed of the places and of the degradation's noise.
        progress: Show a progress bar.
        store: Keeps the windows of finished images; `None`: nothing is kept.
        search: Where signals lie; `None`: in the middle of their windows.

    Raises:
        InputError: Images are in color, differ in full scale, or none has a place for a window.
    """
    from tfmisr.data import pipeline
    from tfmisr.progress import bar

    images = load(source, splits, max_images)
    max_val, found = images[0].max_val, []
    setup = upscalers, scale, degradation, max_val
    for image in bar(images, desc=task.name, unit=" images", disable=not progress, leave=False):
        name, hr = image.name, image.pixels
        key = pipeline.image_key(name)
        places = _places(hr, max_val, scale, per_image, np.random.default_rng([seed, 5, key]))
        if not len(places):
            continue
        count = len(places)
        offsets = search.offsets(count, np.random.default_rng([seed, 11, key])) if search else np.zeros((count, 2), int)
        pair = [
            _arms(_inserted(hr, profile, places, offsets, task, max_val), places, setup, [seed, 6 + i, key], store)
            for i, profile in enumerate((task.other_profile(), task.profile()))
        ]
        found.append((*pair, np.full(count, image.patient), offsets))
    if not found:
        raise InputError(f"expected places in the anatomy for windows of {WINDOW} pixels in {source.name}, found none")
    absent, present, patients, offsets = zip(*found, strict=True)
    names = [HR, LR, *(u.name for u in upscalers)]
    both = (np.concatenate(part, axis=1) for part in (absent, present))
    moved = np.concatenate(offsets) if search else None
    return Windows(names, *both, np.concatenate(patients), len(found), max_val, moved)


def patients(source: "Source", splits: Sequence[str], max_images: int | None = None) -> np.ndarray:
    """Returns the patient of each image that `sample` looks at; the arguments are as there."""
    return np.array([cache.patients[i] for cache, i in _chosen(source, splits, max_images)])


@dataclasses.dataclass(frozen=True)
class Image:
    """A gray image: its name in the dataset, number of the patient, full-scale value and levels (height, width)."""

    name: str
    patient: int
    max_val: int
    pixels: np.ndarray


def load(source: "Source", splits: Sequence[str], max_images: int | None = None) -> list[Image]:
    """Returns the images; the arguments are those of `sample`.

    Raises:
        InputError: They are in color, or differ in full scale.
    """
    images = [
        Image(cache.ids[i], int(cache.patients[i]), int(cache.max_vals[i]), cache[i][..., 0])
        for cache, i in _chosen(source, splits, max_images)
    ]
    scales = sorted({image.max_val for image in images})
    if len(scales) > 1:
        raise InputError(f"observers need images of one full scale. Received: {', '.join(map(str, scales))}")
    return images


def _chosen(source, splits, max_images) -> list[tuple]:
    """Returns images, evenly spaced, as pairs of a pixel cache and an index."""
    from tfmisr.data import pipeline
    from tfmisr.evaluation import image_scores

    if source.channels != 1:
        raise InputError(f"observers look at gray images. Received: {source.name} with {source.channels} channels")
    caches = [pipeline.cache_of(source, s) for s in (source.splits if "all" in splits else splits)]
    indices = image_scores.evenly_spaced(sum(map(len, caches)), max_images)
    return [image_scores.located(caches, int(index)) for index in indices]


def _places(hr, max_val, scale, per_image, rng) -> np.ndarray:
    """Returns the top left corners of windows in the anatomy, `(places, 2)`, in random phases of the reduction grid."""
    height, width = (side // scale * scale for side in hr.shape)
    ends = [side - WINDOW - scale + 1 for side in (height, width)]
    if min(ends) < 1:
        return np.zeros((0, 2), int)
    corners = np.stack(np.meshgrid(*(np.arange(0, end, _PITCH) for end in ends), indexing="ij"), -1).reshape(-1, 2)
    corners = corners + rng.integers(0, scale, corners.shape)
    limits = np.quantile(hr[::4, ::4], (0.01, 0.99))
    kept = [corner for corner in corners if _is_anatomy(_cut(hr, corner).astype(np.float64), *limits, max_val)]
    order = rng.permutation(len(kept))[:per_image]
    return np.array([kept[i] for i in sorted(order)], int).reshape(-1, 2)


def _is_anatomy(window, low, high, max_val):
    steepest = max(np.abs(np.diff(window, axis=axis)).max() for axis in (0, 1))
    return window.mean() > low + _LEAST_MEAN * (high - low) and steepest < _MOST_GRADIENT * max_val


def _cut(image, corner):
    row, column = corner
    return image[row : row + WINDOW, column : column + WINDOW]


def _inserted(hr, profile, places, offsets, task, max_val):
    """Returns an image with a signal in every window, float64."""
    image = hr.astype(np.float64)
    for corner, offset in zip(places, offsets, strict=True):
        moved = np.roll(profile, offset, (0, 1)) if offset.any() else profile
        _cut(image, corner)[:] = task.inserted(_cut(image, corner), moved, max_val)
    return image


def _arms(image, places, setup, seed, store):
    """Returns the windows of all arms with one hypothesis, `(arms, places, 64, 64)`."""

    def compute():
        return np.stack([[_cut(arm, corner) for corner in places] for arm in arms(image, *setup, seed)])

    return store.get(parts.key([image, places], parts.fields(*setup, seed)), compute) if store else compute()


def arms(
    image: np.ndarray, upscalers: list[Upscaler], scale: int, degradation: "Degradation", max_val: int, seed: list[int]
) -> list[np.ndarray]:
    """Returns the image of every arm, levels `(height, width)`: HR, LR with repeated pixels, then upscaled ones.

    Args:
        image: Levels of HR, not rounded; what exceeds a multiple of the scale is cut off.
        upscalers: Arms beside HR and LR.
        scale: Upsampling factor.
        degradation: Degradation model that makes LR.
        max_val: Full-scale value.
        seed: Seed of the degradation's noise.
    """
    image = image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]
    image = (image / max_val).astype(np.float32)[..., None]
    lr = degradation(image, max_val, np.random.default_rng(seed))
    repeated = np.repeat(np.repeat(lr, scale, 0), scale, 1)
    whole = [to_levels(image, max_val), to_levels(repeated, max_val), *(u(lr, scale, max_val) for u in upscalers)]
    return [arm[..., 0] for arm in whole]


def unsharp_mask(bicubic: Upscaler) -> Upscaler:
    """Returns the control arm of contrast without knowledge: bicubic interpolation with an unsharp mask of amount 1.

    The blur's standard deviation is half an LR pixel.

    Args:
        bicubic: The interpolation.
    """

    def upscale(lr, scale, convert=None, dtype=np.float32):
        image = bicubic.function(lr, scale)
        image = 2 * image - ndimage.gaussian_filter(image, (scale / 2, scale / 2, 0), mode="nearest")
        return (convert(image) if convert else image).astype(dtype, copy=False)

    return Upscaler(UNSHARP, upscale)
