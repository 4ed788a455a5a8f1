"""Reads PNG, JPEG, TIFF and DICOM images of 8 and 16 bits, gray and RGB.

The format is detected from a file's content, never from its name. Images have the shape (height, width, channels) with
1 or 3 channels, by three rules:

* An image whose three channels are equal everywhere is gray, such as a chest X-ray saved as RGB.
* A constant alpha channel is dropped. A varying one is composited over black, unless the color is premultiplied
  (associated alpha of TIFF). Extra samples of unspecified meaning are dropped.
* The full scale of 8 bits is 255. That of 16 bits is the `max_val` that `write_image` stored in the file, otherwise the
  smallest `2**k - 1` that is not below the values of the file, or of its series where an intensity scale is passed
  (`tfmisr.edge.series`): 4095 for 12-bit data in a 16-bit file.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import pydicom

from tfmisr.edge import dicom, png_jpeg, series, tiff
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.image_writing import WRITABLE as WRITABLE
from tfmisr.edge.image_writing import write_image as write_image
from tfmisr.edge.image_writing import write_images as write_images
from tfmisr.edge.levels import MAX_PIXELS, Frames, IntensityScaleChooser, to_unsigned

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")

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
        max_val: Pixel value that maps to 1.0 for a network.
        patient: Patient ID (0010,0020) of a DICOM file, to group images; never stored or displayed.
        offset: For a signed TIFF, the value to add to the pixels to obtain the file's values, whose minimum is shifted
            to 0 if it is negative; `None` for unsigned files.
        count: Number of images in the file.
    """

    pixels: np.ndarray
    max_val: int
    patient: str | None = dataclasses.field(default=None, repr=False)
    offset: int | None = None
    count: int = 1

    def __repr__(self) -> str:
        height, width, channels = self.pixels.shape
        color = "gray" if channels == 1 else "RGB"
        return f"<{color} image of {height}x{width} pixels, {self.pixels.dtype}, max_val {self.max_val}>"

    def to_file_values(self, pixels: np.ndarray) -> np.ndarray:
        """Returns pixels on this image's scale as values of its file: of its bit depth, and signed if the file is.

        Args:
            pixels: Unsigned integers of any shape, up to `max_val`.
        """
        if self.offset is None:
            return pixels.astype(self.pixels.dtype, copy=False)
        limits = np.iinfo(f"i{self.pixels.itemsize}")
        return np.clip(pixels.astype(np.int32) + self.offset, limits.min, limits.max).astype(limits.dtype)

    def on_own_scale(self, pixels: np.ndarray) -> np.ndarray:
        """Deprecated name of `to_file_values`."""
        warnings.warn("Image.on_own_scale is now Image.to_file_values", DeprecationWarning, stacklevel=2)
        return self.to_file_values(pixels)


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known about an image before its pixels are decoded.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: 1 or 3 as stored; equal channels are detected later, from the pixels.
        bits: 8 or 16.
        patient: Patient ID (0010,0020) of a DICOM file.
        group: The series whose values determine `max_val`, see `tfmisr.edge.series`; `None` where the header does.
    """

    height: int
    width: int
    channels: int
    bits: int
    patient: str | None = dataclasses.field(default=None, repr=False)
    group: series.Group | None = dataclasses.field(default=None, repr=False)


def read_images(path: str | os.PathLike, scale: IntensityScaleChooser | None = None) -> list[Image]:
    """Returns all frames of a file; see `iter_images`."""
    images, pixels = [], 0
    for image in iter_images(path, scale):
        pixels += image.pixels.shape[0] * image.pixels.shape[1]
        if pixels > 2 * MAX_PIXELS:
            raise InputError(f"{path}: all frames together have more than {2 * MAX_PIXELS} pixels; split the file")
        images.append(image)
    return images


def iter_images(path: str | os.PathLike, scale: IntensityScaleChooser | None = None) -> Iterator[Image]:
    """Yields the frames of a PNG, JPEG, TIFF or DICOM file, with the same channels and `max_val`.

    Args:
        path: The file.
        scale: Intensity scale of its series, for a file whose `Header` has a `group`; by default the file's own.

    Raises:
        InputError: The file does not exist, or is no image, broken or not supported.
    """
    file_format = detect_format(path)
    if file_format is None:
        raise InputError(f"{path}: expected a PNG, JPEG, TIFF or DICOM image, found something else")
    with _decoding(path, file_format):
        patient = _patient(dicom.read_header(path)) if file_format == "DICOM" else None
        try:
            frames, max_val = _READERS[file_format](path, scale)
        except InputError as error:
            raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None
        gray = _all_gray(frames)
        remaining = iter(frames)
    while True:
        with _decoding(path, file_format):
            pixels = next(remaining, None)
        if pixels is None:
            return
        pixels = np.ascontiguousarray(pixels[..., :1] if gray else pixels)
        yield Image(pixels, max_val, patient, frames.offset, frames.count)


def survey(path: str | os.PathLike, result: series.Survey) -> None:
    """Decodes a file to add its lowest and highest value to a survey."""
    next(iter_images(path, result), None)


def group_of(path: str | os.PathLike) -> series.Group | None:
    """Returns the `series.Group` of an image; `None` where its type defines the scale, or it is no image."""
    try:
        header = read_header(path)
    except InputError:
        return None  # the error is raised when its pixels are read
    return header.group if header else None


def read_header(path: str | os.PathLike) -> Header | None:
    """Returns size and type without decoding pixels, or `None` if the file is not an image.

    Files of other formats are not images, nor are DICOM SOP Instances such as reports or segmentations.

    Raises:
        InputError: By its content or extension the file is an image, but broken or not supported.
    """
    file_format = detect_format(path)
    if file_format is None:
        if pathlib.Path(path).suffix.lower() in EXTENSIONS:
            raise InputError(f"{path}: expected an image, found something else")
        return None
    with _decoding(path, file_format):
        return _HEADERS[file_format](path)


def detect_format(path: str | os.PathLike) -> str | None:
    """Returns "PNG", "JPEG", "TIFF" or "DICOM" by the first bytes of a file, `None` for other formats."""
    try:
        with open(path, "rb") as file:
            head = file.read(140)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return format_of_bytes(head)


def format_of_bytes(head: bytes) -> str | None:
    """Returns what `detect_format` returns for a file that begins with these bytes, the first 140 or more."""
    # DICOM is checked first: its preamble may be a TIFF header (PS3.10 7.1). Files without a preamble start with group
    # 0002 or 0008, and a Data Element that is short or has an explicit VR.
    no_preamble = re.match(rb"[\x02\x08]\0[\0-\x1f]\0(?:[\0-\xff]{2}\0\0|[A-Z]{2})", head)
    if head[128:132] == b"DICM" or no_preamble:
        return "DICOM"
    return next((file_format for start, file_format in _SIGNATURES.items() if head.startswith(start)), None)


@contextlib.contextmanager
def _decoding(path: str | os.PathLike, file_format: str) -> Iterator[None]:
    # On broken files decoders raise exceptions of many types, and warn about what they repaired.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001
        # Errors about DICOM quote Attribute values, which may identify the patient.
        error_type = type(error).__name__
        detail = "" if file_format == "DICOM" else f": {str(error).removeprefix(f'{error_type}: ')}"
        reason = f"{error_type}{detail}"
        raise InputError(f"{path}: broken or unsupported {file_format} ({reason})") from None


def _all_gray(frames: Iterable[np.ndarray]) -> bool:
    for pixels in frames:
        if pixels.shape[-1] == 1:
            return True  # all frames of a file have the same channels
        if not all(np.array_equal(pixels[..., 0], pixels[..., channel]) for channel in (1, 2)):
            return False
    return True


def _stored_max_val(text: str | None) -> int | None:
    """Returns the `max_val` that `write_image` stored, `None` if there is none."""
    match = re.fullmatch(r"(?:max_val=)?(\d{1,5})(?:\n\w+=.*)?", str(text or ""), re.DOTALL)
    return int(match[1]) if match and 0 < int(match[1]) < 65536 else None


def _read_png(path: str | os.PathLike, scale: IntensityScaleChooser | None) -> tuple[Frames, int]:
    pixels, text = png_jpeg.read_png(path)
    return _single(pixels, _stored_max_val(text), scale)


def _read_jpeg(path: str | os.PathLike, scale: IntensityScaleChooser | None) -> tuple[Frames, int]:
    return _single(png_jpeg.read_jpeg(path), None, scale)


def _read_tiff(path: str | os.PathLike, scale: IntensityScaleChooser | None) -> tuple[Frames, int]:
    *_, description = tiff.read_header(path)
    return tiff.read_frames(path, _stored_max_val(description), scale)


def _png_header(path: str | os.PathLike) -> Header:
    height, width, channels, bits = png_jpeg.png_header(path)
    needs_scale = bits == 16 and _stored_max_val(png_jpeg.png_note(path)) is None
    return Header(height, width, channels, bits, group=("", channels, bits) if needs_scale else None)


def _tiff_header(path: str | os.PathLike) -> Header:
    height, width, channels, bits, description = tiff.read_header(path)
    needs_scale = _stored_max_val(description) is None and (bits == 16 or tiff.is_signed(path))
    return Header(height, width, channels, bits, group=("", channels, bits) if needs_scale else None)


def _dicom_header(path: str | os.PathLike) -> Header | None:
    ds = dicom.read_header(path)
    if dicom.rejection_reason(ds):
        return None
    if reason := dicom.unsupported_reason(ds):
        raise InputError(f"{path}: {reason}")
    return Header(ds.Rows, ds.Columns, dicom.channels_of(ds), dicom.bits_of(ds), _patient(ds), series.group_of(ds))


def _patient(ds: pydicom.Dataset) -> str | None:
    return str(ds.get("PatientID") or "").strip() or None


def _single(pixels: np.ndarray, max_val: int | None, scale: IntensityScaleChooser | None) -> tuple[Frames, int]:
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


__getattr__ = renamed(__name__, file_kind="detect_format")
