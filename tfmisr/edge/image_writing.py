"""Writes images as PNG and TIFF, 8 and 16 bits, gray and RGB."""

import itertools
import os
import pathlib
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import numpy as np
import png
import tifffile

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

WRITABLE = (".png", ".tif", ".tiff")


def write_image(path: str | os.PathLike, pixels: np.ndarray, max_val: int) -> None:
    """Writes a PNG or TIFF of one image; see `write_images`."""
    write_images(path, [pixels], max_val)


def write_images(
    path: str | os.PathLike,
    images: Iterable[np.ndarray],
    max_val: int,
    count: int = 1,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Writes a PNG of one image or a TIFF of one or more, depending on the extension; written atomically.

    Args:
        path: The file.
        images: uint8 or uint16 arrays of shape (height, width, 1 or 3), for TIFF also int8 and int16. They are
            consumed and written one at a time.
        max_val: Stored in the file (PNG text chunk "max_val", TIFF ImageDescription) for `images.read_images`.
        count: Number of images.
        notes: Keywords and ASCII texts: text chunks of a PNG; lines `keyword=text` of a TIFF's ImageDescription.

    Raises:
        InputError: The extension is not supported, a PNG would hold several images, or the folder does not exist.
        OSError: The file cannot be written; no partial file remains.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"the name must end in {', '.join(WRITABLE)}. Received: {path}")
    if suffix == ".png" and count > 1:
        raise InputError(f"a PNG holds one image; use a .tif file for {count}. Received: {path}")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; create it first")
    checked = (_checked(pixels, signed=suffix != ".png") for pixels in images)
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        (_encode_png if suffix == ".png" else _encode_tiff)(
            file, checked, {"max_val": str(max_val), **(notes or {})}, count
        )


def _checked(pixels: np.ndarray, signed: bool) -> np.ndarray:
    dtypes = ("uint8", "uint16", "int8", "int16") if signed else ("uint8", "uint16")
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype not in dtypes:
        raise ValueError(
            f"`pixels` must be {', '.join(dtypes)} of shape (height, width, 1 or 3). "
            f"Received: {pixels.dtype} of shape {pixels.shape}"
        )
    return pixels


def _encode_png(file: BinaryIO, images: Iterable[np.ndarray], notes: Mapping[str, str], _: int) -> None:
    (pixels,) = images
    height, width, channels = pixels.shape
    big_endian = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))
    rows = big_endian.reshape(height, -1).view(np.uint8)
    step = channels * pixels.itemsize
    rows = np.concatenate(  # PNG filter type 1 (Sub): the difference from the pixel on the left
        [np.ones((height, 1), np.uint8), rows[:, :step], rows[:, step:] - rows[:, :-step]], axis=1
    )
    color_type = 0 if channels == 1 else 2
    header = struct.pack(">2I5B", width, height, 8 * pixels.itemsize, color_type, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        *((b"tEXt", f"{keyword}\0{text}".encode("ascii")) for keyword, text in notes.items()),
        (b"IDAT", zlib.compress(rows.data, 6)),
        (b"IEND", b""),
    ]
    png.write_chunks(file, chunks)


def _encode_tiff(file: BinaryIO, images: Iterable[np.ndarray], notes: Mapping[str, str], count: int) -> None:
    images = iter(images)
    first = next(images)
    description = "\n".join(f"{keyword}={text}" for keyword, text in notes.items())
    # Above 4 GB offsets need 64 bits (BigTIFF), which must be decided before the first page.
    with tifffile.TiffWriter(file, bigtiff=count * first.nbytes > 2**32 - 2**25) as writer:
        for pixels in itertools.chain([first], images):
            writer.write(
                pixels if pixels.shape[2] == 3 else pixels[..., 0],
                photometric="rgb" if pixels.shape[2] == 3 else "minisblack",
                compression="zlib",
                description=description,
                metadata=None,
            )
