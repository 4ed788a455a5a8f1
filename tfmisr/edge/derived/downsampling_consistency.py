"""Down-sampling consistency check: averaged to the size of its source, the result must equal it (D-31)."""

import dataclasses

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.derived.geometry import Grid
from tfmisr.edge.derived.product import Product

_TILE = 16  # source pixels; the mean over a tile suppresses noise


@dataclasses.dataclass(frozen=True)
class Consistency:
    """Differences between the downsampled result and the source, in stored values; of several frames the largest.

    Attributes:
        mean: Mean difference over the image.
        p99: 99th percentile of the absolute differences of pixels.
        flat: Largest absolute mean over a 16 x 16 tile, among the quarter of tiles with the least contrast.
        span: Range from the 1st to the 99th percentile of the source.
    """

    mean: float = 0.0
    p99: float = 0.0
    flat: float = 0.0
    span: float = 0.0

    def worst(self, other: "Consistency") -> "Consistency":
        """Returns the value of larger magnitude for each attribute."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Consistency(*(max(pair, key=abs) for pair in pairs))

    def violation(self, product: Product, used: int) -> str | None:
        """Returns a sentence on the limit that is exceeded, or `None`.

        Args:
            product: Defines the limits.
            used: Number of stored values from the lowest to the highest.
        """
        unit = max(1.0, used / 4096)
        if product.mean_limit is not None and abs(self.mean) > product.mean_limit * unit:
            limit = f"{product.mean_limit * unit:.3g}"
            return f"the mean of the result differs by {self.mean:.3g} stored units from the source's, limit {limit}"
        if product.p99_limit is not None and self.p99 > max(product.p99_limit * self.span, 1.0):
            limit = f"{max(product.p99_limit * self.span, 1.0):.3g}"
            return f"1 % of the pixels differ by more than {self.p99:.3g} stored units from the source's, limit {limit}"
        return None


def measure(source: np.ndarray, result: np.ndarray, axes: tuple[Grid, Grid], valid: np.ndarray | None) -> Consistency:
    """Compares the stored values of a frame.

    Args:
        source: (rows, columns, channels).
        result: `scale` times as many rows and columns.
        axes: The grids of rows and columns. For half-pixel centers block means are compared, otherwise the nearest
            pixel.
        valid: Mask, false where the source is padding; `None` without padding.
    """
    difference = downsample(result, axes) - source
    values = source.reshape(-1) if valid is None else source[valid]
    errors = difference.reshape(-1) if valid is None else difference[valid]
    if not values.size:
        return Consistency()
    low, high = np.percentile(values, (1, 99))
    p99 = float(np.percentile(np.abs(errors), 99))
    return Consistency(float(errors.mean()), p99, _flattest(source, difference, valid), float(high - low))


def downsample(result: np.ndarray, axes: tuple[Grid, Grid]) -> np.ndarray:
    """Returns the result at the size of its source."""
    rows, columns = axes
    if rows.convention != "half_pixel":
        positions = [np.floor(axis.to_result(np.arange(axis.length)) + 0.5).astype(int) for axis in axes]
        return result[np.ix_(*positions)].astype(np.float32)
    scale, channels = rows.scale, result.shape[2]
    blocks = result.reshape(rows.length, scale, columns.length, scale, channels)
    return blocks.sum(axis=(1, 3), dtype=np.int64).astype(np.float32) / scale**2


def _flattest(source: np.ndarray, difference: np.ndarray, valid: np.ndarray | None) -> float:
    rows, columns = (n // _TILE for n in source.shape[:2])
    if not rows or not columns:
        return 0.0
    is_valid = np.ones(rows * columns, bool) if valid is None else _tiles(valid[..., None], rows, columns).all(axis=1)
    if not is_valid.any():
        return 0.0
    contrast = _tiles(source[..., :1], rows, columns)[is_valid].std(axis=1)
    means = np.abs(_tiles(difference[..., :1], rows, columns)[is_valid].mean(axis=1))
    return float(means[contrast <= np.percentile(contrast, 25)].max())


def _tiles(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    cut = array[: rows * _TILE, : columns * _TILE, 0].reshape(rows, _TILE, columns, _TILE)
    return cut.transpose(0, 2, 1, 3).reshape(rows * columns, _TILE**2)


__getattr__ = renamed(__name__, Fidelity="Consistency", averaged="downsample")
