"""What an uncertainty head sees of an image: the input, the residual of the upscaled image, and image statistics.

The residual is the difference of the upscaled image to bicubic interpolation, with the pixel shuffle inverted, so that
all inputs have the size of the low-resolution image. The image statistics are means over the full image of local
contrast and residual energy and of soft histograms of both: they say how sharp and how noisy the image is, which no
window shows. They are gathered in strips of fixed height, so they do not depend on tiles, and need no network.
"""

from collections.abc import Iterator

import numpy as np

from tfmisr.edge import interpolation

RESIDUAL_RANGE = 1 / 16  # of the full scale: 16 levels of 8 bits, in steps of an eighth of a level once quantized
LEVELS = 255  # the unit of the statistics: levels of 8 bits, whatever the file stores
_THRESHOLDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # levels
_FLOOR = 0.25  # levels; smaller contrast is rounding
STATISTICS = (
    "intensity mean",
    "intensity deviation",
    "black fraction",
    "contrast log2 mean",
    "residual log2 mean",
    *(f"contrast above {t:g}" for t in _THRESHOLDS),
    *(f"residual above {t:g}" for t in _THRESHOLDS),
)
CONTEXT_RANGE = 4.0  # standard deviations of the training images, at which a statistic is clipped


def space_to_depth(image: np.ndarray, scale: int) -> np.ndarray:
    """Rearranges pixels into channels, (s*h, s*w, c) to (h, w, s*s*c): the inverse of `tensors.depth_to_space`."""
    height, width, channels = image.shape[0] // scale, image.shape[1] // scale, image.shape[2]
    parts = image.reshape(height, scale, width, scale, channels)
    return parts.transpose(0, 2, 1, 3, 4).reshape(height, width, -1)


def residual(lr: np.ndarray, sr: np.ndarray, scale: int) -> np.ndarray:
    """Returns the difference of an upscaled image to bicubic interpolation.

    Within a window of a larger image, the outermost two low-resolution pixels are valid only at the image's borders.

    Args:
        lr: float32 array (height, width, channels) in [0, 1].
        sr: The same, (scale * height, scale * width, channels).
        scale: Upsampling factor.
    """
    return sr - interpolation.bicubic(lr, scale)


def network_input(lr: np.ndarray, difference: np.ndarray, scale: int) -> np.ndarray:
    """Returns the first input of the network, float32 (height, width, (1 + scale * scale) * channels) in [-1, 1].

    Args:
        lr: As for `residual`.
        difference: What `residual` returned.
        scale: Upsampling factor.
    """
    clipped = np.clip(difference / np.float32(RESIDUAL_RANGE), -1.0, 1.0)
    return np.concatenate([2 * lr - 1, space_to_depth(clipped, scale)], axis=-1)


def quantized_input(lr: np.ndarray, difference: np.ndarray, scale: int, tensor: dict) -> np.ndarray:
    """Returns `network_input` in the int8 codes of a tensor; quantizing before the pixel shuffle is much faster.

    Args:
        lr: As for `residual`.
        difference: What `residual` returned.
        scale: Upsampling factor.
        tensor: What LiteRT's `get_input_details` returns; its codes span [-1, 1] or more.
    """
    step, zero = tensor["quantization"]

    def codes(values: np.ndarray, gain: float, offset: float) -> np.ndarray:
        values = values * np.float32(gain / step)
        values += np.float32(offset / step + zero)
        low, high = (np.rint(np.float32(end) / np.float32(step)) + zero for end in (-1, 1))
        return np.clip(np.rint(values, out=values), max(low, -128), min(high, 127), out=values).astype(np.int8)

    shuffled = space_to_depth(codes(difference, 1 / RESIDUAL_RANGE, 0.0), scale)
    return np.concatenate([codes(lr, 2.0, -1.0), shuffled], axis=-1)


def statistics(
    lr: np.ndarray, sr: np.ndarray, scale: int, max_val: float = 1.0, difference: np.ndarray | None = None
) -> np.ndarray:
    """Returns the statistics of a full image, float64 (len(STATISTICS),), in memory of a strip.

    Args:
        lr: Array (height, width, channels) in [0, `max_val`], any type.
        sr: The same, (scale * height, scale * width, channels).
        scale: Upsampling factor.
        max_val: Full-scale value of both.
        difference: What `residual` returns for both, where it has been computed.
    """
    sums = [_sums(*strip) for strip in _strips(lr, sr, scale, max_val, difference)]
    means = np.sum(sums, axis=0) / np.prod(lr.shape)
    means[1] = np.sqrt(max(means[1] - means[0] ** 2, 0.0))
    return means


def standardized(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Returns statistics in standard deviations of the training images, clipped, as the network's second input.

    Args:
        values: Array (..., len(STATISTICS)).
        mean: Mean of the training images.
        deviation: Their standard deviation.

    Returns:
        float32 array in [-1, 1], 1 for `CONTEXT_RANGE` deviations.
    """
    scaled = (values - np.asarray(mean)) / np.maximum(np.asarray(deviation), 1e-6) / CONTEXT_RANGE
    return np.clip(scaled, -1.0, 1.0).astype(np.float32)


def _strips(
    lr: np.ndarray, sr: np.ndarray, scale: int, max_val: float, difference: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields rows of the image, their local contrast, and the energy of their residual, each (rows, width, channels).

    `interpolation.pad_mirrored` adds two pixels, of which the 3 x 3 mean needs one.
    """
    full = np.float32(max_val)
    padded = interpolation.pad_mirrored(lr)
    for rows in interpolation.strips(len(lr)):
        part = padded[rows.start : rows.stop + 4].astype(np.float32) / full
        large = slice(rows.start * scale, rows.stop * scale)
        if difference is None:
            upsampled = interpolation.bicubic_rows(part, slice(0, rows.stop - rows.start), scale)
            strip = sr[large].astype(np.float32) / full - upsampled
        else:
            strip = difference[large]
        yield part[2:-2, 2:-2], _contrast(part[1:-1, 1:-1]), _energy(strip, scale)


def _contrast(padded: np.ndarray) -> np.ndarray:
    """Returns the absolute difference of each pixel to the mean of its 3 x 3 neighborhood, of a padded image."""
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    means = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / np.float32(9)
    return np.abs(padded[1:-1, 1:-1] - means)


def _energy(difference: np.ndarray, scale: int) -> np.ndarray:
    """Returns the root mean square of the residual in each low-resolution pixel."""
    height, width, channels = difference.shape[0] // scale, difference.shape[1] // scale, difference.shape[2]
    # Whole rows first: a sum over two axes at once takes three times as long.
    rows = np.square(difference).reshape(height, scale, -1).sum(1)
    return np.sqrt(rows.reshape(height, width, scale, channels).sum(2) / np.float32(scale**2))


def _sums(low: np.ndarray, contrast: np.ndarray, energy: np.ndarray) -> np.ndarray:
    logs = [np.log2(np.maximum(values * LEVELS, _FLOOR)) for values in (contrast, energy)]
    ramps = [np.clip(values - np.float32(np.log2(t)) + 0.5, 0, 1) for values in logs for t in _THRESHOLDS]
    planes = [low, np.square(low), np.clip(2 - 64 * low, 0, 1), *logs, *ramps]
    return np.array([plane.sum(dtype=np.float64) for plane in planes])
