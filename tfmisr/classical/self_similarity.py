"""Self-similarity: detail is copied from similar patches of the image itself at a coarser scale (local self-examples).

Freedman and Fattal, Image and Video Upscaling from Local Self-Examples, ACM TOG 2011,
https://doi.org/10.1145/1944846.1944852
Glasner, Bagon and Irani, Super-Resolution from a Single Image, ICCV 2009, https://doi.org/10.1109/ICCV.2009.5459271

The image is upscaled in steps of at most 1.5. In each step, a patch of the interpolated image, which lacks detail, is
compared with all patches near the same position in the smoothed image before the step; the detail that smoothing
removed from the most similar patch is added. Departures from Freedman and Fattal: bicubic interpolation in place of
their filter banks, overlapping patches averaged, and back-projection at the end, as in Glasner. No training images.
"""

import math
from collections.abc import Callable

import numpy as np

from tfmisr.classical.operators import back_project
from tfmisr.degradations import Degradation
from tfmisr.edge import resize
from tfmisr.edge.deprecation import renamed

SIDE = 5  # pixels of a patch
SEARCH_RADIUS = 3  # pixels of the smaller image
STEP = 1.5  # largest factor of a step
_BACK_PROJECTIONS = 10
_ROWS = 64  # compared together, which bounds the memory


def upscaler(scale: int, degradation: Degradation) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from float32 (height, width, channels) in [0, 1] to the upscaled image, not clipped.

    Args:
        scale: Upsampling factor.
        degradation: Degradation model of the low-resolution image.
    """

    def upscale(lr):
        sr = lr
        for size in step_sizes(*lr.shape[:2], scale):
            sr = upscale_step(sr, size)
        return back_project(sr, lr, degradation, _BACK_PROJECTIONS)

    return upscale


def step_sizes(height: int, width: int, scale: int) -> list[tuple[int, int]]:
    """Returns (height, width) after each step, the last of them `scale` times the first."""
    steps = math.ceil(math.log(scale) / math.log(STEP))
    factors = [scale ** (i / steps) for i in range(1, steps + 1)]
    return [(round(height * factor), round(width * factor)) for factor in factors]


def upscale_step(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Upscales by one step and adds the detail of similar patches of the input.

    Args:
        image: float32 array (height, width, channels).
        size: (height, width) of the result, at most 1.5 times those of the image.

    Returns:
        float32 array of this size.
    """
    blurred = resize.resize(image, size)
    ratio = image.shape[0] / size[0], image.shape[1] / size[1]
    smaller = [max(1, round(side * r)) for side, r in zip(image.shape[:2], ratio, strict=True)]
    smooth = resize.resize(resize.resize(image, smaller), image.shape[:2])
    rows, columns = (_nearest(length, side, r) for length, side, r in zip(size, image.shape[:2], ratio, strict=True))
    detail = np.empty_like(blurred)
    for channel in range(image.shape[-1]):
        matches = _matches(blurred[..., channel], smooth[..., channel], rows, columns)
        detail[..., channel] = _average_patches((image - smooth)[..., channel], *matches)
    return blurred + detail


def _nearest(length, side, ratio):
    """Returns the pixel of the smaller image nearest to each pixel of the larger one (half-pixel centers)."""
    return np.clip(np.rint((np.arange(length) + 0.5) * ratio - 0.5).astype(int), 0, side - 1)


def _patches(image):
    """Returns the patch around each pixel, (height, width, side * side), mirrored at the edge; a copy."""
    padded = np.pad(image, SIDE // 2, "symmetric")
    view = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE))
    return np.ascontiguousarray(view.reshape(*image.shape, SIDE * SIDE))


def _matches(blurred, smooth, rows, columns):
    """Returns the rows and columns of the most similar patches: exhaustive search in the window, means subtracted.

    The mean of a patch is that of the interpolation, so that shading does not affect the match.
    """
    queries, candidates = (_subtract_mean(_patches(image)) for image in (blurred, smooth))
    best = np.full(blurred.shape, np.inf, np.float32)
    best_rows, best_columns = (np.zeros(blurred.shape, int) for _ in range(2))
    for dy, dx in _offsets():
        near_rows = np.clip(rows + dy, 0, len(smooth) - 1)
        near_columns = np.clip(columns + dx, 0, smooth.shape[1] - 1)
        for start in range(0, len(blurred), _ROWS):
            part = slice(start, start + _ROWS)
            difference = queries[part] - candidates[near_rows[part, None], near_columns]
            distance = np.einsum("yxp,yxp->yx", difference, difference)
            closer = distance < best[part]
            best[part][closer] = distance[closer]
            best_rows[part][closer] = np.broadcast_to(near_rows[part, None], closer.shape)[closer]
            best_columns[part][closer] = np.broadcast_to(near_columns, closer.shape)[closer]
    return best_rows, best_columns


def _offsets():
    """Returns all offsets in the search window, the nearest first, which wins a tie."""
    span = range(-SEARCH_RADIUS, SEARCH_RADIUS + 1)
    return sorted(((dy, dx) for dy in span for dx in span), key=lambda offset: offset[0] ** 2 + offset[1] ** 2)


def _subtract_mean(patches):
    return patches - patches.mean(-1, keepdims=True)


def _average_patches(detail, rows, columns):
    """Returns the mean, at each pixel, of all matched detail patches that cover it."""
    height, width = rows.shape
    patches = _patches(detail)
    margin = SIDE // 2
    total = np.zeros((height + 2 * margin, width + 2 * margin), np.float32)
    for position in range(SIDE * SIDE):
        i, j = divmod(position, SIDE)
        total[i : i + height, j : j + width] += patches[rows, columns, position]
    lines = [np.convolve(np.ones(length), np.ones(SIDE)) for length in (height, width)]
    return (total / np.outer(*lines).astype(np.float32))[margin:-margin, margin:-margin]


__getattr__ = renamed(__name__, REACH="SEARCH_RADIUS", enlarged="upscale_step", sizes="step_sizes")
