"""The region of an image that is measured, checks of image pairs, and operations that several metrics share."""

from collections.abc import Iterator

import numpy as np

from tfmisr.edge.deprecation import renamed

# The authors' own RGB to YIQ; other implementations carry a fourth digit.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def shave(image: np.ndarray, crop_border: int) -> np.ndarray:
    """Returns the image without `crop_border` pixels at each edge, as a view.

    Raises:
        ValueError: No pixels would be left.
    """
    height, width = image.shape[:2]
    if crop_border < 0 or 2 * crop_border >= min(height, width):
        raise ValueError(
            "`crop_border` must be 0 or more and leave pixels to measure. "
            f"Received: crop_border={crop_border} for an image of {height} x {width}"
        )
    return image[crop_border : height - crop_border, crop_border : width - crop_border]


def central_crop(image: np.ndarray, fraction: float = 0.625) -> np.ndarray:
    """Returns the central part of the image, as a view.

    Args:
        image: Array of shape `(height, width)` or `(height, width, channels)`.
        fraction: Part of each side that is kept. The default keeps the central 320 x 320 of a
            512 x 512 radiograph: anatomy, without burned-in letters and collimation edges.

    Raises:
        ValueError: `fraction` is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be above 0 and at most 1. Received: fraction={fraction}")
    height, width = (max(1, round(side * fraction)) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def pair(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns two images as float64 arrays `(height, width, channels)`.

    Raises:
        ValueError: They differ in shape, are empty or no images, or `max_val` is not above 0.
    """
    if y_true.shape != y_pred.shape or y_true.ndim not in (2, 3) or not y_true.size:
        raise ValueError(
            "Two images of the same shape (height, width) or (height, width, channels) are needed. "
            f"Received: {y_true.shape} and {y_pred.shape}"
        )
    if not max_val > 0:
        raise ValueError(f"`max_val` must be above 0. Received: max_val={max_val}")
    shape = (*y_true.shape[:2], -1)
    return y_true.astype(np.float64).reshape(shape), y_pred.astype(np.float64).reshape(shape)


def channels(y_true: np.ndarray, y_pred: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Returns the pairs of channels, each of shape `(height, width)`."""
    return zip(np.moveaxis(y_true, 2, 0), np.moveaxis(y_pred, 2, 0), strict=True)


def luma(image: np.ndarray) -> np.ndarray:
    """Returns the luma `(height, width)` of an image `(height, width, channels)`.

    Raises:
        ValueError: It has neither 1 nor 3 channels.
    """
    if image.shape[2] not in (1, 3):
        raise ValueError(f"1 or 3 channels are needed. Received: shape {image.shape}")
    return image @ YIQ[0] if image.shape[2] == 3 else image[..., 0]


def halve(image: np.ndarray, padding: str) -> np.ndarray:
    """Returns the 2 x 2 means of `(height, width)`; odd sides are padded at their end in a mode of `np.pad`."""
    height, width = image.shape
    image = np.pad(image, ((0, height % 2), (0, width % 2)), padding)
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


__getattr__ = renamed(__name__, centre="central_crop")
