"""Full-precision operations that the runtime adds to a network: bicubic interpolation and low-contrast gating."""

from collections.abc import Callable

import numpy as np

from tfmisr.edge import resize
from tfmisr.edge.deprecation import renamed

_BICUBIC_RADIUS = 2
_DILATION = 3  # low-resolution pixels: bicubic interpolation rings so far from an edge, and the network corrects it
GATE_RADIUS = _DILATION + 3  # plus second difference, erosion and bilinear interpolation
_STRIP = 64  # rows


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """Returns the bicubic interpolation with mirrored borders, equal to `tfmisr.layers.BicubicUpsampling`."""
    return bicubic_rows(pad_mirrored(lr), slice(0, len(lr)), scale)


def pad_mirrored(lr: np.ndarray) -> np.ndarray:
    """Returns an image (height, width, channels) with the mirrored border that `bicubic_rows` needs."""
    margin = (_BICUBIC_RADIUS, _BICUBIC_RADIUS)
    return np.pad(lr, (margin, margin, (0, 0)), "symmetric")


def bicubic_rows(padded: np.ndarray, rows: slice, scale: int) -> np.ndarray:
    """Returns the bicubic interpolation of some rows of an image, from the output of `pad_mirrored`."""
    cut = slice(_BICUBIC_RADIUS * scale, -_BICUBIC_RADIUS * scale)
    return resize.upscale(padded[rows.start : rows.stop + 2 * _BICUBIC_RADIUS], scale)[cut, cut]


def bilinear_rows(image: np.ndarray, rows: slice, scale: int) -> np.ndarray:
    """Returns the bilinear interpolation of some rows of an image (height, width, channels)."""
    first = max(rows.start - 1, 0)
    upscaled = resize.upscale(image[first : rows.stop + 1], scale, "bilinear")
    return upscaled[(rows.start - first) * scale :][: (rows.stop - rows.start) * scale]


def strips(length: int) -> list[slice]:
    """Returns slices of 64 rows, so that intermediate results need the memory of one slice."""
    return [slice(first, min(first + _STRIP, length)) for first in range(0, length, _STRIP)]


def low_contrast_gate(lr: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns the weight of an integer network's residual at each pixel, from 0 to 1 (low-contrast gating).

    The network's input is quantized to 256 levels. Where the second difference of the image is below one level, the
    network sees only quantization steps, and its residual would show as banding.

    Args:
        lr: float32 array (height, width, channels).
        low: Second-difference threshold of weight 0: smooth regions, with nothing above it within three pixels.
        high: Second-difference threshold of weight 1.

    Returns:
        float32 array (height, width, channels). The zero regions are widened by one pixel, so that bilinear
        interpolation keeps all high-resolution pixels of a smooth region at 0.
    """
    # Linear extrapolation across the border: mirroring would create a second difference there.
    padded = np.pad(lr, ((1, 1), (1, 1), (0, 0)), "edge")
    for axis in (0, 1) if min(lr.shape[:2]) > 1 else ():
        line = np.moveaxis(padded, axis, 0)
        line[0], line[-1] = 2 * line[1] - line[2], 2 * line[-2] - line[-3]
    inner = slice(1, -1)
    curvature_y = np.abs(padded[:-2, inner] + padded[2:, inner] - 2 * lr)
    curvature_x = np.abs(padded[inner, :-2] + padded[inner, 2:] - 2 * lr)
    curvature = np.maximum(curvature_y, curvature_x)
    for _ in range(_DILATION):
        curvature = _neighbors(curvature, np.maximum)
    curvature = _neighbors(curvature, np.minimum)
    return np.clip((curvature - np.float32(low)) / np.float32(high - low), 0.0, 1.0)


def _neighbors(image: np.ndarray, combine: Callable[..., np.ndarray]) -> np.ndarray:
    """Returns the maximum or minimum over the 3 x 3 neighborhood of each pixel."""
    for axis in (0, 1):
        line = np.moveaxis(image, axis, 0)
        padded = np.concatenate([line[:1], line, line[-1:]])
        image = np.moveaxis(combine(combine(padded[:-2], padded[1:-1]), padded[2:]), 0, axis)
    return image


__getattr__ = renamed(__name__, gate="low_contrast_gate", mirrored="pad_mirrored")
