"""Images in and out, 8 and 16 bits, gray and RGB: PNG, JPEG, TIFF and, for reading, DICOM.

What a file holds is told from its content, never from its name. Three rules make every image
(height, width, channels) with channels 1 or 3:

* An image whose three channels are equal everywhere is gray, as many chest X-rays saved as RGB are.
* A constant alpha channel is dropped, a varying one is applied over black.
* 8 bits count from 0 to 255. 16 bits count to what `write_image` noted in the file, otherwise to
  the smallest `2**k - 1` that holds the values of the file, or of its series where that is given
  (`tfmisr.edge.series`): 12-bit data in a 16-bit file count to 4095.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import struct
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
import PIL.Image
import png
import tifffile

from tfmisr.edge import dicom, series, tiff
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import whole
from tfmisr.edge.levels import MAX_PIXELS, Frames, to_unsigned, upright, without_alpha

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


@dataclasses.dataclass(frozen=True)
class Image:
    """One image, or one frame of several.

    Attributes:
        pixels: uint8 or uint16 array of shape (height, width, 1 or 3).
        max_val: Pixel value that is 1.0 to a network.
        patient: Patient ID (0010,0020) of a DICOM file, to group images; never stored or shown.
    """

    pixels: np.ndarray
    max_val: int
    patient: str | None = dataclasses.field(default=None, repr=False)


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


def read_images(path: str | os.PathLike, scale=None) -> list[Image]:
    """Returns all frames of a file; see `iter_images`."""
    images, pixels = [], 0
    for image in iter_images(path, scale):
        pixels += image.pixels.shape[0] * image.pixels.shape[1]
        if pixels > 2 * MAX_PIXELS:
            raise InputError(f"{path}: all frames have more than {2 * MAX_PIXELS} pixels; split it")
        images.append(image)
    return images


def iter_images(path: str | os.PathLike, scale=None) -> Iterator[Image]:
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
        yield Image(np.ascontiguousarray(pixels[..., :1] if gray else pixels), max_val, patient)


def survey(path: str | os.PathLike, found: series.Survey) -> None:
    """Decodes a file so that `found` gets the limits of its values."""
    next(iter_images(path, found), None)


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
    """Writes a PNG or TIFF, by the extension, that appears whole or not at all.

    Args:
        pixels: uint8 or uint16 array of shape (height, width, 1 or 3), written as it is.
        max_val: Noted in the file (PNG text "max_val", TIFF ImageDescription) for `read_images`.

    Raises:
        InputError: Another extension, or no such folder.
        OSError: The file cannot be written; nothing of it is left.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise InputError(f"the name must end in {', '.join(WRITABLE)}. Received: {path}")
    shaped = pixels.ndim == 3 and pixels.shape[2] in (1, 3)
    if not shaped or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            "`pixels` must be uint8 or uint16 of shape (height, width, 1 or 3). "
            f"Received: {pixels.dtype} of shape {pixels.shape}"
        )
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")
    encode = _encode_png if path.suffix.lower() == ".png" else _encode_tiff
    with whole(path) as temporary, open(temporary, "wb") as file:
        encode(file, pixels, max_val)


def _encode_png(file, pixels, max_val):
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
        (b"IDAT", zlib.compress(rows, 6)),
        (b"IEND", b""),
    ]
    png.write_chunks(file, chunks)


def _encode_tiff(file, pixels, max_val):
    tifffile.imwrite(
        file,
        pixels if pixels.shape[2] == 3 else pixels[..., 0],
        photometric="rgb" if pixels.shape[2] == 3 else "minisblack",
        compression="zlib",
        description=f"max_val={max_val}",
        metadata=None,
    )


@contextlib.contextmanager
def _decoding(path, kind):
    # The decoders raise almost anything on broken files, and warn of what they mended.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # Errors about DICOM quote values of the header, which may name the patient.
        detail = "" if kind == "DICOM" else f": {error}"
        reason = f"{type(error).__name__}{detail}"
        raise InputError(f"{path}: broken or unsupported {kind} ({reason})") from None


