"""Decodes TIFF files: 8 and 16 bits, gray and RGB, one or more pages.

tifffile reads the tags, `tiff_rules` decides from them whether a page can be read, `tiff_strips` decodes its stored
samples and `tiff_color` converts them to gray or RGB. All compressions share these steps, and results do not depend on
packages beyond the base install.
"""

import contextlib
import logging
import math
import os
from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import PIL.Image
import tifffile

from tfmisr.edge import tiff_color, tiff_rules, tiff_strips
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Frames, IntensityScaleChooser, apply_exif_orientation, to_unsigned

REDUCED_OR_MASK = 0b101  # NewSubfileType (254)

# Otherwise tifffile prints what is wrong with a file, which our errors state.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_header(path: str | os.PathLike) -> tuple[int, int, int, int, str]:
    """Returns height, width, channels, bits (8 or 16) and ImageDescription of the first page."""
    with _open(path) as pages:
        page = pages[0]
        return page.imagelength, page.imagewidth, _channels(page), tiff_rules.bits(page), page.description


def is_signed(path: str | os.PathLike) -> bool:
    """Returns whether the first page has signed samples."""
    with _open(path) as pages:
        return tiff_rules.is_signed(pages[0])


def read_frames(
    path: str | os.PathLike, max_val: int | None, scale: IntensityScaleChooser | None = None
) -> tuple[Frames, int]:
    """Reads all pages but thumbnails and masks.

    White-is-zero is inverted; negative values are shifted up so that the lowest becomes 0.

    Args:
        path: A TIFF file.
        max_val: Full-scale value, if known.
        scale: Intensity scale of its series, used where `max_val` is not known.

    Returns:
        The frames, uint8 or uint16 of shape (height, width, 1 or 3), and `max_val`. The frames have an `offset` for
        signed samples, unless white is zero.

    Raises:
        InputError: The type of TIFF is not supported; the message gives the reason.
    """
    with _open(path) as pages:
        _check_alike(path, pages)
        count, bits = len(pages), tiff_rules.bits(pages[0])
        signed, inverted = tiff_rules.is_signed(pages[0]), tiff_color.is_inverted(pages[0])
    stored = Frames(count, lambda: _decode(path))
    pairs = ((p, None) for p in stored) if bits == 16 or signed else ()
    convert, max_val = to_unsigned(pairs, bits, inverted, max_val, scale if pairs else None)
    zero = convert(np.zeros(1, np.int64))[0]  # the pixel value of a stored 0
    offset = -int(zero) if signed and not inverted else None
    return Frames(count, lambda: (convert(p) for p in stored), offset), max_val


@contextlib.contextmanager
def _open(path: str | os.PathLike) -> Iterator[list[tifffile.TiffPage]]:
    """Yields the pages that are images, after checking that all of them can be read."""
    with _parsing(path):
        file = tifffile.TiffFile(path)
    with file:
        with _parsing(path):
            pages = [
                page for page in cast(Iterable[tifffile.TiffPage], file.pages) if not page.subfiletype & REDUCED_OR_MASK
            ]
        if not pages:
            raise InputError(f"{path}: the TIFF file contains no image")
        for page in pages:
            if reason := tiff_rules.unsupported_reason(page):
                raise InputError(f"{path}: {reason}")
        if (stated := _stated_count(file, pages[0])) > len(pages):
            raise InputError(
                f"{path}: {stated} contiguous images with tags for {len(pages)}, which only the program that wrote "
                "them can separate; save them as an ordinary multi-page TIFF"
            )
        yield pages


@contextlib.contextmanager
def _parsing(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except TypeError as error:  # from tifffile where the SampleFormats of a page differ
        raise InputError(
            f"{path}: samples of several SampleFormats (339) in one pixel, or broken tags; save it with one format"
        ) from error


def _stated_count(file: tifffile.TiffFile, page: tifffile.TiffPage) -> int:
    """Returns the number of images stated in metadata of ImageJ, MetaMorph or tifffile; 0 if absent."""
    if file.is_shaped:
        metadata = (file.shaped_metadata or ({},))[0]
        return math.prod(metadata.get("shape", ())) // math.prod(page.shape) if metadata.get("truncated") else 0
    if file.is_imagej:
        return int((file.imagej_metadata or {}).get("images", 0))
    if file.is_stk:
        return int((file.stk_metadata or {}).get("NumberPlanes", 0))
    return 0


def _check_alike(path: str | os.PathLike, pages: list[tifffile.TiffPage]) -> None:
    types = [_page_type(page) for page in pages]
    other = next((number for number, page_type in enumerate(types) if page_type != types[0]), None)
    if other is not None:
        raise InputError(
            f"{path}: pages of different types: page 1 is {_type_name(types[0])}, page {other + 1} is "
            f"{_type_name(types[other])}; convert them to one type, or split the file (tiffsplit)"
        )


def _page_type(page: tifffile.TiffPage) -> tuple[int, int, bool, bool]:
    return _channels(page), tiff_rules.bits(page), tiff_rules.is_signed(page), tiff_color.is_inverted(page)


def _type_name(page_type: tuple[int, int, bool, bool]) -> str:
    channels, bits, signed, inverted = page_type
    words = ["gray" if channels == 1 else "color", f"{bits} bits"]
    return ", ".join(words + ["signed"] * signed + ["white is zero"] * inverted)


def _channels(page: tifffile.TiffPage) -> int:
    return 1 if page.photometric in tiff_rules.GRAY else 3


def _decode(path: str | os.PathLike) -> Iterator[np.ndarray]:
    with _open(path) as pages:
        for page in pages:
            try:
                yield _pixels(path, page)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error


def _pixels(path: str | os.PathLike, page: tifffile.TiffPage) -> np.ndarray:
    if page.compression == tiff_strips.OLD_JPEG:
        return _old_jpeg(path, page)
    return apply_exif_orientation(tiff_color.to_gray_or_rgb(page, tiff_strips.read(page)), page.tags.valueof(274))


def _old_jpeg(path: str | os.PathLike, page: tifffile.TiffPage) -> np.ndarray:
    # Its tables may be anywhere in the file: Pillow reads all of it, and applies the orientation.
    with PIL.Image.open(path) as image:
        image.seek(page.index)
        pixels = np.asarray(image.convert("RGB"))
    return pixels if _channels(page) == 3 else pixels[..., :1]
