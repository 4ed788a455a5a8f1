"""The part of an image that is measured, and what every measure asks of a pair of images."""

import numpy as np

# The authors' own RGB to YIQ; other implementations carry a fourth digit.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def shave(image: np.ndarray, crop_border: int) -> np.ndarray:
    """Returns the image without `crop_border` pixels at each edge, as a view."""
    height, width = image.shape[:2]
    if crop_border < 0 or 2 * crop_border >= min(height, width):
        raise ValueError(
            "`crop_border` must be 0 or more and leave pixels to measure. "
            f"Received: crop_border={crop_border} for an image of {height} x {width}"
        )
    return image[crop_border : height - crop_border, crop_border : width - crop_border]


def centre(image: np.ndarray, fraction: float = 0.625) -> np.ndarray:
    """Returns the central part of the image, as a view.

    Args:
        image: Array of shape `(height, width)` or `(height, width, channels)`.
        fraction: Part of each side that is kept. The default keeps the central 320 x 320 of a
            512 x 512 radiograph: anatomy, without burned-in letters and collimation edges.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be above 0 and at most 1. Received: fraction={fraction}")
    kept = [max(1, round(side * fraction)) for side in image.shape[:2]]
    top, left = ((side - part) // 2 for side, part in zip(image.shape[:2], kept, strict=True))
    return image[top : top + kept[0], left : left + kept[1]]


def pair(y_true, y_pred, max_val):
    """Returns two images as float64 `(height, width, channels)`, or raises a `ValueError`."""
    if y_true.shape != y_pred.shape or y_true.ndim not in (2, 3) or not y_true.size:
        raise ValueError(
            "Two images of the same shape (height, width) or (height, width, channels) are needed. "
            f"Received: {y_true.shape} and {y_pred.shape}"
        )
    if not max_val > 0:
        raise ValueError(f"`max_val` must be above 0. Received: max_val={max_val}")
    shape = (*y_true.shape[:2], -1)
    return y_true.astype(np.float64).reshape(shape), y_pred.astype(np.float64).reshape(shape)


def channels(y_true, y_pred):
    """Returns the pairs of channels, each of shape `(height, width)`."""
    return zip(np.moveaxis(y_true, 2, 0), np.moveaxis(y_pred, 2, 0), strict=True)


def luma(image):
    """Returns the luma of `(height, width, channels)` with one channel or three, of shape `(height, width)`."""
    if image.shape[2] not in (1, 3):
        raise ValueError(f"1 or 3 channels are needed. Received: shape {image.shape}")
    return image @ YIQ[0] if image.shape[2] == 3 else image[..., 0]


def halve(image, padding):
    """Returns the 2 x 2 means of `(height, width)`; an odd last row or column is padded as `np.pad` says."""
    height, width = image.shape
    image = np.pad(image, ((0, height % 2), (0, width % 2)), padding)
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4
