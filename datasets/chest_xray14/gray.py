"""Gray pixels of the archive's images, a few of which are stored as RGBA, and their reduction to half the size."""

import numpy as np


class BrokenImage(ValueError):
    """A file that is not an image of this archive; the message is the reason."""


def gray(pixels: np.ndarray, mode: str) -> np.ndarray:
    """Returns the gray pixels of an opaque image without color.

    Args:
        pixels: uint8 array of shape (height, width) or (height, width, channels).
        mode: Pillow's mode of the image.

    Raises:
        BrokenImage: It is in color, not opaque, or not of 8 bits.
    """
    if mode == "L":
        return pixels
    if mode not in ("LA", "RGB", "RGBA"):
        raise BrokenImage(f"a PNG of Pillow's mode {mode}, not 8-bit gray")
    if mode.endswith("A"):
        if pixels[..., -1].min() < 255:
            raise BrokenImage("not opaque")
        pixels = pixels[..., :-1]
    if (pixels != pixels[..., :1]).any():
        raise BrokenImage("in color")
    return np.ascontiguousarray(pixels[..., 0])


def halve(pixels: np.ndarray) -> np.ndarray:
    """Returns the mean over 2x2 pixels, computed in integers, with halves rounded up.

    Args:
        pixels: uint8 array of shape (2 * height, 2 * width).
    """
    wide = pixels.astype(np.uint16)
    total = wide[0::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 0::2] + wide[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)
