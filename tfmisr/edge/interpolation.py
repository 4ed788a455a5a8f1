"""What the runtime works out beside a network, in full precision: the bicubic interpolation and the gate."""

from collections.abc import Callable

import numpy as np

from tfmisr.edge import resize

_BICUBIC_RADIUS = 2
_REACH = 3  # low-resolution pixels around an edge in which the interpolation rings and the network mends it
GATE_RADIUS = _REACH + 3  # bend, reach, closing, and the bilinear interpolation
_STRIP = 64  # rows


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """Returns the bicubic interpolation with a mirrored border, as `tfmisr.layers.BicubicUpsampling` works it out."""
    return bicubic_rows(mirrored(lr), slice(0, len(lr)), scale)


def mirrored(lr: np.ndarray) -> np.ndarray:
    """Returns an image (height, width, channels) with the border that `bicubic_rows` reads."""
    margin = (_BICUBIC_RADIUS, _BICUBIC_RADIUS)
    return np.pad(lr, (margin, margin, (0, 0)), "symmetric")


def bicubic_rows(padded: np.ndarray, rows: slice, scale: int) -> np.ndarray:
    """Returns the bicubic interpolation of some rows of an image, given what `mirrored` makes of the image."""
    cut = slice(_BICUBIC_RADIUS * scale, -_BICUBIC_RADIUS * scale)
    return resize.upscale(padded[rows.start : rows.stop + 2 * _BICUBIC_RADIUS], scale)[cut, cut]


def bilinear_rows(image: np.ndarray, rows: slice, scale: int) -> np.ndarray:
    """Returns the bilinear interpolation of some rows of an image (height, width, channels)."""
    first = max(rows.start - 1, 0)
    found = resize.upscale(image[first : rows.stop + 1], scale, "bilinear")
    return found[(rows.start - first) * scale :][: (rows.stop - rows.start) * scale]


def strips(length: int) -> list[slice]:
    """Returns slices of some rows each, so that what is worked out of a window takes the memory of one of them."""
    return [slice(first, min(first + _STRIP, length)) for first in range(0, length, _STRIP)]


def gate(lr: np.ndarray, closed: float, opened: float) -> np.ndarray:
    """Returns by how much an integer network is to be believed at each pixel, from 0 to 1.

    Its input has 256 levels. Where the image bends by less than one of them, the network cannot see the
    image but only the steps that rounding made, and would add them to the interpolation as bands.

    Args:
        lr: float32 array (height, width, channels).
        closed: Second difference up to which a place counts as smooth, where none within three pixels is above: 0.
        opened: Second difference from which the network is believed: 1.

    Returns:
        float32 array (height, width, channels). Next to a closed pixel there is none above 0, so that bilinear
        interpolation keeps all that belongs to it at 0.
    """
    # A straight continuation over the border, where mirroring would make a ridge.
    padded = np.pad(lr, ((1, 1), (1, 1), (0, 0)), "edge")
    for axis in (0, 1) if min(lr.shape[:2]) > 1 else ():
        line = np.moveaxis(padded, axis, 0)
        line[0], line[-1] = 2 * line[1] - line[2], 2 * line[-2] - line[-3]
    inner = slice(1, -1)
    bend_y = np.abs(padded[:-2, inner] + padded[2:, inner] - 2 * lr)
    bend_x = np.abs(padded[inner, :-2] + padded[inner, 2:] - 2 * lr)
    bend = np.maximum(bend_y, bend_x)
    for _ in range(_REACH):
        bend = _neighbours(bend, np.maximum)
    bend = _neighbours(bend, np.minimum)
    return np.clip((bend - np.float32(closed)) / np.float32(opened - closed), 0.0, 1.0)


def _neighbours(image: np.ndarray, choose: Callable[..., np.ndarray]) -> np.ndarray:
    """Returns the largest or smallest of each pixel's 3 x 3 neighbours."""
    for axis in (0, 1):
        line = np.moveaxis(image, axis, 0)
        padded = np.concatenate([line[:1], line, line[-1:]])
        image = np.moveaxis(choose(choose(padded[:-2], padded[1:-1]), padded[2:]), 0, axis)
    return image
