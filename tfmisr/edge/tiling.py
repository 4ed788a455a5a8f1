"""Images of any size through a network in bounded memory: overlapping tiles, cut so that no seam can be seen."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import DTypeLike

# Sides of the square that is as large as the largest window, where nothing else is asked for: memory grows with its
# area (LiteRT's 8-bit kernels take 1.5 KiB a pixel for 17 convolutions), work with what the overlap adds to it.
_LEAST, _MOST = 256, 440
_IN_OVERLAPS = 28  # what is read is then at most 1.15 times the image, up to 2048 x 2048 pixels and an overlap of 18


def default_max_tile(overlap: int) -> int:
    """Returns the `max_tile` of `fit` for a network of some overlap; half of a window at least is kept."""
    return max(_LEAST, min(_IN_OVERLAPS * overlap, _MOST), 4 * overlap)


def fit(height: int, width: int, overlap: int, max_tile: int) -> tuple[int, int]:
    """Returns the `tile` of `windows` for the rows and for the columns of an image, so that least is read in all.

    Both axes are evenly divided, into windows of one shape: a runtime that allocates for a shape does so once.

    Args:
        height: Of the image in pixels.
        width: Of the image in pixels.
        overlap: Pixels read on each side of what is kept, where the image does not end.
        max_tile: A window has at most `max_tile * max_tile` pixels, those of the overlap included.

    Raises:
        ValueError: No pixel of a window of that size would be kept.
    """
    if max_tile <= 2 * overlap:
        raise ValueError(f"`max_tile` must be above {2 * overlap}, twice the overlap. Received: {max_tile}")
    best, least = (0, 0), math.inf
    for count in range(1, height + 1):
        rows = _even(height, count, overlap)
        side, read = _read(height, rows, overlap)
        if read * width >= least:
            return best
        widest = max_tile**2 // side
        if widest < min(width, 2 * overlap + 1):
            continue
        across = 1 if widest >= width else -(-(width - 2 * overlap) // (widest - 2 * overlap))
        columns = _even(width, across, overlap)
        area = read * _read(width, columns, overlap)[1]
        if area < least:
            best, least = (rows, columns), area
    return best


def _even(length: int, count: int, overlap: int) -> int:
    """Returns the pixels that are kept of an inner window where an axis has so many windows."""
    return max(-(-(length - 2 * overlap) // count), 1)


def _read(length: int, tile: int, overlap: int) -> tuple[int, int]:
    """Returns the pixels of an axis that one window reads, and all windows together."""
    side = min(length, tile + 2 * overlap)
    return side, side * max(-(-(length - 2 * overlap) // tile), 1)


def grid(height: int, width: int, tile: tuple[int, int], overlap: int) -> Iterator[tuple]:
    """Yields pairs of what `windows` says of rows and of columns, for each window of an image.

    Args:
        height: Of the image in pixels.
        width: Of the image in pixels.
        tile: Pixels kept of a window inside the image, down and across.
        overlap: Pixels read on each side of them and thrown away.
    """
    for rows in windows(height, tile[0], overlap):
        for columns in windows(width, tile[1], overlap):
            yield rows, columns


def windows(length: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields the tiles along one axis, as few as there can be.

    A window stays inside the image, so its edge is the image's own edge or lies `overlap` pixels away from what
    is kept of it. Nothing is thrown away at the image's own edge.

    Args:
        length: Number of pixels of the axis.
        tile: Pixels kept of a window inside the image.
        overlap: Pixels read on each side of them and thrown away.

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

    The result equals the whole image's where `overlap` is at least the network's receptive radius: every pixel
    that is kept has then seen all it depends on, and zero padding at the image's border is the same.

    Args:
        network: Maps (1, height, width, channels) to (1, scale * height, scale * width, channels).
        lr: float32 array (height, width, channels) in [0, 1].
        scale: Upsampling factor.
        tile: Side of the part of a tile that is kept, in low-resolution pixels, or its height and width; see `fit`.
        overlap: Width of the part around it that is thrown away, in low-resolution pixels.
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
