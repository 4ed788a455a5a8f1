"""Interpolation with Pillow's antialiased filters in 32-bit floating point, on half-pixel centers."""

import numpy as np
from PIL import Image

METHODS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resize(image: np.ndarray, size: tuple[int, int], method: str = "bicubic") -> np.ndarray:
    """Resizes an image; for downsampling the filter is widened by the factor (antialiasing).

    Pillow's bicubic kernel has a = -0.5, as MATLAB's `imresize`; the two differ only at the outermost pixels,
    where MATLAB mirrors the image and Pillow renormalizes the weights.

    Args:
        image: Array of shape (height, width, channels), any range.
        size: (height, width) of the result.
        method: `nearest`, `bilinear`, `bicubic` or `lanczos` (three lobes).

    Returns:
        float32 array of shape (height, width, channels). Bicubic and Lanczos overshoot the range at edges;
        nothing is clipped.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {sorted(METHODS)}. Received: method={method}")
    planes = np.moveaxis(np.asarray(image, np.float32), -1, 0)
    height, width = size
    out = [
        np.asarray(Image.fromarray(np.ascontiguousarray(p)).resize((width, height), METHODS[method])) for p in planes
    ]
    return np.stack(out, axis=-1)


def upscale(image: np.ndarray, scale: int, method: str = "bicubic") -> np.ndarray:
    """Returns `image` with `scale` times its height and width; see `resize`."""
    return resize(image, (image.shape[0] * scale, image.shape[1] * scale), method)
