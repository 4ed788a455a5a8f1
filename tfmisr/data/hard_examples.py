"""Hard-example mining: samples patch positions in proportion to the bicubic interpolation error."""

import numpy as np

from tfmisr.edge import resize


def cumulative_error(hr: np.ndarray, scale: int, patch_size: int) -> tuple[np.ndarray, int]:
    """Returns the cumulative sum, over a grid of patch positions, of the squared bicubic error in a patch.

    Args:
        hr: High-resolution image, `(height, width, channels)`, float32 in [0, 1]; both sides are multiples of `scale`.
        scale: Upsampling factor.
        patch_size: Side of a patch in low-resolution pixels.

    Returns:
        float32 array of the cumulative sums, row by row, and the grid's step in low-resolution pixels.
    """
    height, width, step = hr.shape[0] // scale, hr.shape[1] // scale, max(patch_size // 4, 1)
    error = (resize.upscale(resize.resize(hr, (height, width)), scale) - hr) ** 2
    error = error.mean(-1).reshape(height, scale, width, scale).sum((1, 3), dtype=np.float64)
    integral = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows, columns = (np.arange(0, side - patch_size + 1, step) for side in error.shape)
    patches = integral[rows + patch_size][:, columns + patch_size] - integral[rows][:, columns + patch_size]
    patches += integral[rows][:, columns] - integral[rows + patch_size][:, columns]
    # The constant makes positions equally likely in an image without detail.
    return np.cumsum(np.maximum(patches, 0) + 1e-12).astype(np.float32), step
