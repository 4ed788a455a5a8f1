"""Images in and out, 8 and 16 bits, gray and RGB: PNG, JPEG, TIFF and, for reading, DICOM.

What a file holds is told from its content, never from its name. Three rules make every image
(height, width, channels) with channels 1 or 3:

* An image whose three channels are equal everywhere is gray, as many chest X-rays saved as RGB are.
* A constant alpha channel is dropped, a varying one is applied over black, unless the color has
  been multiplied by it already (associated alpha of TIFF); samples of no stated meaning are dropped.
* 8 bits count from 0 to 255. 16 bits count to what `write_image` noted in the file, otherwise to
  the smallest `2**k - 1` that holds the values of the file, or of its series where that is given
  (`tfmisr.edge.series`): 12-bit data in a 16-bit file count to 4095.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import re
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import png
import pydicom
import tifffile

from tfmisr.edge import dicom, png_jpeg, series, tiff
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write
from tfmisr.edge.levels import MAX_PIXELS, Frames, ScaleChooser, to_unsigned

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
WRITABLE = (".png", ".tif", ".tiff")

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}


@dataclasses.dataclass(frozen=True, repr=False)
class Image:
    """One image, or one frame of several.

    Attributes:
        pixels: uint8 or uint16 array of shape (height, width, 1 or 3).
        max_val: Pixel value that is 1.0 to a network.
        patient: Patient ID (0010,0020) of a DICOM file, to group images; never stored or shown.
        offset: Of a signed TIFF, what is added to the pixels to give its own values, whose lowest is
            0 here if it is negative; `None` for unsigned files.
        count: Number of images in the file.
    """

    pixels: np.ndarray
    max_val: int
    patient: str | None = dataclasses.field(default=None, repr=False)
    offset: int | None = None
    count: int = 1

    def __repr__(self) -> str:
        height, width, channels = self.pixels.shape
        kind = "gray" if channels == 1 else "RGB"
        return f"<{kind} image of {height}x{width} pixels, {self.pixels.dtype}, max_val {self.max_val}>"

    def on_own_scale(self, pixels: np.ndarray) -> np.ndarray:
        """Returns pixels that count as this image's do as the file holds them: signed where it is, of its depth.

        Args:
            pixels: Unsigned integers of any shape, up to `max_val`.
        """
        if self.offset is None:
            return pixels.astype(self.pixels.dtype, copy=False)
        limits = np.iinfo(f"i{self.pixels.itemsize}")
        return np.clip(pixels.astype(np.int32) + self.offset, limits.min, limits.max).astype(limits.dtype)


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are decoded.

    Attributes:
        channels: 1 or 3 as stored; 3 equal ones are found only in the pixels.
        bits: 8 or 16.
        group: What decides `max_val` beside the file's own values, see `series`; `None` where the header tells it.
    """

    height: int
    width: int
    channels: int
    bits: int
    patient: str | None = dataclasses.field(default=None, repr=False)
    group: series.Group | None = dataclasses.field(default=None, repr=False)


def read_images(path: str | os.PathLike, scale: ScaleChooser | None = None) -> list[Image]:
    """Returns all frames of a file; see `iter_images`."""
    images, pixels = [], 0
    for image in iter_images(path, scale):
        pixels += image.pixels.shape[0] * image.pixels.shape[1]
        if pixels > 2 * MAX_PIXELS:
            raise InputError(f"{path}: all frames have more than {2 * MAX_PIXELS} pixels; split it")
        images.append(image)
    return images


def iter_images(path: str | os.PathLike, scale: ScaleChooser | None = None) -> Iterator[Image]:
    """Yields the frames of a PNG, JPEG, TIFF or DICOM file, with the same channels and `max_val`.

    Args:
        path: The file.
        scale: `levels.Scale` of its series, for a file whose header has a `group`; by default the file's own.

    Raises:
        InputError: No such file, no image, a broken one, or one of a kind that is not supported.
    """
    kind = file_kind(path)
    if kind is None:
        raise InputError(f"{path}: expected a PNG, JPEG, TIFF or DICOM image, found something else")
    with _decoding(path, kind):
        patient = _patient(dicom.read_header(path)) if kind == "DICOM" else None
        try:
            frames, max_val = _READERS[kind](path, scale)
        except InputError as error:
            raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None
        gray = _all_gray(frames)
        remaining = iter(frames)
    while True:
        with _decoding(path, kind):
            pixels = next(remaining, None)
        if pixels is None:
            return
        pixels = np.ascontiguousarray(pixels[..., :1] if gray else pixels)
        yield Image(pixels, max_val, patient, frames.offset, frames.count)


