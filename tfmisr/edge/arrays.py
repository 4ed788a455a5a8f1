"""Converts user arrays to images in [0, 1], and results back to the same dtype and axes."""

import numpy as np
from numpy.typing import ArrayLike

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import full_scale


def to_unit(array: ArrayLike, max_val: int | None = None) -> tuple[np.ndarray, int | None]:
    """Returns an image as float32 (height, width, channels) in [0, 1], and the pixel value that maps to 1.0.

    Args:
        array: uint8, uint16, or float in [0, 1], of shape (height, width), (height, width, 1) or (height, width, 3).
        max_val: Pixel value that maps to 1.0. The default is 255 for uint8; for uint16 it is the smallest `2**k - 1`
            of at least 255 that is not below the array's maximum, as for 16-bit files: 4095 for 12-bit images. Pass
            it for slices or crops of one scan, whose maxima may differ.

    Returns:
        The image, and `max_val`; `None` instead of a pixel value for floats.

    Raises:
        InputError: The dtype or shape is not supported, or values are out of range.
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or 0 in array.shape:
        raise InputError(
            "an image must have the shape (height, width), (height, width, 1) or (height, width, 3). "
            f"Received: {array.shape}"
        )
    if array.dtype.kind == "f":
        image = _checked_float(array, max_val)
    elif array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        highest = int(array.max())
        max_val = _checked_max_val(array.dtype, highest, max_val)
        image = array.astype(np.float32) / np.float32(max_val)
    else:
        raise InputError(
            f"an image must be uint8, uint16, or float in [0, 1]. Received: {array.dtype}, whose black and white "
            "levels are unknown; convert it first, as (values - low).astype('uint16') with max_val=high - low"
        )
    return image if image.ndim == 3 else image[..., None], max_val


def match_type(image: np.ndarray, array: ArrayLike) -> np.ndarray:
    """Returns an image (height, width, channels) with the dtype and the axes of another array.

    Args:
        image: Pixels of 8 or 16 bits where `array` has integers, floats where it has floats.
        array: The argument of `to_unit`.
    """
    array = np.asarray(array)
    return (image if array.ndim == 3 else image[..., 0]).astype(array.dtype, copy=False)


def _checked_float(array: np.ndarray, max_val: int | None) -> np.ndarray:
    if max_val is not None:
        raise InputError(
            f"max_val applies to uint8 and uint16; floats must be in [0, 1]. Received: {array.dtype} and {max_val}"
        )
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"a float image must be in [0, 1]. Received: {low:.4g} to {high:.4g}; divide by the full scale, or clip"
        )
    return array.astype(np.float32)


def _checked_max_val(dtype: np.dtype, highest: int, max_val: int | None) -> int:
    limit = int(np.iinfo(dtype).max)
    if max_val is None:
        return limit if dtype.itemsize == 1 else full_scale(highest)
    if isinstance(max_val, bool) or not isinstance(max_val, (int, np.integer)) or not 0 < max_val <= limit:
        raise InputError(f"max_val must be a whole number from 1 to {limit} for {dtype}. Received: {max_val!r}")
    if highest > max_val:
        raise InputError(f"max_val must not be below the image's values, up to {highest}. Received: {max_val}")
    return int(max_val)


__getattr__ = renamed(__name__, like="match_type")
