"""Images of any size through a network in bounded memory: overlapping tiles, cut so that no seam can be seen."""

from collections.abc import Callable, Iterator

import numpy as np


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
    tile: int,
    overlap: int,
    convert: Callable[[np.ndarray], np.ndarray] | None = None,
    dtype=np.float32,
) -> np.ndarray:
    """Upscales an image tile by tile.

    The result equals the whole image's where `overlap` is at least the network's receptive radius: every pixel
    that is kept has then seen all it depends on, and zero padding at the image's border is the same.

    Args:
        network: Maps (1, height, width, channels) to (1, scale * height, scale * width, channels).
        lr: float32 array (height, width, channels) in [0, 1].
        scale: Upsampling factor.
        tile: Side of the part of a tile that is kept, in low-resolution pixels.
        overlap: Width of the part around it that is thrown away, in low-resolution pixels.
        convert: Applied to each tile before it is stored, such as rounding to 16 bits.
        dtype: Type of the result.

    Returns:
        Array (scale * height, scale * width, channels).
    """
    height, width, channels = lr.shape
    sr = np.empty((height * scale, width * scale, channels), dtype)
    for y0, y1, top, bottom in windows(height, tile, overlap):
        for x0, x1, left, right in windows(width, tile, overlap):
            out = np.asarray(network(lr[None, y0:y1, x0:x1]))[0]
            out = out[(top - y0) * scale : (bottom - y0) * scale, (left - x0) * scale : (right - x0) * scale]
            sr[top * scale : bottom * scale, left * scale : right * scale] = convert(out) if convert else out
    return sr
