"""Memory-mapped cache of the decoded images of a split, and of the low-resolution images derived from them."""

import concurrent.futures
import functools
import hashlib
import os
import pathlib
import shutil
import typing
from collections.abc import Callable

import numpy as np

from tfmisr.data import pixel_description, pixel_index
from tfmisr.degradations import Degradation, crop_to_multiple
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import add_path_to_errors, remove_stale_temporaries
from tfmisr.progress import bar

if typing.TYPE_CHECKING:
    from tfmisr.data.cached_source import CachedSource
    from tfmisr.data.sources import Source

FOLDER = "tfmisr_pixels"  # in that of a prepared dataset


class PixelCache:
    """The decoded images of one split, concatenated in one memory-mapped file.

    Args:
        folder: Holds `index.npz` and `hr.bin`.
        channels: Channels of every image.
        dtype: Type of the pixels, uint8 or uint16.

    Attributes:
        ids: Names of the images.
        shapes: int64 array (images, 2), height and width.
        max_vals: Full-scale pixel value of each image, which is 1.0 to a network.
        patients: Number of the patient of each image.

    Raises:
        InputError: A file is missing or damaged.
    """

    def __init__(self, folder: pathlib.Path, channels: int, dtype: np.dtype):
        index = pixel_index.read(folder, channels, np.dtype(dtype))
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
    """Images of different sizes, concatenated in one memory-mapped file.

    Args:
        path: File that holds the pixels, image after image.
        shapes: int array (images, 2), height and width.
        channels: Channels of every image.
        dtype: Type of the pixels.

    Raises:
        InputError: The file has another length.
    """

    def __init__(self, path: pathlib.Path, shapes: np.ndarray, channels: int, dtype: np.dtype):
        self.shapes, self.channels = shapes, channels
        self.starts = np.concatenate([[0], np.cumsum(shapes.prod(1) * channels)])
        expected = int(self.starts[-1]) * np.dtype(dtype).itemsize
        size = path.stat().st_size if path.is_file() else 0
        if size != expected:
            raise InputError(
                f"expected {expected:,} bytes in {path}, found {size:,}; delete {path.parent} or copy it again"
            )
        self.pixels = np.memmap(path, dtype, "r", shape=(int(self.starts[-1]),))

    def __getitem__(self, i: int) -> np.ndarray:
        """Returns the pixels of image `i`, (height, width, channels)."""
        flat = self.pixels[self.starts[i] : self.starts[i + 1]]
        return flat.reshape(*self.shapes[i], self.channels)


def write_folder(folder: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
    """Calls `write(temporary folder)` and renames that folder to `folder` when it succeeded."""
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
        if not folder.exists():  # otherwise another process has just written the same
            raise


def cache_of(source: "Source | CachedSource", split: str) -> PixelCache:
    """Returns the decoded images of a split; the first call decodes or unpacks and stores them.

    Raises:
        InputError: There is no such split, it holds no images, or its files are damaged.
    """
    folder = source.pixels / split
    if packed := getattr(source, "sha256", None):
        _unpack(source, split, packed)
        return PixelCache(folder, source.channels, source.dtype)
    if not folder.exists():
        write_folder(folder, functools.partial(_decode, source, split))
    cache = PixelCache(folder, source.channels, source.dtype)
    pixel_description.record(source, split, len(cache))
    return cache


def _unpack(source, split, sha256_of):
    if split not in source.splits:
        raise InputError(f"split must be one of {', '.join(source.splits)}. Received: {split}")
    if sha256 := sha256_of(split):
        from tfmisr.data import pixel_packing

        pixel_packing.unpack(source.pixels / split, source.channels, source.dtype, sha256)


def _decode(source, split, folder):
    rows = []
    with open(folder / "hr.bin", "wb") as file:
        for example in bar(source.examples(split), desc=f"decoding {split}", unit=" images", leave=False):
            file.write(np.ascontiguousarray(example["hr"], source.dtype).tobytes())
            rows.append((example["id"], example["hr"].shape[:2], example["max_val"], example["patient"]))
    if not rows:
        raise InputError(f"expected images in the {split} split of {source.name}, found none")
    ids, shapes, max_vals, patients = zip(*rows, strict=True)
    pixel_index.write(folder, {"ids": ids, "shapes": shapes, "max_vals": max_vals, "patients": patients})


def low_resolution(cache: PixelCache, scale: int, degradation: Degradation) -> Planes:
    """Returns the low-resolution images before the first random step; the first call computes and stores them."""
    deterministic, _ = degradation.split()
    key = hashlib.sha256(deterministic.describe().encode()).hexdigest()[:12]
    folder = cache.folder / f"lr-{key}"
    exact = deterministic.quantize and all(max_val < 2**16 for max_val in cache.max_vals)
    dtype = np.uint16 if exact else np.float32
    if not folder.exists():
        write_folder(folder, functools.partial(_reduce, cache, deterministic, scale, dtype))
    return Planes(folder / "lr.bin", cache.shapes // scale, cache.channels, dtype)


def _reduce(cache, degradation, scale, dtype, folder):
    def reduce(i):
        max_val = int(cache.max_vals[i])
        hr = crop_to_multiple(cache[i], scale).astype(np.float32) / max_val
        lr = degradation(hr, max_val)
        return np.rint(lr * max_val).astype(dtype) if dtype == np.uint16 else lr

    with open(folder / "lr.bin", "wb") as file, concurrent.futures.ThreadPoolExecutor() as pool:
        for start in bar(range(0, len(cache), 64), desc="making LR", unit=" x64 images", leave=False):
            file.writelines(lr.tobytes() for lr in pool.map(reduce, range(start, min(start + 64, len(cache)))))


def as_float(pixels: np.ndarray, max_val: int) -> np.ndarray:
    """Returns pixels as float32, integers divided by `max_val`."""
    return pixels if pixels.dtype == np.float32 else pixels.astype(np.float32) / np.float32(max_val)
