"""Packs the decoded images of a dataset for transport, and unpacks them: JPEG-LS (ISO 14495-1), lossless.

Measured on 40 radiographs of ChestX-ray14 at 512x512: 262 kB each as they are, 103 kB as PNG, 87 kB as JPEG-LS. The
channels of an image are coded below each other, as one gray image.
"""

import hashlib
import io
import pathlib
import shutil
import typing

import numpy as np

from tfmisr.data import pixel_description, pixel_index
from tfmisr.data.pixel_cache import PixelCache, cache_of, write_folder
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write
from tfmisr.progress import bar

if typing.TYPE_CHECKING:
    from tfmisr.data.cached_source import CachedSource
    from tfmisr.data.sources import Source

FILE = "hr.jls"
_INDEX_BYTES = 300  # of an image in index.npz, where names have up to 60 characters


def pack(
    source: "Source | CachedSource", folder: pathlib.Path, max_megabytes: float | None = None, images: int | None = None
) -> dict[str, int]:
    """Writes all splits of a source, compressed, with their description; the folder appears complete or not at all.

    With a limit, each split keeps its share of the images; these are spread evenly over its patients, one image of
    each patient before the second of any.

    Args:
        source: A `tfmisr.data.Source` or `CachedSource`.
        folder: Folder to make.
        max_megabytes: Largest size of all files, in 10^6 bytes; `None`: unlimited.
        images: Largest number of images in all splits; `None`: all.

    Returns:
        The number of images in each split that was written.

    Raises:
        InputError: The folder is not empty, or the limit leaves a split without images.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"expected a new or empty folder at {folder}; choose another --pixel_cache")
    caches = {split: cache_of(source, split) for split in source.splits}
    total, splits = sum(map(len, caches.values())), {}

    def write(temporary):
        for split, cache in caches.items():
            share = len(cache) / total
            limit = None if max_megabytes is None else int((max_megabytes * 1e6 - 5000) * share)
            count = len(cache) if images is None else min(len(cache), int(images * share + 0.5))
            splits[split] = _pack_split(cache, temporary / split, count, limit)
        full = all(splits[split]["images"] == len(cache) for split, cache in caches.items())
        description = pixel_description.of(source, splits)
        counts = {split: values["images"] for split, values in splits.items()}
        pixel_description.write(temporary, description if full else {**description, "images": counts})

    if folder.exists():
        folder.rmdir()
    write_folder(folder, write)
    return {split: values["images"] for split, values in splits.items()}


def _pack_split(cache: PixelCache, folder: pathlib.Path, count: int, limit: int | None) -> dict:
    folder.mkdir()
    written, start = {}, 0
    with open(folder / FILE, "xb") as file:
        for i in bar(by_patients(cache.patients)[:count], desc=f"packing {folder.name}", unit=" images", leave=False):
            content = encode(cache[i])
            if limit is not None and start + len(content) + _INDEX_BYTES * (len(written) + 1) > limit:
                break
            file.write(content)
            written[i] = start, len(content)
            start += len(content)
    if not written:
        raise InputError(f"expected a limit that leaves an image in each split, found none for {folder.name}; raise it")
    kept = sorted(written)
    starts, sizes = zip(*(written[i] for i in kept), strict=True)
    columns = {key: getattr(cache, key)[kept] for key in ("shapes", "max_vals", "patients")}
    pixel_index.write(folder, {"ids": [cache.ids[i] for i in kept], **columns, "starts": starts, "sizes": sizes})
    digest = hashlib.sha256()
    for i in kept:
        digest.update(cache[i].tobytes())
    return {"images": len(kept), "sha256": digest.hexdigest()}


def by_patients(patients: np.ndarray) -> list[int]:
    """Returns the indices of all images in an order whose every beginning is spread evenly over the patients.

    The first images of all patients come before the second ones; patients are visited in the order of the van der
    Corput sequence (their ranks with the bits reversed).

    Args:
        patients: Patient of each image.
    """
    _, ranks = np.unique(patients, return_inverse=True)
    bits = max(int(ranks.max()).bit_length(), 1)
    reversed_ranks = [int(f"{rank:0{bits}b}"[::-1], 2) for rank in ranks.tolist()]
    seen, levels = {}, []
    for rank in ranks.tolist():
        levels.append(seen.setdefault(rank, 0))
        seen[rank] += 1
    return sorted(range(len(ranks)), key=lambda i: (levels[i], reversed_ranks[i]))


def encode(pixels: np.ndarray) -> bytes:
    """Returns an image `(height, width, channels)` as a JPEG-LS codestream, or its raw bytes where those are shorter.

    Raises:
        AssertionError: The codestream does not give back the same pixels.
    """
    import jpeg_ls

    raw = np.ascontiguousarray(pixels).tobytes()
    plane = _plane(pixels)
    if max(plane.shape) >= 2**16:
        return raw
    bits = max(int(plane.max()).bit_length(), 2)
    try:
        content = bytes(jpeg_ls.encode_buffer(plane.tobytes(), *plane.shape, 1, bits))
    except RuntimeError:  # its buffer has the size of the image: too small for noise, and for a few pixels
        return raw
    if len(content) >= len(raw):
        return raw
    if not np.array_equal(decode(content, pixels.shape, pixels.dtype), pixels):
        raise AssertionError("JPEG-LS is not lossless here")
    return content


def _plane(pixels) -> np.ndarray:
    height, width, channels = pixels.shape
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0)).reshape(channels * height, width)


def decode(content: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Returns the image that `encode` made bytes of.

    Args:
        content: The bytes.
        shape: Height, width and channels that the image must have; memory is allocated for no other size.
        dtype: uint8 or uint16.

    Raises:
        InputError: The bytes are not such an image.
    """
    height, width, channels = shape
    if len(content) == height * width * channels * np.dtype(dtype).itemsize:
        return np.frombuffer(content, dtype).reshape(shape)
    import jpeg_ls
    from pydicom import uid

    from tfmisr.edge import codestreams

    if not content.endswith(b"\xff\xd9"):  # CharLS would search long for the end of a truncated codestream
        raise InputError("a compressed image is truncated")
    header = codestreams.parse(content, uid.JPEGLSLossless)
    if (header.rows, header.columns, header.components) != (channels * height, width, 1):
        raise InputError(f"a compressed image has {header.rows}x{header.columns} pixels, not those of the index")
    if header.precision > 8 * np.dtype(dtype).itemsize:
        raise InputError(f"a compressed image has {header.precision} bits, more than the index says")
    try:
        plane = jpeg_ls.decode(np.frombuffer(content, np.uint8))
    except RuntimeError as error:
        raise InputError(f"a compressed image is damaged ({error})") from error
    return np.moveaxis(plane.reshape(channels, height, width), 0, -1).astype(dtype)


