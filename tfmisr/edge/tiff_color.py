"""From the stored samples of a TIFF page to gray or RGB."""

from collections.abc import Callable

import numpy as np
import tifffile
from tifffile import PHOTOMETRIC

from tfmisr.edge import tiff_rules
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import over_black


def picture(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    """Returns the color of a page over black.

    Associated alpha is in the color already, unassociated alpha is applied where it varies, and a
    sample of unspecified meaning is dropped, as libtiff's tiff2rgba has it.

    Args:
        page: A `tifffile.TiffPage` that `tiff_rules.refusal` accepts.
        samples: What `tiff_strips.read` gives: (height, width, samples).

    Returns:
        Array of shape (height, width, 1 or 3), uint8, uint16, int8 or int16; less than 8 bits are
        scaled to 0 to 255. White-is-zero is inverted unless `inverted` says that it is not.

    Raises:
        InputError: The alpha channel has no agreed meaning here. The message does not name the file.
    """
    count = tiff_rules.color_samples(page)
    color = _COLORS.get(page.photometric, _direct)(page, samples[..., :count])
    for kind, alpha in zip(tiff_rules.extra_samples(page), np.moveaxis(samples[..., count:], -1, 0), strict=True):
        if kind != tiff_rules.UNSPECIFIED and alpha.min() != alpha.max():
            return _over_black(page, kind, color, _scaled(page, alpha)[..., np.newaxis])
    return color


def inverted(page: tifffile.TiffPage) -> bool:
    """Returns whether `picture` leaves the lowest value the brightest, whose opposite the file does not tell."""
    return page.photometric == PHOTOMETRIC.MINISWHITE and (page.bitspersample == 16 or tiff_rules.is_signed(page))


def _over_black(page: tifffile.TiffPage, kind: int, color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    # A palette's index cannot be multiplied: its alpha is never in the color.
    if kind == tiff_rules.ASSOCIATED and page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB):
        return color
    multiplied = kind == tiff_rules.ASSOCIATED and page.photometric != PHOTOMETRIC.PALETTE
    if multiplied or inverted(page) or tiff_rules.is_signed(page):
        raise InputError(
            "an alpha channel is supported with unsigned min-is-black, RGB and palette samples; "
            "flatten the image, or save it without alpha"
        )
    return over_black(color, alpha)


def _scaled(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    return samples * np.uint8(255 // (2**page.bitspersample - 1)) if page.bitspersample < 8 else samples


def _direct(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    scaled = _scaled(page, samples)
    turn = page.photometric == PHOTOMETRIC.MINISWHITE and not inverted(page)
    return np.uint8(255) - scaled if turn else scaled


def _palette(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    colors = np.array(page.tags[320].value, np.uint16).reshape(3, -1).T
    if len(colors) < 2**page.bitspersample:
        raise InputError(f"ColorMap (320) holds {len(colors)} colors for {page.bitspersample} bits")
    # 16 bits each; some writers fill the lower 8 alone, which libtiff finds out in the same way.
    return (colors >> 8 if colors.max() > 255 else colors).astype(np.uint8)[samples[..., 0]]


def _cmyk(page: tifffile.TiffPage, samples: np.ndarray) -> np.ndarray:
    """RGB as Pillow and libtiff make it, without a color profile."""
    full = np.iinfo(samples.dtype).max
    light = (full - samples).astype(np.float32)
    return np.rint(light[..., :3] * (light[..., 3:] / np.float32(full))).astype(samples.dtype)


_COLORS: dict[int, Callable[[tifffile.TiffPage, np.ndarray], np.ndarray]] = {
    PHOTOMETRIC.PALETTE: _palette,
    PHOTOMETRIC.SEPARATED: _cmyk,
}
