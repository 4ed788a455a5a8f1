"""Interpolation along the slice axis: linear, cubic spline and Lanczos, on half-voxel centers, with NumPy alone.

All are linear in the slices, so each is a matrix (new slices, slices). The border is mirrored at the outer faces of
the volume (half-sample symmetric), as of `scipy.ndimage` with `mode="reflect"`: beyond the outermost centers nothing is
extrapolated.

Reference:
    Unser, Splines: A Perfect Fit for Signal and Image Processing, IEEE Signal Processing Magazine 1999 (the prefilter
    of the interpolating cubic spline is the inverse of a tridiagonal matrix); Duchon, Lanczos Filtering in One and Two
    Dimensions, J. Applied Meteorology 1979
"""

import numpy as np

from tfmisr.edge.errors import check_name
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.slice_matrices import apply, check_same_planes
from tfmisr.edge.volumes.volume import Volume

METHODS = ("spline", "lanczos", "linear")
_LANCZOS_LOBES = 3
_LEAST_WEIGHT = 1e-9  # the spline's weights fall by the factor 0.27 a slice: a band of 33 slices


def matrix(source: VolumeGrid, target: VolumeGrid, method: str = "spline") -> np.ndarray:
    """Returns the matrix (target slices, source slices) of interpolation along the slice axis.

    Args:
        source: Grid of the slices.
        target: Grid of the new slices; both differ only along the slice axis.
        method: `spline`, the interpolating cubic spline; `lanczos`, with three lobes; or `linear`.

    Returns:
        float64; the sum of each row is 1.

    Raises:
        InputError: The grids do not fit, or there is no such method.
    """
    check_name("the interpolation", method, list(METHODS))
    check_same_planes(source, target)
    return line_matrix(source.shape[0], source.slice_coordinates(target), method)


def line_matrix(count: int, coordinates: np.ndarray, method: str = "spline") -> np.ndarray:
    """Returns the matrix (coordinates, count) of interpolation of a line of samples.

    Args:
        count: Number of samples.
        coordinates: Places at which to interpolate, in indices of the samples.
        method: As of `matrix`.
    """
    kernel, radius = {"spline": (_cubic_b_spline, 2), "lanczos": (_lanczos, _LANCZOS_LOBES), "linear": (_hat, 1)}[
        method
    ]
    first = np.floor(coordinates).astype(int) - radius + 1
    columns = first[:, None] + np.arange(2 * radius)
    weights = kernel(columns - coordinates[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    result = _scatter(weights, columns, count)
    if method == "spline":
        weights, columns = _b_spline_samples(count)
        result = result @ np.linalg.inv(_scatter(weights, columns, count))
        result[np.abs(result) < _LEAST_WEIGHT] = 0.0
    return result


def _b_spline_samples(count: int) -> tuple[np.ndarray, np.ndarray]:
    columns = np.arange(count)[:, None] + np.arange(-1, 2)
    return np.tile([1 / 6, 4 / 6, 1 / 6], (count, 1)), columns


def _scatter(weights: np.ndarray, columns: np.ndarray, count: int) -> np.ndarray:
    """Returns the matrix whose row i has `weights[i]` at `columns[i]`, mirrored into the `count` columns."""
    columns = columns % (2 * count)
    columns = np.where(columns < count, columns, 2 * count - 1 - columns)
    result = np.zeros((len(weights), count))
    np.add.at(result, (np.arange(len(weights))[:, None], columns), weights)
    return result


def _cubic_b_spline(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    return np.where(x < 1, (4 - 6 * x**2 + 3 * x**3) / 6, np.clip(2 - x, 0, None) ** 3 / 6)


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < _LANCZOS_LOBES, np.sinc(x) * np.sinc(x / _LANCZOS_LOBES), 0.0)


def _hat(x: np.ndarray) -> np.ndarray:
    return np.clip(1 - np.abs(x), 0, None)


def resample(volume: Volume, grid: VolumeGrid, method: str = "spline") -> Volume:
    """Returns the volume interpolated at the slices of another grid.

    Interpolation makes no slice thinner: the result keeps the slice thickness of the source.

    Args:
        volume: The volume.
        grid: Target; differs from the volume's only along the slice axis.
        method: As of `matrix`.
    """
    values = apply(matrix(volume.grid, grid, method), volume.values)
    return Volume(values, grid, volume.slice_thickness, volume.modality)
