"""TIFF pixels: 8 and 16 bits, gray and RGB, one or more pages.

Two libraries share the work. tifffile reads 16-bit RGB, which Pillow narrows to 8 bits; Pillow
reads LZW and the other compressions that tifffile leaves to imagecodecs, a package the base install
does without.
"""

import logging
import os
from collections.abc import Iterator

import numpy as np
import PIL.Image
import tifffile

from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import MAX_PIXELS, Frames, to_unsigned, upright, without_alpha

PLAIN = ("NONE", "DEFLATE", "ADOBE_DEFLATE")  # decoded by tifffile alone
INTEGERS = (1, 2)  # SampleFormat (339): unsigned, signed
REDUCED_OR_MASK = 0b101  # NewSubfileType (254)

# Otherwise tifffile prints what it finds wrong in a file, which our errors tell.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_header(path: str | os.PathLike) -> tuple[int, int, int, int, str]:
    """Returns height, width, channels, bits (8 or 16) and ImageDescription of the first page."""
    with tifffile.TiffFile(path) as file:
        page = _pages(path, file)[0]
        return page.imagelength, page.imagewidth, _channels(page), _bits(page), page.description


def is_signed(path: str | os.PathLike) -> bool:
    """Returns whether the first page has signed samples."""
    with tifffile.TiffFile(path) as file:
        return _pages(path, file)[0].sampleformat == 2


def read_frames(path: str | os.PathLike, max_val: int | None, scale=None) -> tuple[Frames, int]:
    """Reads all pages but thumbnails and masks.

    White-is-zero is inverted; negative values are shifted up so that the lowest becomes 0.

    Args:
        path: A TIFF file.
        max_val: Value of full brightness, where known.
        scale: `levels.Scale` of its series, used where `max_val` is not known.

    Returns:
        The frames, uint8 or uint16 of shape (height, width, 1 or 3), and `max_val`.

    Raises:
        InputError: Samples are not integers of up to 16 bits, or the compression is not known.
    """
    with tifffile.TiffFile(path) as file:
        pages = _pages(path, file)
        first = pages[0]
        if len({(_channels(page), _bits(page), _inverted(page)) for page in pages}) > 1:
            raise InputError(f"{path}: pages of different types; save them as separate files")
    pixels = Frames(len(pages), lambda: _decode(path))
    bits, inverted = _bits(first), _inverted(first)
    pairs = () if bits == 8 and first.sampleformat == 1 else ((p, None) for p in pixels)
    convert, max_val = to_unsigned(pairs, bits, inverted, max_val, scale if pairs else None)
    return Frames(len(pages), lambda: (convert(p) for p in pixels)), max_val


def _pages(path, file):
    pages = [page for page in file.pages if not page.subfiletype & REDUCED_OR_MASK]
    for page in pages:
        _check(path, page)
    if not pages:
        raise InputError(f"{path}: the TIFF file holds no image")
    return pages


def _check(path, page):
    if page.imagelength * page.imagewidth > MAX_PIXELS:
        raise InputError(f"{path}: {page.imagewidth} x {page.imagelength} pixels are more than {MAX_PIXELS}")
    if page.sampleformat not in INTEGERS or page.bitspersample not in (1, 2, 4, 8, 16):
        kind = {1: "integer", 2: "integer", 3: "float"}.get(page.sampleformat, "complex")
        raise InputError(
            f"{path}: TIFF samples must be integers of 8 or 16 bits; scale and save it so. "
            f"Received: {kind}, {page.bitspersample} bits"
        )
    samples = page.samplesperpixel - len(page.extrasamples)
    usual = samples in ((1,) if _is_gray(page) else (1, 3, 4)) and page.imagedepth == 1
    if not usual or (page.bitspersample == 16 and not _is_gray(page) and not _is_rgb(page)):
        raise InputError(
            f"{path}: TIFF must be gray or RGB. Received: {page.samplesperpixel} samples of "
            f"{page.bitspersample} bits a pixel"
        )


def _is_gray(page):
    return page.photometric in (tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.MINISBLACK)


def _is_rgb(page):
    return page.photometric == tifffile.PHOTOMETRIC.RGB


def _channels(page):
    return 1 if _is_gray(page) else 3


def _bits(page):
    return 16 if page.bitspersample == 16 else 8


def _by_tifffile(page):
    simple = _is_gray(page) or _is_rgb(page)
    return simple and page.bitspersample in (8, 16) and page.compression.name in PLAIN


def _inverted(page):
    # Pillow has already inverted what it reads in 8 bits.
    white_is_zero = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    return white_is_zero and (_by_tifffile(page) or page.bitspersample == 16)


def _decode(path) -> Iterator[np.ndarray]:
    with tifffile.TiffFile(path) as file:
        for page in _pages(path, file):
            if _by_tifffile(page):
                pixels = _tifffile_pixels(page)
            elif page.bitspersample <= 8 or page.samplesperpixel == 1:
                pixels = _pillow_pixels(path, page.index)
            else:
                pixels = _imagecodecs_pixels(path, page)
            yield without_alpha(pixels)


def _tifffile_pixels(page):
    planes = page.asarray(squeeze=False)  # (planes, depth, height, width, samples)
    pixels = np.moveaxis(planes[:, 0, :, :, 0], 0, -1) if page.planarconfig == 2 else planes[0, 0]
    tag = page.tags.get("Orientation")
    return upright(pixels, tag.value if tag else None)


def _imagecodecs_pixels(path, page):
    try:
        return _tifffile_pixels(page)
    except (KeyError, ValueError, ImportError) as error:
        raise InputError(
            f"{path}: 16-bit colour TIFF with {page.compression.name} compression needs the "
            "package imagecodecs; install it, or save the image with Deflate or no compression"
        ) from error


def _pillow_pixels(path, index):
    with PIL.Image.open(path) as image:
        image.seek(index)
        image.load()
        if image.mode not in ("1", "L", "LA", "RGB", "RGBA") and not image.mode.startswith("I"):
            image = image.convert("RGB")
        pixels = np.asarray(image)
    return pixels * np.uint8(255) if pixels.dtype == bool else pixels
