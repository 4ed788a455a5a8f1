"""Reads a user's mask as the profile of a signal: a gray PNG or a NumPy array, on the high-resolution grid."""

import os
import pathlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfmisr.edge.errors import InputError

_VISIBLE = 0.05  # share of the largest value that counts as part of the signal


def read(path: str | os.PathLike, side: int) -> np.ndarray:
    """Returns a profile `(side, side)` whose largest absolute value is 1, the center of the mask at the window's.

    Args:
        path: Gray PNG, whose values are 0 or more, or `.npy` of two dimensions, whose values may be negative (darker).
            The largest absolute value of either is divided out: a task's contrast is the height there.
        side: Side of the window; the mask is at most three quarters of it high and wide.

    Raises:
        InputError: There is no such file, or it is no mask of that size.
    """
    path = pathlib.Path(path)
    mask = _pixels(path)
    if mask.ndim != 2 or not np.isfinite(mask).all() or not mask.any():
        raise InputError(f"expected a mask of two dimensions with finite values, some not 0, at {path}")
    largest = side * 3 // 4
    if max(mask.shape) > largest:
        raise InputError(
            f"expected a mask of at most {largest}x{largest} pixels of the high-resolution image at {path}; received "
            f"{mask.shape[0]}x{mask.shape[1]}; crop it to the signal"
        )
    profile = np.zeros((side, side))
    top, left = (side // 2 - length // 2 for length in mask.shape)
    profile[top : top + mask.shape[0], left : left + mask.shape[1]] = mask / np.abs(mask).max()
    return profile


def extent(profile: np.ndarray) -> int:
    """Returns the longer side, in pixels, of the smallest rectangle around the visible part of a profile."""
    visible = np.abs(profile) > _VISIBLE
    return max(int(np.ptp(np.flatnonzero(visible.any(axis)))) + 1 for axis in (0, 1))


def _pixels(path: pathlib.Path) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix not in (".png", ".npy"):
        raise InputError(f"expected a mask in a .png or .npy file. Received: {path}")
    try:
        array = np.load(path, allow_pickle=False) if suffix == ".npy" else _png(path)
    except OSError as error:
        raise InputError(f"expected a mask at {path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no array that NumPy can read without pickle: {error}") from error
    if array.dtype.kind not in "buif":
        raise InputError(f"expected a mask of numbers at {path}. Received: {array.dtype}")
    return array.astype(np.float64)


def _png(path: pathlib.Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "I", "I;16"):
                raise InputError(f"expected a gray PNG without palette or alpha at {path}. Received: {image.mode}")
            return np.asarray(image)
    except (UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no PNG that can be read, or too large for a mask") from error
