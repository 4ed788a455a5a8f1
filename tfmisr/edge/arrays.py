"""Arrays of anyone's own as images in [0, 1], and back to the same type and axes."""

import numpy as np
from numpy.typing import ArrayLike

from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import full_scale


def to_unit(array: ArrayLike, max_val: int | None = None) -> tuple[np.ndarray, int | None]:
    """Returns an image as float32 (height, width, channels) in [0, 1], and the pixel value that is 1.0 there.

    Args:
        array: uint8, uint16, or float in [0, 1], of shape (height, width), (height, width, 1) or (height, width, 3).
        max_val: Pixel value that becomes 1.0. By default 255 of uint8; of uint16 the smallest `2**k - 1`, 255 or more,
            that holds the array's values, as for files of 16 bits: 12-bit images count to 4095. Give it for slices or
            crops of one scan, which may differ in their highest value.

    Returns:
        The image, and `None` instead of a pixel value for floats.

    Raises:
        InputError: Another type or shape, or values beyond the range.
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
            f"an image must be uint8, uint16, or float in [0, 1]. Received: {array.dtype}, which says nothing of black "
            "and white; convert it first, as (values - low).astype('uint16') with max_val=high - low"
        )
    return image if image.ndim == 3 else image[..., None], max_val


def like(image: np.ndarray, array: ArrayLike) -> np.ndarray:
    """Returns an image (height, width, channels) with the type and the axes of another array.

    Args:
        image: Pixels of 8 or 16 bits for an array of such; floats for one of floats.
        array: What `to_unit` took.
    """
    array = np.asarray(array)
    return (image if array.ndim == 3 else image[..., 0]).astype(array.dtype, copy=False)


def _checked_float(array: np.ndarray, max_val: int | None) -> np.ndarray:
    if max_val is not None:
        raise InputError(
            f"max_val is for uint8 and uint16, floats are in [0, 1]. Received: {array.dtype} and {max_val}"
        )
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"a float image must be in [0, 1]. Received: {low:.4g} to {high:.4g}; divide by the full scale, or clip"
        )
    return array.astype(np.float32)


def _checked_max_val(dtype: np.dtype, highest: int, max_val: int | None) -> int:
    most = int(np.iinfo(dtype).max)
    if max_val is None:
        return most if dtype.itemsize == 1 else full_scale(highest)
    if isinstance(max_val, bool) or not isinstance(max_val, (int, np.integer)) or not 0 < max_val <= most:
        raise InputError(f"max_val must be a whole number from 1 to {most} for {dtype}. Received: {max_val!r}")
    if highest > max_val:
        raise InputError(f"max_val must not be below the image's values, up to {highest}. Received: {max_val}")
    return int(max_val)
