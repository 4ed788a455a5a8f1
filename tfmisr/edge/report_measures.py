"""Measures of one upscaled image for its report: half-widths, their largest regions, and energy beyond Nyquist (T-50).

The spectrum is the average over overlapping windows, each without its mean and with a Hann taper (Welch, The use of
fast Fourier transform for the estimation of power spectra, IEEE Trans. Audio and Electroacoustics 1967), so that the
memory does not grow with the image.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfmisr.edge import tiling

REGIONS = 3
_SIDE = 256  # of a window of the spectrum, high-resolution pixels
_BLOCKS = 16  # regions are blocks of this part of the longer side
_SMALLEST_BLOCK = 8
_STEPS = 6  # half-widths of 1, 2, 4, ... times the smallest step
_QUANTILES = (0.5, 0.95, 0.99)
_BITS = 17  # of a float32 that make a bin of the quantiles: 8 of the mantissa
_ROWS = 256  # of a strip
_PREVIEW = 360  # longer side, pixels


@dataclasses.dataclass(frozen=True)
class Region:
    """A block of the result, in its pixels, and its half-width.

    Attributes:
        row: First row.
        column: First column.
        height: Number of rows.
        width: Number of columns.
        mean: Mean half-width, in the unit of the image.
        maximum: Largest half-width, in the unit of the image.
    """

    row: int
    column: int
    height: int
    width: int
    mean: float
    maximum: float


@dataclasses.dataclass(frozen=True)
class HalfWidths:
    """The half-widths of one image, in the unit of its values.

    Attributes:
        mean: Mean.
        median: Median, at most 0.4 % too high.
        p95: 95th percentile, as exact.
        p99: 99th percentile, as exact.
        shares: Pairs of a half-width and the share of pixels whose half-width is at most that, 0 to 1; the last pair
            has the largest half-width of the image, and 1.
        regions: The three blocks of the largest mean half-width, which do not touch.
    """

    mean: float
    median: float
    p95: float
    p99: float
    shares: tuple[tuple[float, float], ...]
    regions: tuple[Region, ...]

    @classmethod
    def of(cls, half_width: np.ndarray, step: float, slope: float = 1.0) -> "HalfWidths":
        """Measures a map, strip by strip: beside the map, the memory does not grow with the image.

        Args:
            half_width: float32 array (height, width, 1) of half-widths, above 0.
            step: Smallest half-width of `shares`, in the unit of the image: one level of 8 bits.
            slope: How many units of the image one of `half_width` is.
        """
        plane = half_width[..., 0]
        limits = [step * 2**power for power in range(_STEPS)]
        counts, below, total = np.zeros(2**_BITS, np.int64), np.zeros(_STEPS, np.int64), 0.0
        for start in range(0, len(plane), _ROWS):
            strip = plane[start : start + _ROWS] * np.float32(slope)
            counts += np.bincount(_bins(strip), minlength=2**_BITS)
            below += [int((strip <= np.float32(limit)).sum()) for limit in limits]
            total += float(strip.sum(dtype=np.float64))
        largest = slope * float(plane.max())
        shares = [(limit, count / plane.size) for limit, count in zip(limits, below.tolist(), strict=True)]
        shares = [pair for pair in shares if pair[0] < largest]
        median, p95, p99 = (min(value, largest) for value in _quantiles(counts))
        return cls(total / plane.size, median, p95, p99, (*shares, (largest, 1.0)), tuple(_regions(plane, slope)))


def _bins(strip: np.ndarray) -> np.ndarray:
    """Returns the sign, exponent and first bits of positive float32 numbers: an order-preserving bin for each."""
    return np.ascontiguousarray(strip).reshape(-1).view(np.int32) >> (32 - _BITS)


def _quantiles(counts: np.ndarray) -> Iterator[float]:
    """Yields the upper ends of the bins with the quantiles, at most 0.4 % above these."""
    cumulated = np.cumsum(counts)
    for share in _QUANTILES:
        place = int(np.searchsorted(cumulated, share * cumulated[-1]))
        yield float(np.array([(place + 1) << (32 - _BITS)], np.int64).astype(np.int32).view(np.float32)[0])


def _regions(plane: np.ndarray, slope: float) -> Iterator[Region]:
    side = max(_SMALLEST_BLOCK, -(-max(plane.shape) // _BLOCKS))
    rows, columns = (range(0, length, side) for length in plane.shape)
    blocks = [
        Region(row, column, *_measured(plane[row : row + side, column : column + side], slope))
        for row in rows
        for column in columns
    ]
    chosen: list[Region] = []
    for block in sorted(blocks, key=lambda each: -each.mean):
        if all(max(abs(block.row - c.row), abs(block.column - c.column)) > side for c in chosen):
            chosen.append(block)
            yield block
        if len(chosen) == REGIONS:
            return


def _measured(block: np.ndarray, slope: float) -> tuple[int, int, float, float]:
    return *block.shape, slope * float(block.mean(dtype=np.float64)), slope * float(block.max())


def energy_beyond_nyquist(image: np.ndarray, scale: int) -> float:
    """Returns the share of the spectral energy that the input cannot hold: beyond its Nyquist frequency on either axis.

    Args:
        image: Array (scale * height, scale * width, channels).
        scale: Upsampling factor; the input's Nyquist frequency is 1 / (2 * scale) cycles for each pixel.

    Returns:
        0 to 1, of the contrast within windows of 256 pixels; NaN for a constant image.
    """
    beyond = total = 0.0
    height, width, channels = image.shape
    for rows, columns in tiling.grid(height, width, (_SIDE // 2, _SIDE // 2), _SIDE // 4):
        for channel in range(channels):
            power = _power(image[rows[0] : rows[1], columns[0] : columns[1], channel].astype(np.float64))
            outside = _outside(power.shape, scale)
            beyond, total = beyond + float(power[outside].sum()), total + float(power.sum())
    return beyond / total if total else float("nan")


def _power(window: np.ndarray) -> np.ndarray:
    taper = np.outer(*(np.hanning(side + 2)[1:-1] for side in window.shape))
    centered = window - (window * taper).sum() / taper.sum()
    return np.square(np.abs(np.fft.fft2(centered * taper)))


def _outside(shape: tuple[int, ...], scale: int) -> np.ndarray:
    vertical, horizontal = (np.abs(np.fft.fftfreq(side)) for side in shape)
    limit = 0.5 / scale
    return np.add.outer(vertical > limit, horizontal > limit).astype(bool)


def preview(image: np.ndarray) -> np.ndarray:
    """Returns a small uint8 picture (height, width), of means of blocks, from the 0.5th to the 99.5th percentile.

    Args:
        image: Array (height, width, channels).
    """
    step = -(-max(image.shape[:2]) // _PREVIEW)
    height, width = (side // step for side in image.shape[:2])
    small = np.empty((height, width), np.float32)
    for row in range(height):  # one row of blocks at a time bounds the memory
        strip = image[row * step : (row + 1) * step, : width * step].mean(-1, dtype=np.float32)
        small[row] = strip.reshape(step, width, step).mean((0, 2))
    low, high = np.percentile(small, (0.5, 99.5))
    return np.rint(255 * np.clip((small - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