def unpack(folder: pathlib.Path, channels: int, dtype: np.dtype, sha256: str) -> None:
    """Writes `hr.bin` of a packed split, unless it is there.

    Args:
        folder: Folder of the split.
        channels: Channels of every image.
        dtype: Type of the pixels, uint8 or uint16.
        sha256: Hash of all pixels, which are not used where it differs.

    Raises:
        InputError: A file is missing or damaged, or the disk has not enough space.
    """
    path = folder / "hr.bin"
    if path.is_file():
        return
    index = pixel_index.read(folder, channels, dtype)
    total = int(index["shapes"].prod(1).sum()) * channels * dtype.itemsize
    if shutil.disk_usage(folder).free < total:
        raise InputError(f"unpacking {folder} needs {total / 1e6:,.0f} MB; free some space, or copy it to another disk")
    try:
        with atomic_write(path) as temporary, open(folder / FILE, "rb") as packed, open(temporary, "wb") as file:
            digest = _unpack(packed, file, index, channels, dtype)
            if digest != sha256:
                raise InputError("its pixels are not those that were packed")
    except (InputError, KeyError, FileNotFoundError) as error:
        raise InputError(f"{folder / FILE} cannot be unpacked: {error}; copy or make it again") from error


def _unpack(packed: typing.BinaryIO, file: typing.BinaryIO, index, channels, dtype) -> str:
    digest, length = hashlib.sha256(), packed.seek(0, io.SEEK_END)
    rows = zip(index["starts"].tolist(), index["sizes"].tolist(), index["shapes"].tolist(), strict=True)
    for start, size, shape in bar(rows, total=len(index["ids"]), desc="unpacking", unit=" images", leave=False):
        if start + size > length:
            raise InputError("it is truncated")
        packed.seek(start)
        pixels = decode(packed.read(size), (*shape, channels), dtype).tobytes()
        digest.update(pixels)
        file.write(pixels)
    return digest.hexdigest()
