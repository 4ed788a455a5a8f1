"""Tiled inference: upscales images of any size in bounded memory, with overlapping tiles and no visible seams."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import DTypeLike

# Bounds of the default side of a window: memory grows with its area (LiteRT's 8-bit kernels take 1.5 KiB per pixel for
# 17 convolutions), computation with the relative size of the overlap.
_MIN_SIDE, _MAX_SIDE = 256, 440
_OVERLAPS_PER_SIDE = 28  # at most 1.15 times the image is read, up to 2048 x 2048 pixels and an overlap of 18


def default_max_tile(overlap: int) -> int:
    """Returns the default `max_tile` of `fit` for an overlap, so that at least half of each side is kept."""
    return max(_MIN_SIDE, min(_OVERLAPS_PER_SIDE * overlap, _MAX_SIDE), 4 * overlap)


def fit(height: int, width: int, overlap: int, max_tile: int) -> tuple[int, int]:
    """Returns the tile height and width that minimize the number of pixels read.

    Both axes are divided evenly into windows of one shape, so that a runtime allocates memory only once.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        overlap: Pixels read on each side of a tile, except at the borders of the image.
        max_tile: A window has at most `max_tile * max_tile` pixels, including the overlap.

    Raises:
        ValueError: A window of this size would consist of overlap only.
    """
    if max_tile <= 2 * overlap:
        raise ValueError(f"`max_tile` must be above {2 * overlap}, twice the overlap. Received: {max_tile}")
    best, fewest = (0, 0), math.inf
    for count in range(1, height + 1):
        rows = _even(height, count, overlap)
        side, read = _read(height, rows, overlap)
        if read * width >= fewest:
            return best
        widest = max_tile**2 // side
        if widest < min(width, 2 * overlap + 1):
            continue
        across = 1 if widest >= width else -(-(width - 2 * overlap) // (widest - 2 * overlap))
        columns = _even(width, across, overlap)
        area = read * _read(width, columns, overlap)[1]
        if area < fewest:
            best, fewest = (rows, columns), area
    return best


def _even(length: int, count: int, overlap: int) -> int:
    """Returns the tile side for which an axis is divided into `count` windows."""
    return max(-(-(length - 2 * overlap) // count), 1)


def _read(length: int, tile: int, overlap: int) -> tuple[int, int]:
    """Returns the number of pixels along an axis that one window reads, and that all windows read together."""
    side = min(length, tile + 2 * overlap)
    return side, side * max(-(-(length - 2 * overlap) // tile), 1)


def grid(height: int, width: int, tile: tuple[int, int], overlap: int) -> Iterator[tuple]:
    """Yields the tuples of `windows` for rows and columns, for each window of an image.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        tile: Height and width of the part of a window that is kept.
        overlap: Pixels read on each side of the tile and discarded.
    """
    for rows in windows(height, tile[0], overlap):
        for columns in windows(width, tile[1], overlap):
            yield rows, columns


def kept(part: np.ndarray, rows: tuple, columns: tuple, scale: int) -> tuple[slice, slice, np.ndarray]:
    """Returns the place of a window in the upscaled image, as two slices, and the kept part of the window.

    Args:
        part: Upscaled window.
        rows: Of the window, as `grid` yields it.
        columns: The same for columns.
        scale: Upsampling factor.
    """
    (y0, _, top, bottom), (x0, _, left, right) = rows, columns
    part = part[(top - y0) * scale : (bottom - y0) * scale, (left - x0) * scale : (right - x0) * scale]
    return slice(top * scale, bottom * scale), slice(left * scale, right * scale), part


def windows(length: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields the minimum number of windows that cover one axis.

    Windows stay inside the image. Each end of a window is either a border of the image, where nothing is discarded, or
    `overlap` pixels away from the kept part.

    Args:
        length: Number of pixels of the axis.
        tile: Number of pixels of an inner window that are kept.
        overlap: Pixels read on each side of the tile and discarded.

    Yields:
        (first pixel read, end of the pixels read, first pixel kept, end of the pixels kept).
    """
    if tile < 1 or overlap < 0:
        raise ValueError(f"`tile` must be at least 1 and `overlap` at least 0. Received: {tile}, {overlap}")
    side, kept = min(length, tile + 2 * overlap), 0
    count = max(-(-(length - 2 * overlap) // tile), 1)
    for i in range(count):
        first = min(i * tile, length - side)
        end = length if i == count - 1 else first + side - overlap
        yield first, first + side, kept, end
        kept = end


def upscale(
    network: Callable[[np.ndarray], np.ndarray],
    lr: np.ndarray,
    scale: int,
    tile: int | tuple[int, int],
    overlap: int,
    convert: Callable[[np.ndarray], np.ndarray] | None = None,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """Upscales an image tile by tile.

    If `overlap` is at least the network's receptive radius, the result equals that of the full image: no kept pixel
    depends on pixels outside its window, and zero padding at the borders of the image is the same.

    Args:
        network: Maps (1, height, width, channels) to (1, scale * height, scale * width, channels).
        lr: float32 array (height, width, channels) in [0, 1].
        scale: Upsampling factor.
        tile: Side of the kept part of a window in low-resolution pixels, or its height and width; see `fit`.
        overlap: Width of the discarded part around it, in low-resolution pixels.
        convert: Applied to each tile before it is stored, such as rounding to 16 bits.
        dtype: Type of the result.

    Returns:
        Array (scale * height, scale * width, channels).
    """
    height, width, channels = lr.shape
    sr = np.empty((height * scale, width * scale, channels), dtype)
    sides = (tile, tile) if isinstance(tile, int) else tile
    for (y0, y1, top, bottom), (x0, x1, left, right) in grid(height, width, sides, overlap):
        out = np.asarray(network(lr[None, y0:y1, x0:x1]))[0]
        out = out[(top - y0) * scale : (bottom - y0) * scale, (left - x0) * scale : (right - x0) * scale]
        sr[top * scale : bottom * scale, left * scale : right * scale] = convert(out) if convert else out
    return sr
