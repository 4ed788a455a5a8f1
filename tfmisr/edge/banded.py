"""Separable resampling as banded matrices: one matrix product for each axis, block by block, with NumPy alone.

The matrices have the weights of Pillow's `Resample.c` for half-pixel centers; `tfmisr.edge.consistency` applies them.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

_BLOCK = 32  # low-resolution pixels of a block: dense enough for BLAS, and the zeros beside the band cost little
_LEAST_TRANSFER = 0.05  # along one axis; below, the inverse amplifies rounding more than 20 times
BORDERS = ("renormalize", "nearest", "mirror")


def cubic(x: np.ndarray) -> np.ndarray:
    """Returns Keys' cubic convolution kernel with a = -0.5, as of Pillow's `BICUBIC`."""
    x = np.abs(x)
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))


def bicubic_kernel(scale: int) -> np.ndarray:
    """Returns the weights of antialiased bicubic down-sampling along one axis, centered on the low-resolution pixel."""
    count = 4 * scale + scale % 2  # as even or odd as the scale, so that it has a center
    weights = cubic((np.arange(count) - (count - 1) / 2) / scale)
    return weights / weights.sum()


def reduction(kernel: Sequence[float], length: int, scale: int, border: str = "renormalize") -> np.ndarray:
    """Returns the matrix (length, scale * length) of down-sampling by a kernel along one axis.

    Args:
        kernel: Weights over high-resolution pixels, as even or odd in number as the scale.
        length: Low-resolution pixels of the axis.
        scale: Down-sampling factor.
        border: Where the kernel leaves the image: `renormalize` the weights inside, as Pillow; `nearest`, the
            outermost pixel is repeated; or `mirror`, the image is mirrored with its outermost pixel.
    """
    first = np.arange(length) * scale - (len(kernel) - scale) // 2
    return _scattered(np.tile(kernel, (length, 1)), first, scale * length, border)


def interpolation(length: int, scale: int) -> np.ndarray:
    """Returns the matrix (scale * length, length) of bicubic interpolation along one axis; its border is mirrored."""
    centers = (np.arange(scale * length) + 0.5) / scale - 0.5
    first = np.floor(centers).astype(int) - 1
    weights = cubic(first[:, None] + np.arange(4) - centers[:, None])
    return _scattered(weights, first, length, "mirror")


def convolution(taps: Sequence[float], length: int) -> np.ndarray:
    """Returns the matrix (length, length) of a symmetric filter along one axis; the border is mirrored.

    Args:
        taps: The middle weight and those to its right.
        length: Pixels of the axis.
    """
    weights = np.concatenate([taps[:0:-1], taps])
    return _scattered(np.tile(weights, (length, 1)), np.arange(length) - len(taps) + 1, length, "mirror")


def _scattered(weights: np.ndarray, first: np.ndarray, length: int, border: str) -> np.ndarray:
    """Returns the matrix whose row i has `weights[i]` from column `first[i]` on; `length` is its number of columns."""
    columns = first[:, None] + np.arange(weights.shape[1])
    if border == "renormalize":
        weights = np.where((columns >= 0) & (columns < length), weights, 0.0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    if border == "mirror":
        columns = columns % (2 * length)
        columns = np.where(columns < length, columns, 2 * length - 1 - columns)
    matrix = np.zeros((len(weights), length))
    rows = np.broadcast_to(np.arange(len(weights))[:, None], columns.shape)
    np.add.at(matrix, (rows, np.clip(columns, 0, length - 1)), weights)
    return matrix


def inverse_taps(kernel: Sequence[float], scale: int, count: int) -> list[float]:
    """Returns the filter that inverts interpolation followed by down-sampling, far from the borders.

    `A U`, bicubic interpolation and then the kernel, is a convolution of the low-resolution image. Its inverse decays
    fast, as its transfer function is positive; the taps are those of `1 / (A U)`, scaled to the sum of 1 that keeps
    constants.

    Args:
        kernel: As of `reduction`.
        scale: Down-sampling factor.
        count: Taps from the middle on.

    Raises:
        ValueError: The kernel removes frequencies that the interpolation has: there is no inverse.
    """
    length = 8 * count + 2 * len(kernel) // scale
    row = (reduction(kernel, length, scale) @ interpolation(length, scale))[length // 2]
    transfer = np.fft.fft(np.roll(row, -(length // 2))).real
    if transfer.min() < _LEAST_TRANSFER:
        raise ValueError(f"`kernel` must keep all frequencies of its grid. Received: transfer {transfer.min():.3g}")
    taps = np.fft.ifft(1 / transfer).real[:count]
    return (taps / (taps[0] + 2 * taps[1:].sum())).tolist()


@dataclasses.dataclass(frozen=True)
class Banded:
    """A banded matrix as dense float32 blocks of rows.

    Attributes:
        rows: Number of rows.
        blocks: (rows, columns, matrix) of each block.
    """

    rows: int
    blocks: tuple[tuple[slice, slice, np.ndarray], ...]

    @classmethod
    def of(cls, matrix: np.ndarray, block: int) -> "Banded":
        """Returns the blocks of `block` rows of a matrix, without the zeros beside its band."""
        blocks = []
        for start in range(0, len(matrix), block):
            rows = slice(start, min(start + block, len(matrix)))
            used = np.flatnonzero(np.abs(matrix[rows]).max(axis=0) > 0)
            columns = slice(int(used[0]), int(used[-1]) + 1)
            blocks.append((rows, columns, np.ascontiguousarray(matrix[rows, columns], np.float32)))
        return cls(len(matrix), tuple(blocks))

    def along_rows(self, image: np.ndarray) -> np.ndarray:
        """Returns `matrix @ image`, for a float32 array (height, width)."""
        out = np.empty((self.rows, image.shape[1]), np.float32)
        for rows, columns, block in self.blocks:
            np.matmul(block, image[columns], out=out[rows])
        return out

    def along_columns(self, image: np.ndarray) -> np.ndarray:
        """Returns `image @ matrix.T`, for a float32 array (height, width)."""
        out = np.empty((len(image), self.rows), np.float32)
        for rows, columns, block in self.blocks:
            np.matmul(image[:, columns], block.T, out=out[:, rows])
        return out


@functools.lru_cache(maxsize=16)
def reducer(kernel: tuple[float, ...], length: int, scale: int, border: str) -> Banded:
    """Returns `reduction` in blocks."""
    return Banded.of(reduction(kernel, length, scale, border), _BLOCK)


@functools.lru_cache(maxsize=16)
def corrector(taps: tuple[float, ...], length: int, scale: int) -> Banded:
    """Returns interpolation after the filter `taps`, (scale * length, length), in blocks."""
    return Banded.of(interpolation(length, scale) @ convolution(taps, length), _BLOCK * scale)
