"""Statistics of an input and of what the network added to it, by which unusual inputs are recognized (T-30).

From the input: power spectrum in bands, noise, gradients, traces of the 8 x 8 blocks of JPEG, gray levels, and the
layout (a thumbnail of 8 x 8 pixels). From the result: the residual to bicubic interpolation, at the two corners of the
pixels of the input. NumPy alone; gray levels are those of 8 bits for every bit depth.

Of an image of more than 512 x 512 pixels, 16 windows of 128 x 128 are measured, evenly placed, so that memory and time
are bounded.

Reference:
    Immerkaer, Fast Noise Variance Estimation, CVIU 1996 (noise filter); Fan and de Queiroz, Identification of Bitmap
    Compression History, IEEE TIP 2003 (traces of JPEG)
"""

import functools
import itertools
from collections.abc import Iterator

import numpy as np

from tfmisr.edge import banded

SMALLEST = 32  # pixels of a side; fewer have too few blocks and frequencies
THUMBNAIL = 8  # pixels of a side
_MOST_PIXELS, _WINDOW, _PER_SIDE = 512 * 512, 128, 4
_BLOCK = 8  # of JPEG

# Cycles per pixel; the corners of the spectrum are at 0.71. The bands from 0.5 on lie there.
_EDGES = (0.03, 0.06, 0.1, 0.16, 0.22, 0.28, 0.34, 0.4, 0.45, 0.5, 0.58, 0.72)
_BANDS = tuple(f"power_{low:g}" for low in _EDGES[:-1])
_NOISE_QUANTILES, _GRAY_QUANTILES = (10, 25, 50, 75, 95), (2, 10, 30, 50, 70, 90, 98)
_NOISE = tuple(f"noise_{q}" for q in _NOISE_QUANTILES)
_GRAY = tuple(f"gray_{q}" for q in _GRAY_QUANTILES)
_RESIDUAL_QUANTILES = (50, 90, 99)
INPUT_NAMES = (
    *_BANDS,
    "direction_fine",
    "direction_middle",
    *_NOISE,
    "gradient",
    "gradient_steepest",
    "block_energy",
    "block_zeros",
    "block_edges",
    "block_edges_any_phase",
    *_GRAY,
    "black",
    "white",
)
RESIDUAL_NAMES = (
    "residual",
    *(f"residual_{q}" for q in _RESIDUAL_QUANTILES),
    "residual_gain",
    "residual_correlation",
    "residual_share",
)
NAMES = INPUT_NAMES + RESIDUAL_NAMES


def measure(lr: np.ndarray, sr: np.ndarray, max_val: float = 1.0) -> np.ndarray:
    """Returns the statistics `NAMES` of an image and its upscaled result, float64.

    Args:
        lr: Input (height, width), at least `SMALLEST` pixels on each side, in [0, max_val].
        sr: Result (scale * height, scale * width), in [0, max_val].
        max_val: Full-scale value of both.
    """
    places, factor, scale = _places(*lr.shape), np.float32(255 / max_val), len(sr) // len(lr)
    windows = np.stack([lr[place] * factor for place in places])
    return np.concatenate([_of_input(windows), _of_residual(windows, sr, places, scale, factor)])


def measure_input(lr: np.ndarray, max_val: float = 1.0) -> np.ndarray:
    """Returns the statistics `INPUT_NAMES` of an input; see `measure`."""
    return _of_input(np.stack([lr[place] * np.float32(255 / max_val) for place in _places(*lr.shape)]))


def thumbnail(lr: np.ndarray) -> np.ndarray:
    """Returns the layout of an input: means of 8 x 8 cells, normalized to mean 0 and variance 1, float64 (64,).

    Args:
        lr: Input (height, width), at least `SMALLEST` pixels on each side, of any range.
    """
    rows, columns = (np.linspace(0, side, THUMBNAIL + 1).astype(int) for side in lr.shape)
    bounds = itertools.pairwise(rows)
    sums = [np.add.reduceat(lr[top:bottom].sum(0, dtype=np.float64), columns[:-1]) for top, bottom in bounds]
    means = np.stack(sums) / np.outer(np.diff(rows), np.diff(columns))
    means -= means.mean()
    deviation = means.std()
    return (means / deviation if deviation > 0 else means).ravel()