def _check_size(path, height, width):
    if height * width > MAX_PIXELS:
        raise InputError(f"{path}: {width} x {height} pixels are more than {MAX_PIXELS}")


def _all_gray(frames):
    for pixels in frames:
        if pixels.shape[-1] == 1:
            return True  # and so are the others of the file
        if not all(np.array_equal(pixels[..., 0], pixels[..., channel]) for channel in (1, 2)):
            return False
    return True


def _note(text) -> int | None:
    """Returns the `max_val` that `write_image` noted."""
    match = re.fullmatch(r"(?:max_val=)?(\d{1,5})", str(text or ""))
    return int(match[1]) if match and 0 < int(match[1]) < 65536 else None


def _read_png(path, scale):
    header = _png_header(path)
    # Pillow narrows 16-bit RGB and gray with alpha to 8 bits.
    pixels = _pypng_pixels(path) if header.bits == 16 else _pillow_pixels(path)
    return _single(without_alpha(pixels), _note(_png_text(path)), scale)


def _png_header(path):
    with open(path, "rb") as file:
        width, height, depth, colour = struct.unpack(">2I2B", file.read(26)[16:])
    _check_size(path, height, width)
    channels = 1 if colour in (0, 4) else 3
    group = ("", channels, 16) if depth == 16 and _note(_png_text(path)) is None else None
    return Header(height, width, channels, 16 if depth == 16 else 8, group=group)


def _pypng_pixels(path):
    with open(path, "rb") as file:
        width, height, rows, info = png.Reader(file=file).read()
        rows = np.array([np.frombuffer(row, np.uint16) for row in rows])
    return rows.reshape(height, width, info["planes"])


def _png_text(path):
    with open(path, "rb") as file:
        for kind, data in png.Reader(file=file).chunks():
            if kind == b"tEXt" and data.startswith(b"max_val\0"):
                return data[8:].decode("latin-1")
            if kind == b"IDAT":
                return None


def _read_jpeg(path, scale):
    _jpeg_header(path)
    with PIL.Image.open(path) as image:
        orientation = image.getexif().get(0x0112)
    return _single(upright(without_alpha(_pillow_pixels(path)), orientation), None, scale)


def _jpeg_header(path):
    with PIL.Image.open(path) as image:
        _check_size(path, image.height, image.width)
        return Header(image.height, image.width, 1 if image.mode == "L" else 3, 8)


def _read_tiff(path, scale):
    *_, description = tiff.read_header(path)
    return tiff.read_frames(path, _note(description), scale)


def _tiff_header(path):
    height, width, channels, bits, description = tiff.read_header(path)
    decides = _note(description) is None and (bits == 16 or tiff.is_signed(path))
    return Header(height, width, channels, bits, group=("", channels, bits) if decides else None)


def _dicom_header(path):
    ds = dicom.read_header(path)
    if dicom.refusal(ds):
        return None
    if reason := dicom.unsupported(ds):
        raise InputError(f"{path}: {reason}")
    kind = dicom.channels_of(ds), dicom.bits_of(ds)
    return Header(ds.Rows, ds.Columns, *kind, _patient(ds), series.group_of(ds))


def _patient(ds):
    return str(ds.get("PatientID") or "").strip() or None


def _pillow_pixels(path):
    with PIL.Image.open(path) as image:
        if image.mode in ("P", "PA"):
            clear = image.mode == "PA" or "transparency" in image.info
            image = image.convert("RGBA" if clear else "RGB")
        elif image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
            image = image.convert("RGB")
        pixels = np.asarray(image)
    return pixels * np.uint8(255) if pixels.dtype == bool else pixels


def _single(pixels, max_val, scale):
    bits = 8 * pixels.itemsize
    _, max_val = to_unsigned([(pixels, None)], bits, max_val=max_val, scale=scale if bits > 8 else None)
    return Frames(1, lambda: iter([pixels])), max_val


_READERS = {"PNG": _read_png, "JPEG": _read_jpeg, "TIFF": _read_tiff, "DICOM": dicom.read_frames}
_HEADERS = {"PNG": _png_header, "JPEG": _jpeg_header, "TIFF": _tiff_header, "DICOM": _dicom_header}
