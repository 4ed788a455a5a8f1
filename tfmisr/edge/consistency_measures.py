"""How far an upscaled image agrees with its input, and how much of it no input pixel supports (T-05).

The deviation is `|A x - y|` in stored levels of the input, with the degradation `A` without noise, the stored result
`x` and the input `y`. The null-space energy is `||x - A^+ A x||^2 / ||x - mean x||^2`: the part of the contrast that
every image with the same reduction may have differently.
"""

import dataclasses

import numpy as np

from tfmisr.edge import banded, blas, tiling
from tfmisr.edge.consistency import Operator

_TILE = 192  # low-resolution pixels, which bounds the memory
_MARGIN = 32  # low-resolution pixels; the pseudoinverse decays to about 1e-12 over them


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The agreement of one upscaled image with its input.

    Attributes:
        within_half: Share of input pixels reproduced to within half a level, which the rounding of the input allows.
        within_three_quarters: Share of input pixels reproduced to within 0.75 levels.
        p999: 99.9th percentile of the deviations, in levels of the input.
        maximum: Largest deviation, in levels of the input.
        place: Row and column of the input pixel with the largest deviation.
        null_space_energy: Share of the contrast of the result that no input pixel supports, 0 to 1; NaN if not
            computed, for a constant image and for operators that are not linear.
    """

    within_half: float
    within_three_quarters: float
    p999: float
    maximum: float
    place: tuple[int, int]
    null_space_energy: float

    def __str__(self) -> str:
        percent = np.floor(1000 * self.within_half) / 10  # never more than is true
        return f"{percent:.1f} % of the input reproduced to half a level, at most {self.maximum:.1f} levels off"


def agreement(sr: np.ndarray, lr: np.ndarray, operator: Operator, max_val: float, null_space: bool = True) -> Agreement:
    """Measures one image; of several channels all pixels count.

    Args:
        sr: Stored result, integers or floats in stored values, (scale * height, scale * width, channels).
        lr: Input in the same values, (height, width, channels).
        operator: Degradation without noise.
        max_val: Stored value of full scale, of both.
        null_space: Compute the null-space energy too, which takes about a second for each megapixel of `sr`.
    """
    deviation = np.abs(deviations(sr, lr, operator, max_val))
    largest = np.unravel_index(int(deviation.argmax()), deviation.shape)
    return Agreement(
        # Half a level in float32 is not exact: a millionth of the range covers its rounding.
        within_half=float((deviation <= 0.5 + 1e-6 * max_val).mean()),
        within_three_quarters=float((deviation <= 0.75 + 1e-6 * max_val).mean()),
        p999=float(np.percentile(deviation, 99.9)),
        maximum=float(deviation[largest]),
        place=(int(largest[0]), int(largest[1])),
        null_space_energy=null_space_energy(sr, operator) if null_space else float("nan"),
    )


def deviations(sr: np.ndarray, lr: np.ndarray, operator: Operator, max_val: float) -> np.ndarray:
    """Returns `A x - y` in stored levels as float32 (height, width, channels); arguments as of `agreement`."""
    height, width, channels = lr.shape
    out, s, full = np.empty(lr.shape, np.float32), operator.scale, np.float32(max_val)
    with blas.single_threaded():
        for rows, columns in tiling.grid(height, width, (_TILE, _TILE), operator.radius):
            window, kept, inside = _window(rows, columns, s)
            for channel in range(channels):
                reduced = operator.reduce(np.divide(sr[window][..., channel], full, dtype=np.float32))
                out[kept][..., channel] = full * reduced[inside] - lr[kept][..., channel]
    return out


def _window(rows: tuple, columns: tuple, scale: int) -> tuple[tuple, tuple, tuple]:
    """Returns slices of the high-resolution window, of the kept low-resolution pixels, and of these in the window."""
    (y0, y1, top, bottom), (x0, x1, left, right) = rows, columns
    window = slice(y0 * scale, y1 * scale), slice(x0 * scale, x1 * scale)
    inside = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
    return window, (slice(top, bottom), slice(left, right)), inside


def null_space_energy(image: np.ndarray, operator: Operator) -> float:
    """Returns `||x - A^+ A x||^2 / ||x - mean x||^2` of an image (scale * height, scale * width, channels).

    Returns:
        0 to 1; NaN for a constant image and for an operator that is not linear.
    """
    if operator.exponent:
        return float("nan")
    outside = total = 0.0
    for channel in range(image.shape[-1]):
        mean = float(image[..., channel].mean(dtype=np.float64))
        part, whole = _energies(image[..., channel], mean, operator)
        outside, total = outside + part, total + whole
    return outside / total if total else float("nan")


def _energies(plane: np.ndarray, mean: float, operator: Operator) -> tuple[float, float]:
    """Returns `||x - A^+ A x||^2` and `||x - mean||^2` of one channel, window by window."""
    s, outside, total = operator.scale, 0.0, 0.0
    height, width = (side // s for side in plane.shape)
    for rows, columns in tiling.grid(height, width, (_TILE, _TILE), _MARGIN):
        window, _, inside = _window(rows, columns, s)
        x = plane[window].astype(np.float64) - mean
        vertical, horizontal = _matrices(operator, rows[1] - rows[0], columns[1] - columns[0])
        # The mean was subtracted for the precision; what A^+ A makes of it is separable.
        rest = x - _projected(x, vertical, horizontal)
        ones = [_projected(np.ones((matrix.shape[1], 1)), matrix, np.eye(1)) for matrix in (vertical, horizontal)]
        rest += mean * (1 - ones[0] @ ones[1].T)
        part = tuple(slice(i.start * s, i.stop * s) for i in inside)
        outside, total = outside + float(np.square(rest[part]).sum()), total + float(np.square(x[part]).sum())
    return outside, total


def _matrices(operator: Operator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return (
        banded.reduction(operator.vertical, height, operator.scale, operator.border),
        banded.reduction(operator.horizontal, width, operator.scale, operator.border),
    )


def _projected(x: np.ndarray, vertical: np.ndarray, horizontal: np.ndarray) -> np.ndarray:
    """Returns `A^+ A x`, with the separable pseudoinverse `A' (A A')^-1`."""
    rows = vertical.T @ np.linalg.solve(vertical @ vertical.T, vertical @ x)
    return np.linalg.solve(horizontal @ horizontal.T, horizontal @ rows.T).T @ horizontal