def _places(height: int, width: int) -> list[tuple[slice, slice]]:
    """Returns the windows that are measured: the full image, or 16 windows on the grid of JPEG blocks."""
    if height * width <= _MOST_PIXELS:
        return [(slice(0, height), slice(0, width))]
    rows, columns = (_starts(side) for side in (height, width))
    sides = min(height, _WINDOW), min(width, _WINDOW)
    return [(slice(row, row + sides[0]), slice(column, column + sides[1])) for row in rows for column in columns]


def _starts(side: int) -> list[int]:
    return (np.linspace(0, max(side - _WINDOW, 0), _PER_SIDE).astype(int) // _BLOCK * _BLOCK).tolist()


def _of_input(x: np.ndarray) -> np.ndarray:
    """Returns `INPUT_NAMES` of windows (count, height, width) in levels of 8 bits."""
    return np.concatenate([_spectrum(x), _noise(x), _gradients(x), _jpeg(x), _gray_levels(x)])


@functools.lru_cache(maxsize=4)
def _frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """Returns band of each frequency, frequencies in each band, four directions, and the Hann window (unit power)."""
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    band = np.digitize(np.hypot(y, x), _EDGES).ravel()
    y, x = np.abs(y), np.abs(x)
    directions = [(x > 0.3) & (y < 0.15), (y > 0.3) & (x < 0.15)]
    directions += [(x > 0.08) & (x < 0.3) & (y < 0.08), (y > 0.08) & (y < 0.3) & (x < 0.08)]
    window = np.outer(*(np.hanning(side + 1)[:side] for side in (height, width)))
    window /= np.sqrt((window**2).sum())
    count = np.bincount(band, minlength=len(_EDGES) + 1)
    return band, np.maximum(count, 1), [d.ravel() for d in directions], window.astype(np.float32)


def _spectrum(x: np.ndarray) -> np.ndarray:
    band, count, directions, window = _frequencies(*x.shape[1:])
    transform = np.fft.rfft2((x - x.mean((1, 2), keepdims=True)) * window)
    power = (transform.real**2 + transform.imag**2).mean(0).ravel()
    bands = np.bincount(band, power, len(count))[1 : len(_EDGES)] / count[1 : len(_EDGES)]
    along = _log([power[direction].mean() if direction.any() else 0.0 for direction in directions], 1e-3)
    return np.concatenate([_log(bands, 1e-3), [along[0] - along[1], along[2] - along[3]]])


def _noise(x: np.ndarray) -> np.ndarray:
    """Returns quantiles over blocks of 7 x 7 of the mean absolute response of Immerkaer's filter, logarithmic."""
    rows = x[:, :-2] - 2 * x[:, 1:-1] + x[:, 2:]
    response = np.abs(rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:])
    count, height, width = response.shape[0], response.shape[1] // 7, response.shape[2] // 7
    blocks = response[:, : 7 * height, : 7 * width].reshape(count, height, 7, width, 7).mean((2, 4))
    return _log(np.percentile(blocks, _NOISE_QUANTILES), 1.0)


def _gradients(x: np.ndarray) -> np.ndarray:
    differences = [np.abs(np.diff(x, axis=axis)) for axis in (1, 2)]
    mean = sum(float(each.mean()) for each in differences)
    steepest = sum(float(np.percentile(each[:, ::2, ::2], 99)) for each in differences)
    return np.concatenate([_log([mean], 0.1), _log([steepest], 1.0)])


@functools.cache
def _dct() -> np.ndarray:
    """Returns the matrix of the orthonormal DCT-II of 8 values."""
    k, n = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)[None]
    matrix = np.cos(np.pi * k * (2 * n + 1) / (2 * _BLOCK)) / 2
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


_FINE = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)) >= 6  # coefficients that JPEG rounds most coarsely


def _coefficients(x: np.ndarray, row: int, column: int) -> np.ndarray:
    """Returns the absolute DCT coefficients at `_FINE` of the blocks of 8 x 8 of the grid through (row, column)."""
    x = x[:, row % _BLOCK :, column % _BLOCK :]
    count, height, width = x.shape[0], x.shape[1] // _BLOCK, x.shape[2] // _BLOCK
    blocks = x[:, : _BLOCK * height, : _BLOCK * width].reshape(count, height, _BLOCK, width, _BLOCK)
    transformed = np.ascontiguousarray(blocks.swapaxes(2, 3)).reshape(-1, _BLOCK) @ _dct().T
    transformed = _dct() @ transformed.reshape(-1, _BLOCK, _BLOCK)
    return np.abs(transformed[:, _FINE])