def survey(path: str | os.PathLike, found: series.Survey) -> None:
    """Decodes a file so that `found` gets the limits of its values."""
    next(iter_images(path, found), None)


def group_of(path: str | os.PathLike) -> series.Group | None:
    """Returns what the files of an image's series share; `None` where its type fixes its scale, or it is no image."""
    try:
        header = read_header(path)
    except InputError:
        return None  # told when its pixels are wanted
    return header.group if header else None


def read_header(path: str | os.PathLike) -> Header | None:
    """Returns size and type without decoding pixels, or `None` if the file holds no image.

    No image is anything of another format, and a DICOM object such as a report or a segmentation.

    Raises:
        InputError: An image, by its content or its extension, that is broken or not supported.
    """
    kind = file_kind(path)
    if kind is None:
        if pathlib.Path(path).suffix.lower() in EXTENSIONS:
            raise InputError(f"{path}: expected an image, found something else")
        return None
    with _decoding(path, kind):
        return _HEADERS[kind](path)


def file_kind(path: str | os.PathLike) -> str | None:
    """Returns "PNG", "JPEG", "TIFF", "DICOM", or `None` for anything else, from the first bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(140)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    # DICOM comes first: its preamble may be that of a TIFF file (PS3.10 7.1). Files without one
    # start with group 0008 or 0002, and a value that is short or has a VR.
    bare = re.match(rb"[\x02\x08]\0[\0-\x1f]\0(?:[\0-\xff]{2}\0\0|[A-Z]{2})", head)
    if head[128:132] == b"DICM" or bare:
        return "DICOM"
    return next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), None)


def write_image(path: str | os.PathLike, pixels: np.ndarray, max_val: int) -> None:
    """Writes a PNG or TIFF of one image; see `write_images`."""
    write_images(path, [pixels], max_val)


def write_images(path: str | os.PathLike, images: Iterable[np.ndarray], max_val: int, count: int = 1) -> None:
    """Writes a PNG of one image or a TIFF of any number, by the extension; it appears whole or not at all.

    Args:
        path: The file.
        images: uint8 or uint16 arrays of shape (height, width, 1 or 3), written as they are; for
            TIFF int8 and int16 too. One after the other is taken and written.
        max_val: Noted in the file (PNG text "max_val", TIFF ImageDescription) for `read_images`.
        count: Number of images.

    Raises:
        InputError: Another extension, several images for a PNG, or no such folder.
        OSError: The file cannot be written; nothing of it is left.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"the name must end in {', '.join(WRITABLE)}. Received: {path}")
    if suffix == ".png" and count > 1:
        raise InputError(f"a PNG holds one image; name a .tif file for {count}. Received: {path}")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")
    checked = (_checked(pixels, signed=suffix != ".png") for pixels in images)
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        (_encode_png if suffix == ".png" else _encode_tiff)(file, checked, max_val, count)


def _checked(pixels: np.ndarray, signed: bool) -> np.ndarray:
    dtypes = ("uint8", "uint16", "int8", "int16") if signed else ("uint8", "uint16")
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype not in dtypes:
        raise ValueError(
            f"`pixels` must be {', '.join(dtypes)} of shape (height, width, 1 or 3). "
            f"Received: {pixels.dtype} of shape {pixels.shape}"
        )
    return pixels


def _encode_png(file: BinaryIO, images: Iterable[np.ndarray], max_val: int, _: int) -> None:
    (pixels,) = images
    height, width, channels = pixels.shape
    big_endian = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))
    rows = big_endian.reshape(height, -1).view(np.uint8)
    step = channels * pixels.itemsize
    rows = np.concatenate(  # filter 1, Sub: the difference to the pixel on the left
        [np.ones((height, 1), np.uint8), rows[:, :step], rows[:, step:] - rows[:, :-step]], axis=1
    )
    colour = 0 if channels == 1 else 2
    header = struct.pack(">2I5B", width, height, 8 * pixels.itemsize, colour, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"tEXt", b"max_val\0%d" % max_val),
        (b"IDAT", zlib.compress(rows.data, 6)),
        (b"IEND", b""),
    ]
    png.write_chunks(file, chunks)


