"""Pixel padding around an image, such as outside the round field of view of CT (C.7.5.1.1.2; D-32)."""

import numpy as np

from tfmisr.edge.derived.geometry import Grid

_REACH = 16  # pixels; beyond them a constant does, networks of the zoo hardly look farther


def fill(stored: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the image continued into its padding, so that nothing rings at the border.

    Args:
        stored: (rows, columns, channels).
        mask: (rows, columns), true where there is no image.
    """
    image, known = stored.astype(np.float32), ~mask
    if not known.any():
        return np.zeros_like(image)
    for _ in range(_REACH):
        rows, columns = np.nonzero(_grown(known) & ~known)
        if not rows.size:
            break
        image[rows, columns] = _mean_of_known(image, known, rows, columns)
        known[rows, columns] = True
    image[~known] = image[~mask].mean()
    return image


def _grown(known: np.ndarray) -> np.ndarray:
    wide = np.pad(known, 1)
    tall = wide[:-2] | wide[1:-1] | wide[2:]
    return tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]


def _mean_of_known(image: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the mean of the known among the eight neighbours, of which there is at least one."""
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


def avoid(values: np.ndarray, limits: tuple[int, int], stored: tuple[int, int]) -> None:
    """Changes values, in place, so that none means padding: those within its range go to the nearest outside it.

    Args:
        values: Integers.
        limits: Lowest and highest value that mean padding.
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


def put_back(pixels: np.ndarray, stored: np.ndarray, mask: np.ndarray, axes: tuple[Grid, Grid]) -> np.ndarray:
    """Writes the padding of the source where it was, in place.

    Returns:
        Mask of the result, true where there is no image.
    """
    there = enlarged(mask, axes)
    np.copyto(pixels, enlarged(stored, axes), where=there[..., np.newaxis], casting="unsafe")
    return there


def enlarged(array: np.ndarray, axes: tuple[Grid, Grid]) -> np.ndarray:
    """Returns the nearest old pixel of each new one."""
    return array.take(axes[0].nearest(), axis=0).take(axes[1].nearest(), axis=1)
