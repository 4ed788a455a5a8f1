"""Converts the stored samples of a TIFF page to gray or RGB."""

from collections.abc import Callable

import numpy as np
import tifffile
from tifffile import PHOTOMETRIC

from tfmisr.edge import tiff_rules
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import over_black


def to_gray_or_rgb(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    """Returns a page as gray or RGB, composited over black.

    Associated alpha is already applied to the color, unassociated alpha is applied where it varies, and samples of
    unspecified meaning are dropped, as in libtiff's tiff2rgba.

    Args:
        page: A supported page; see `tiff_rules.unsupported_reason`.
        samples: Array (height, width, samples) from `tiff_strips.read`.

    Returns:
        Array of shape (height, width, 1 or 3), uint8, uint16, int8 or int16. Samples of less than 8 bits are scaled to
        [0, 255]. White-is-zero is inverted unless `is_inverted` is true.

    Raises:
        InputError: The alpha channel has no defined meaning for this page. The message does not name the file.
    """
    count = tiff_rules.color_samples(page)
    color = _COLORS.get(page.photometric, _direct)(page, samples[..., :count])
    for extra_sample, alpha in zip(
        tiff_rules.extra_samples(page), np.moveaxis(samples[..., count:], -1, 0), strict=True
    ):
        if extra_sample != tiff_rules.UNSPECIFIED and alpha.min() != alpha.max():
            return _over_black(page, extra_sample, color, _scaled(page, alpha)[..., np.newaxis])
    return color


def is_inverted(page: tifffile.TiffPage) -> bool:
    """Whether `to_gray_or_rgb` keeps white-is-zero: the value of black is not defined by the tags."""
    return page.photometric == PHOTOMETRIC.MINISWHITE and (page.bitspersample == 16 or tiff_rules.is_signed(page))


def _over_black(page: tifffile.TiffPage, extra_sample: int, color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    # Palette indices cannot be premultiplied.
    if extra_sample == tiff_rules.ASSOCIATED and page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB):
        return color
    premultiplied = extra_sample == tiff_rules.ASSOCIATED and page.photometric != PHOTOMETRIC.PALETTE
    if premultiplied or is_inverted(page) or tiff_rules.is_signed(page):
        raise InputError(
            "an alpha channel is supported with unsigned min-is-black, RGB and palette samples; "
            "flatten the image, or save it without alpha"
        )
    return over_black(color, alpha)


def _scaled(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    return samples * np.uint8(255 // (2**page.bitspersample - 1)) if page.bitspersample < 8 else samples


def _direct(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    scaled = _scaled(page, samples)
    invert = page.photometric == PHOTOMETRIC.MINISWHITE and not is_inverted(page)
    return np.uint8(255) - scaled if invert else scaled


def _palette(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    colors = np.array(page.tags[320].value, np.uint16).reshape(3, -1).T
    if len(colors) < 2**page.bitspersample:
        raise InputError(f"ColorMap (320) has {len(colors)} colors for {page.bitspersample} bits")
    # 16 bits each; some writers use only the lower 8, which libtiff detects in the same way.
    return (colors >> 8 if colors.max() > 255 else colors).astype(np.uint8)[samples[..., 0]]


def _cmyk(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    """Returns RGB as computed by Pillow and libtiff, without a color profile."""
    full = np.iinfo(samples.dtype).max
    light = (full - samples).astype(np.float32)
    return np.rint(light[..., :3] * (light[..., 3:] / np.float32(full))).astype(samples.dtype)


_COLORS: dict[int, Callable[[tifffile.TiffPage, np.ndarray], np.ndarray]] = {
    PHOTOMETRIC.PALETTE: _palette,
    PHOTOMETRIC.SEPARATED: _cmyk,
}


__getattr__ = renamed(__name__, picture="to_gray_or_rgb", inverted="is_inverted")
