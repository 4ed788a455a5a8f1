"""Handles pixel padding, such as outside the circular field of view of CT (C.7.5.1.1.2; D-32)."""

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.geometry import Grid

_EXTRAPOLATED = 16  # pixels, about the receptive radius of the networks; a constant beyond


def extrapolate(stored: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the image extrapolated into its padding, to avoid ringing at the boundary.

    Args:
        stored: (rows, columns, channels).
        mask: (rows, columns), true where there is no image.
    """
    image, known = stored.astype(np.float32), ~mask
    if not known.any():
        return np.zeros_like(image)
    for _ in range(_EXTRAPOLATED):
        rows, columns = np.nonzero(_dilated(known) & ~known)
        if not rows.size:
            break
        image[rows, columns] = _mean_of_known(image, known, rows, columns)
        known[rows, columns] = True
    image[~known] = image[~mask].mean()
    return image


def _dilated(known: np.ndarray) -> np.ndarray:
    """Returns a mask dilated by a 3 x 3 square."""
    wide = np.pad(known, 1)
    tall = wide[:-2] | wide[1:-1] | wide[2:]
    return tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]


def _mean_of_known(image: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the mean of the known ones of the eight neighbors; there is at least one."""
    total, count = np.zeros((len(rows), image.shape[2]), np.float32), np.zeros((len(rows), 1), np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            y, x = rows + down, columns + right
            inside = (y >= 0) & (x >= 0) & (y < known.shape[0]) & (x < known.shape[1])
            y, x = np.where(inside, y, 0), np.where(inside, x, 0)
            use = (inside & known[y, x])[:, None]
            total += np.where(use, image[y, x], 0)
            count += use
    return total / count


def avoid_padding_values(values: np.ndarray, limits: tuple[int, int], stored: tuple[int, int]) -> None:
    """Moves values, in place, out of the padding range to the nearest value outside it.

    Args:
        values: Integers.
        limits: Lowest and highest padding value.
        stored: Lowest and highest value that can be stored.
    """
    low, high = limits
    within = np.nonzero((values >= low) & (values <= high))
    below = 2 * values[within].astype(np.int64) < low + high
    if low - 1 < stored[0]:
        below[:] = False
    elif high + 1 > stored[1]:
        below[:] = True
    values[within] = np.where(below, low - 1, high + 1)


def restore(pixels: np.ndarray, stored: np.ndarray, mask: np.ndarray, axes: tuple[Grid, Grid]) -> np.ndarray:
    """Writes the padding of the source into the result, in place.

    Returns:
        Mask of the result, true where there is no image.
    """
    result_mask = upscale_nearest(mask, axes)
    np.copyto(pixels, upscale_nearest(stored, axes), where=result_mask[..., np.newaxis], casting="unsafe")
    return result_mask


def upscale_nearest(array: np.ndarray, axes: tuple[Grid, Grid]) -> np.ndarray:
    """Returns an array of the source upscaled by the nearest pixel."""
    return array.take(axes[0].nearest_source_pixels(), axis=0).take(axes[1].nearest_source_pixels(), axis=1)


__getattr__ = renamed(
    __name__, avoid="avoid_padding_values", enlarged="upscale_nearest", fill="extrapolate", put_back="restore"
)