def _encode_tiff(file: BinaryIO, images: Iterable[np.ndarray], max_val: int, count: int) -> None:
    images = iter(images)
    first = next(images)
    # Above 4 GB the offsets need 64 bits, which is decided before the first page.
    with tifffile.TiffWriter(file, bigtiff=count * first.nbytes > 2**32 - 2**25) as writer:
        for pixels in itertools.chain([first], images):
            writer.write(
                pixels if pixels.shape[2] == 3 else pixels[..., 0],
                photometric="rgb" if pixels.shape[2] == 3 else "minisblack",
                compression="zlib",
                description=f"max_val={max_val}",
                metadata=None,
            )


@contextlib.contextmanager
def _decoding(path: str | os.PathLike, kind: str) -> Iterator[None]:
    # The decoders raise almost anything on broken files, and warn of what they mended.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # Errors about DICOM quote values of the header, which may name the patient.
        kind_of_error = type(error).__name__
        detail = "" if kind == "DICOM" else f": {str(error).removeprefix(f'{kind_of_error}: ')}"
        reason = f"{kind_of_error}{detail}"
        raise InputError(f"{path}: broken or unsupported {kind} ({reason})") from None


def _all_gray(frames: Iterable[np.ndarray]) -> bool:
    for pixels in frames:
        if pixels.shape[-1] == 1:
            return True  # and so are the others of the file
        if not all(np.array_equal(pixels[..., 0], pixels[..., channel]) for channel in (1, 2)):
            return False
    return True


def _note(text: str | None) -> int | None:
    """Returns the `max_val` that `write_image` noted."""
    match = re.fullmatch(r"(?:max_val=)?(\d{1,5})", str(text or ""))
    return int(match[1]) if match and 0 < int(match[1]) < 65536 else None


def _read_png(path: str | os.PathLike, scale: ScaleChooser | None) -> tuple[Frames, int]:
    pixels, note = png_jpeg.read_png(path)
    return _single(pixels, _note(note), scale)


def _read_jpeg(path: str | os.PathLike, scale: ScaleChooser | None) -> tuple[Frames, int]:
    return _single(png_jpeg.read_jpeg(path), None, scale)


def _read_tiff(path: str | os.PathLike, scale: ScaleChooser | None) -> tuple[Frames, int]:
    *_, description = tiff.read_header(path)
    return tiff.read_frames(path, _note(description), scale)


def _png_header(path: str | os.PathLike) -> Header:
    height, width, channels, bits = png_jpeg.png_header(path)
    decides = bits == 16 and _note(png_jpeg.png_note(path)) is None
    return Header(height, width, channels, bits, group=("", channels, bits) if decides else None)


def _tiff_header(path: str | os.PathLike) -> Header:
    height, width, channels, bits, description = tiff.read_header(path)
    decides = _note(description) is None and (bits == 16 or tiff.is_signed(path))
    return Header(height, width, channels, bits, group=("", channels, bits) if decides else None)


def _dicom_header(path: str | os.PathLike) -> Header | None:
    ds = dicom.read_header(path)
    if dicom.refusal(ds):
        return None
    if reason := dicom.unsupported(ds):
        raise InputError(f"{path}: {reason}")
    kind = dicom.channels_of(ds), dicom.bits_of(ds)
    return Header(ds.Rows, ds.Columns, *kind, _patient(ds), series.group_of(ds))


def _patient(ds: pydicom.Dataset) -> str | None:
    return str(ds.get("PatientID") or "").strip() or None


def _single(pixels: np.ndarray, max_val: int | None, scale: ScaleChooser | None) -> tuple[Frames, int]:
    bits = 8 * pixels.itemsize
    _, max_val = to_unsigned([(pixels, None)], bits, max_val=max_val, scale=scale if bits > 8 else None)
    return Frames(1, lambda: iter([pixels])), max_val


_READERS = {"PNG": _read_png, "JPEG": _read_jpeg, "TIFF": _read_tiff, "DICOM": dicom.read_frames}
_HEADERS = {
    "PNG": _png_header,
    "JPEG": lambda path: Header(*png_jpeg.jpeg_header(path)),
    "TIFF": _tiff_header,
    "DICOM": _dicom_header,
}