def _jpeg(x: np.ndarray) -> np.ndarray:
    """Returns traces of JPEG: fewer and smaller coefficients on a grid of blocks than beside it, and steps between.

    The grid is that of the image or, as of an image that was cropped, the one with the largest steps.
    """
    rows, columns = (_phases(np.abs(np.diff(x, 3, axis=axis)).mean((0, 3 - axis))) for axis in (1, 2))
    boundary = _BLOCK - 2  # the third difference between the pixels 8k - 1 and 8k begins at 8k - 2
    largest = (int(rows.argmax()) - boundary, int(columns.argmax()) - boundary)
    zeros, energy = max(_rounding(x, *grid) for grid in {(0, 0), largest})
    steps = sum(line[boundary] - np.delete(line, boundary).mean() for line in (rows, columns))
    return np.array([energy, zeros, steps, sum(line.max() - np.median(line) for line in (rows, columns))])


def _rounding(x: np.ndarray, row: int, column: int) -> tuple[float, float]:
    """Returns how many more coefficients are 0 on a grid than half a block beside it, and how much larger they are."""
    on, beside = (_coefficients(x, row + shift, column + shift) for shift in (0, _BLOCK // 2))
    return float((on < 0.75).mean() - (beside < 0.75).mean()), float(
        np.log((on.mean() + 0.05) / (beside.mean() + 0.05))
    )


def _phases(line: np.ndarray) -> np.ndarray:
    """Returns the logarithm of the median at each of eight phases of a line of at least eight values."""
    return _log(np.median(line[: len(line) // _BLOCK * _BLOCK].reshape(-1, _BLOCK), axis=0), 0.1)


def _gray_levels(x: np.ndarray) -> np.ndarray:
    quantiles = np.percentile(x, _GRAY_QUANTILES) / 255
    return np.concatenate([quantiles, _log([(x <= 0).mean(), (x >= 255).mean()], 0.01)])


def _of_residual(x: np.ndarray, sr: np.ndarray, places: list, scale: int, factor: np.float32) -> np.ndarray:
    residual = np.stack(
        [np.stack(list(_corners(window, sr, place, scale, factor))) for window, place in zip(x, places, strict=True)]
    )
    size = np.abs(residual)
    laplacian = 4 * x[:, 2:-2, 2:-2] - x[:, 1:-3, 2:-2] - x[:, 3:-1, 2:-2] - x[:, 2:-2, 1:-3] - x[:, 2:-2, 3:-1]
    both = residual.mean(1)
    product, power = float((both * laplacian).sum()), float((laplacian**2).sum())
    return np.concatenate(
        [
            _log([np.sqrt((residual**2).mean())], 0.02),
            _log(np.percentile(size, _RESIDUAL_QUANTILES), 0.2),
            [product / (power + 0.1 * laplacian.size)],
            [product / np.sqrt(float((both**2).sum()) * power + 1e-3)],
            _log([size.mean()], 0.02) - _log([np.abs(laplacian).mean()], 0.1),
        ]
    )


def _corners(x: np.ndarray, sr: np.ndarray, place: tuple[slice, slice], scale: int, factor: np.float32) -> Iterator:
    """Yields the result less bicubic interpolation at the upper left and lower right of each pixel.

    The outermost two pixels are left out, as interpolation does not depend on the border there.
    """
    rows, columns = place
    for phase in (0, scale - 1):
        center = (phase + 0.5) / scale - 0.5
        first = int(np.floor(center)) - 1
        weights = banded.cubic(first + np.arange(4) - center).astype(np.float32)
        height, width = x.shape[0] - 4, x.shape[1] - 4
        lines = sum(weight * x[2 + first + k : 2 + first + k + height] for k, weight in enumerate(weights))
        base = sum(weight * lines[:, 2 + first + k : 2 + first + k + width] for k, weight in enumerate(weights))
        found = sr[_phase(rows, phase, scale), _phase(columns, phase, scale)]
        yield found * factor - base


def _phase(place: slice, phase: int, scale: int) -> slice:
    return slice((place.start + 2) * scale + phase, (place.stop - 2) * scale, scale)


def _log(values: np.ndarray | list, offset: float) -> np.ndarray:
    """Returns logarithms; the offset keeps that of 0 finite and the smallest values from dominating."""
    return np.log(np.asarray(values, np.float64) + offset)
