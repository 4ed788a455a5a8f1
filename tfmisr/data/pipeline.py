"""From a prepared dataset to training batches: decode once into a cache, then cut patches out of it.

The order of the images, the place of each patch, its orientation and its noise are a pure function of
(seed, step). A run that was killed goes on with exactly the batches it would have seen.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

from tfmisr.degradations import Degradation, crop_to_multiple
from tfmisr.edge import resize
from tfmisr.edge.dihedral import apply_dihedral
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import add_path_to_errors, remove_stale_temporaries
from tfmisr.progress import bar


class PixelCache:
    """The decoded images of one split, side by side in one file that is mapped into memory.

    Attributes:
        ids: Names of the images.
        shapes: int64 array (images, 2), height and width.
        max_vals: Pixel value of each image that is 1.0 to a network.
        patients: Number of the patient of each image.
    """

    def __init__(self, folder: pathlib.Path, channels: int, dtype):
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            self.ids = index["ids"].tolist()
            self.shapes, self.max_vals, self.patients = (index[key] for key in ("shapes", "max_vals", "patients"))
        self.folder, self.channels = folder, channels
        self._pixels = Planes(folder / "hr.bin", self.shapes, channels, dtype)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i: int) -> np.ndarray:
        """Returns the pixels of image `i`, (height, width, channels), of 8 or 16 bits."""
        return self._pixels[i]


class Planes:
    """Images of many sizes in one file, read through a memory map.

    Args:
        path: File that holds the pixels, image after image.
        shapes: int array (images, 2), height and width.
        channels: Channels of every image.
        dtype: Type of the pixels.
    """

    def __init__(self, path, shapes, channels, dtype):
        self.shapes, self.channels = shapes, channels
        self.starts = np.concatenate([[0], np.cumsum(shapes.prod(1) * channels)])
        self.pixels = np.memmap(path, dtype, "r", shape=(int(self.starts[-1]),))

    def __getitem__(self, i):
        flat = self.pixels[self.starts[i] : self.starts[i + 1]]
        return flat.reshape(*self.shapes[i], self.channels)


def _write_folder(folder: pathlib.Path, write) -> None:
    """Calls `write(temporary folder)` and gives it its name only when that went through."""
    remove_stale_temporaries(folder.parent.glob(f".{folder.name}.*"))
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with add_path_to_errors(folder):
            write(temporary)
        _rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary, folder):
    try:
        os.replace(temporary, folder)
    except OSError:
        if not folder.exists():  # otherwise another process has written the same a moment ago
            raise


def cache_of(source, split: str) -> PixelCache:
    """Returns the decoded images of a split of a `tfmisr.data.Source`, decoding them on the first call."""
    folder = source.folder / "tfmisr_pixels" / split
    if not folder.exists():
        _write_folder(folder, functools.partial(_decode, source, split))
    return PixelCache(folder, source.channels, source.dtype)


def _decode(source, split, folder):
    rows = []
    with open(folder / "hr.bin", "wb") as file:
        for example in bar(source.examples(split), desc=f"decoding {split}", unit=" images", leave=False):
            file.write(np.ascontiguousarray(example["hr"], source.dtype).tobytes())
            rows.append((example["id"], example["hr"].shape[:2], example["max_val"], example["patient"]))
    if not rows:
        raise InputError(f"expected images in the {split} split of {source.name}, found none")
    ids, shapes, max_vals, patients = zip(*rows, strict=True)
    np.savez(
        folder / "index.npz",
        ids=np.array(ids),
        shapes=np.array(shapes, np.int64),
        max_vals=np.array(max_vals, np.int64),
        patients=np.array(patients, np.int64),
    )


def low_resolution(cache: PixelCache, scale: int, degradation: Degradation) -> Planes:
    """Returns the low-resolution images, without random steps, working them out on the first call."""
    once, _ = degradation.split()
    key = hashlib.sha256(once.describe().encode()).hexdigest()[:12]
    folder = cache.folder / f"lr-{key}"
    exact = once.quantize and all(max_val < 2**16 for max_val in cache.max_vals)
    dtype = np.uint16 if exact else np.float32
    if not folder.exists():
        _write_folder(folder, functools.partial(_reduce, cache, once, scale, dtype))
    return Planes(folder / "lr.bin", cache.shapes // scale, cache.channels, dtype)


def _reduce(cache, once, scale, dtype, folder):
    def reduce(i):
        max_val = int(cache.max_vals[i])
        hr = crop_to_multiple(cache[i], scale).astype(np.float32) / max_val
        lr = once(hr, max_val)
        return np.rint(lr * max_val).astype(dtype) if dtype == np.uint16 else lr

    with open(folder / "lr.bin", "wb") as file, concurrent.futures.ThreadPoolExecutor() as pool:
        for start in bar(range(0, len(cache), 64), desc="making LR", unit=" x64 images", leave=False):
            for lr in pool.map(reduce, range(start, min(start + 64, len(cache)))):
                file.write(lr.tobytes())


@dataclasses.dataclass
class PatchSampler:
    """Cuts aligned patches of low and high resolution at random, the same ones for the same (seed, step).

    Args:
        cache: Images to cut from.
        scale: Upsampling factor.
        degradation: How the low-resolution image is made.
        patch_size: Side of a low-resolution patch in pixels.
        batch_size: Patches of a step.
        seed: Start of all random draws.
        augment: Turn and mirror each patch in one of the eight ways of the square.
        hard_patches: Share of the patches whose place in the image is drawn by how much bicubic reduction and
            enlarging lose there, and not evenly.

    Raises:
        InputError: An image is smaller than a patch.
    """

    cache: PixelCache
    scale: int
    degradation: Degradation
    patch_size: int
    batch_size: int
    seed: int = 0
    augment: bool = True
    hard_patches: float = 0.0

    def __post_init__(self):
        small = np.flatnonzero((self.cache.shapes // self.scale).min(1) < self.patch_size)
        if len(small):
            i, side = small[0], self.patch_size * self.scale
            height, width = self.cache.shapes[i]
            raise InputError(
                f"images must be at least {side}x{side} pixels for patch_size {self.patch_size} at scale "
                f"{self.scale}. Received: {self.cache.ids[i]} with {height}x{width} and {len(small) - 1} "
                f"more; try --patch_size {max(self.cache.shapes[small].min() // self.scale, 1)}"
            )
        if not self.degradation.reduces_at_random:
            self.lr = low_resolution(self.cache, self.scale, self.degradation)
        self.random_part = None if self.degradation.fixed else self.degradation.split()[1]

    @functools.lru_cache(maxsize=4)  # noqa: B019  a sampler lives as long as its run
    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.cache))

    __hash__ = object.__hash__

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the batch of one step.

        Returns:
            float32 arrays in [0, 1]: low resolution `(batch, patch_size, patch_size, channels)` and high
            resolution, `scale` times as large. Each image comes up once in an epoch.
        """
        rng = np.random.default_rng([self.seed, 0, step])
        pairs = [self._pair(step * self.batch_size + j, rng) for j in range(self.batch_size)]
        lr, hr = zip(*pairs, strict=True)
        return np.stack(lr), np.stack(hr)

    def _pair(self, position: int, rng: np.random.Generator):
        epoch, place = divmod(position, len(self.cache))
        i = self._order(epoch)[place]
        size, s, max_val = self.patch_size, self.scale, int(self.cache.max_vals[i])
        y, x = self._place(i, rng)
        way = int(rng.integers(8)) if self.augment else 0
        hr = _as_float(self.cache[i][y * s : (y + size) * s, x * s : (x + size) * s], max_val)
        if self.degradation.reduces_at_random:
            lr = self._reduced(i, y, x, rng)
        else:
            lr = _as_float(self.lr[i][y : y + size, x : x + size], max_val)
            lr = self.random_part(lr, max_val, rng) if self.random_part else lr
        return apply_dihedral(lr, way), apply_dihedral(hr, way)

    def _place(self, i, rng):
        """Returns row and column of a patch of image `i`, in low-resolution pixels."""
        ends = [side // self.scale - self.patch_size + 1 for side in self.cache.shapes[i]]
        if not self.hard_patches or rng.random() >= self.hard_patches:
            return tuple(int(rng.integers(0, end)) for end in ends)
        lost, step = self._lost(i)
        # A cell by its share of the loss, and a place in it; the patch has the cell in its middle where it can.
        row, column = divmod(int(np.searchsorted(lost, rng.random() * lost[-1], "right")), -(-ends[1] // step))
        return tuple(
            min(cell * step + int(rng.integers(step)), end - 1) for cell, end in zip((row, column), ends, strict=True)
        )

    @functools.lru_cache(maxsize=16384)  # noqa: B019  a sampler lives as long as its run
    def _lost(self, i) -> tuple[np.ndarray, int]:
        """Returns the running sum, over cells of places of a patch, of what interpolation loses in the patch's pixels.

        The cells are squares of the second result's side, in low-resolution pixels.
        """
        s, size, step = self.scale, self.patch_size, max(self.patch_size // 4, 1)
        hr = crop_to_multiple(_as_float(self.cache[i], int(self.cache.max_vals[i])), s)
        error = (resize.upscale(resize.resize(hr, (hr.shape[0] // s, hr.shape[1] // s)), s) - hr) ** 2
        error = error.mean(-1).reshape(hr.shape[0] // s, s, hr.shape[1] // s, s).sum((1, 3), dtype=np.float64)
        total = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        rows, columns = (np.arange(0, side - size + 1, step) for side in error.shape)
        patches = total[rows + size][:, columns + size] - total[rows][:, columns + size]
        patches += total[rows][:, columns] - total[rows + size][:, columns]
        # An image without any detail is as good at one place as at another.
        return np.cumsum(np.maximum(patches, 0) + 1e-12).astype(np.float32), step

    def _reduced(self, i, y, x, rng):
        """Returns a patch made from high-resolution pixels, those around it that matter included."""
        size, s, max_val = self.patch_size, self.scale, int(self.cache.max_vals[i])
        margin = -(-self.degradation.margin // s)
        top, left = max(y - margin, 0), max(x - margin, 0)
        ends = (min(place + size + margin, side // s) for place, side in zip((y, x), self.cache.shapes[i], strict=True))
        bottom, right = ends
        around = _as_float(self.cache[i][top * s : bottom * s, left * s : right * s], max_val)
        lr = self.degradation(around, max_val, rng)
        return lr[y - top : y - top + size, x - left : x - left + size]


def _as_float(pixels, max_val):
    return pixels if pixels.dtype == np.float32 else pixels.astype(np.float32) / np.float32(max_val)


def training_data(sampler: PatchSampler, start: int, stop: int | None):
    """Returns a `tf.data.Dataset` of the batches of the steps `start` to `stop`, or without end, made ahead.

    Returns:
        Dataset of pairs (low resolution, high resolution); see `PatchSampler.batch`.
    """
    import tensorflow as tf

    lr_shape = (sampler.batch_size, sampler.patch_size, sampler.patch_size, sampler.cache.channels)
    hr_side = sampler.patch_size * sampler.scale
    hr_shape = (sampler.batch_size, hr_side, hr_side, sampler.cache.channels)

    def batch(step):
        lr, hr = tf.numpy_function(sampler.batch, [step], (tf.float32, tf.float32), stateful=False)
        return tf.ensure_shape(lr, lr_shape), tf.ensure_shape(hr, hr_shape)

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    steps = tf.data.Dataset.counter(start) if stop is None else tf.data.Dataset.range(start, stop)
    return steps.map(batch, num_parallel_calls=2).prefetch(4).with_options(options)


def pairs(cache: PixelCache, scale: int, degradation: Degradation, chosen=None, seed: int = 0) -> Iterator[tuple]:
    """Yields the `chosen` whole images (all by default) for judging: (id, patient, max_val, LR, HR).

    The noise of a random degradation depends on the seed and the image's id alone. HR, of 8 or 16 bits, is cut to
    a multiple of the scale; LR is float32 in [0, 1].
    """
    for i in range(len(cache)) if chosen is None else chosen:
        name = cache.ids[i]
        key = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)
        max_val = int(cache.max_vals[i])
        hr = crop_to_multiple(cache[i], scale)
        lr = degradation(hr.astype(np.float32) / max_val, max_val, np.random.default_rng([seed, 2, key]))
        yield name, int(cache.patients[i]), max_val, lr, hr


def whole_images(cache: PixelCache, scale: int, degradation: Degradation, seed: int = 0):
    """Returns a `tf.data.Dataset` of the pairs of all whole images, (LR, HR), each a float32 batch of one in [0, 1]."""
    import tensorflow as tf

    def batches():
        for _, _, max_val, lr, hr in pairs(cache, scale, degradation, seed=seed):
            yield lr[None], hr[None].astype(np.float32) / np.float32(max_val)

    signature = tf.TensorSpec((1, None, None, cache.channels), tf.float32)
    images = tf.data.Dataset.from_generator(batches, output_signature=(signature, signature))
    return images.apply(tf.data.experimental.assert_cardinality(len(cache))).prefetch(2)


def validation_crops(
    cache: PixelCache, scale: int, degradation: Degradation, count: int, side: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the same central crops each time, to watch a run by.

    Args:
        cache: Images of the validation split.
        scale: Upsampling factor.
        degradation: How the low-resolution image is made.
        count: Number of images at most, taken evenly from the split.
        side: Side of the high-resolution crop at most; smaller where an image is.
        seed: Start of the degradation's random draws.

    Returns:
        float32 arrays in [0, 1], low and high resolution, as `PatchSampler.batch` returns.
    """
    chosen = np.unique(np.linspace(0, len(cache) - 1, count).astype(int))
    side = min(side, int(cache.shapes[chosen].min())) // scale
    crops = []
    for i in chosen:
        max_val = int(cache.max_vals[i])
        hr = crop_to_multiple(cache[i], scale).astype(np.float32) / max_val
        lr = degradation(hr, max_val, np.random.default_rng([seed, 3, i]))
        y, x = ((length - side) // 2 for length in lr.shape[:2])
        big = slice(y * scale, (y + side) * scale), slice(x * scale, (x + side) * scale)
        crops.append((lr[y : y + side, x : x + side], hr[big]))
    lr, hr = zip(*crops, strict=True)
    return np.stack(lr), np.stack(hr)
