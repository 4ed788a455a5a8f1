"""Path lengths of straight rays through simple bodies, on the pixel grid of a detector.

Everything is in cm. The rays are parallel and run along z. x grows to the right of the image (the
patient's left), y down, z towards the patient's back.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.interpolate


@dataclasses.dataclass(frozen=True)
class Grid:
    """Pixel centers in patient coordinates.

    Attributes:
        size: Pixels along each side.
        pitch: Distance of neighboring pixels, cm.
        x: (size, size) positions, cm; the patient leans, so they depend on the row.
        y: (size, 1) positions, cm.
        lean: Shear of the patient: shift in x, cm, per cm of y.
        middle: (x, y) of the image's center, cm.
    """

    size: int
    pitch: float
    x: np.ndarray
    y: np.ndarray
    lean: float
    middle: tuple[float, float]

    def columns(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Returns the column of points at `x`, `y` (cm), as a fraction."""
        return (x - self.middle[0] + self.lean * y) / self.pitch + (self.size - 1) / 2

    def rows(self, y: np.ndarray | float) -> np.ndarray:
        """Returns the row of points at `y` (cm), as a fraction."""
        return (y - self.middle[1]) / self.pitch + (self.size - 1) / 2

    def window(self, x: float, y: float, half_width: float, half_height: float) -> tuple[slice, slice]:
        """Returns the (rows, columns) slices of a box around (`x`, `y`), clipped to the image."""
        lean = abs(self.lean) * half_height
        row, column = self.rows(y), self.columns(x, y)
        reach = (half_height / self.pitch, (half_width + lean) / self.pitch)
        return tuple(
            slice(max(0, int(np.floor(at - r))), max(0, int(np.ceil(at + r)) + 1))
            for at, r in zip((row, column), reach, strict=True)
        )


def make_grid(size: int, field: float, lean: float = 0.0, middle: tuple[float, float] = (0.0, 0.0)) -> Grid:
    """Returns the grid of a square detector with sides of `field` cm."""
    pitch = field / size
    steps = (np.arange(size) - (size - 1) / 2) * pitch
    y = (steps[:, None] + middle[1]).astype(np.float32)
    x = (steps[None, :] + middle[0] - lean * y).astype(np.float32)
    return Grid(size, pitch, x, y, lean, tuple(middle))


def curve(y: np.ndarray, knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns a smooth curve through (`knots`, `values`) at `y`, constant beyond the ends."""
    inside = np.clip(y, knots[0], knots[-1])
    return scipy.interpolate.PchipInterpolator(knots, values)(inside).astype(np.float32)


def chord(ratio: np.ndarray, half_depth: np.ndarray | float, power: float = 2.0) -> np.ndarray:
    """Returns the path through a body with a (super)elliptic cross-section.

    Args:
        ratio: Distance from the body's axis, as a fraction of its half-width.
        half_depth: Half of the path on the axis, cm.
        power: 2 for an ellipse; the larger, the boxier.
    """
    outside = ratio * ratio if power == 2 else np.abs(ratio) ** power
    return 2 * half_depth * np.sqrt(np.maximum(1 - outside, 0))


def add_ellipsoid(
    canvas: np.ndarray,
    grid: Grid,
    center: Sequence[float],
    half_axes: Sequence[float],
    angle: float = 0.0,
    weight: float = 1.0,
) -> None:
    """Adds the path through an ellipsoid to `canvas`, cm.

    Args:
        canvas: (size, size) array, changed in place.
        grid: The pixels.
        center: (x, y), cm.
        half_axes: Along the first axis and the second in the image plane, and along the ray, cm.
        angle: From the x-axis to the first axis, towards +y, radian.
        weight: Factor of the path.
    """
    along, across, deep = half_axes
    cosine, sine = np.cos(angle), np.sin(angle)
    reach = np.hypot(along * cosine, across * sine), np.hypot(along * sine, across * cosine)
    box = grid.window(*center, *reach)
    x, y = grid.x[box] - np.float32(center[0]), grid.y[box[0]] - np.float32(center[1])
    u = (x * cosine + y * sine) / along
    v = (y * cosine - x * sine) / across
    canvas[box] += (weight * 2 * deep) * np.sqrt(np.maximum(1 - u * u - v * v, 0))


def union(*paths: np.ndarray) -> np.ndarray:
    """Returns about the path through bodies that overlap along the ray: a smooth maximum."""
    total = sum((path * path) ** 2 for path in paths)
    return np.sqrt(np.sqrt(total))


def texture(rng: np.random.Generator, grid: Grid, finest: float, coarsest: float, slope: float) -> np.ndarray:
    """Returns a random field of standard deviation 1.

    Args:
        rng: Source of randomness.
        grid: The pixels.
        finest: Wavelength below which there is nothing, cm.
        coarsest: Wavelength above which there is nothing more, cm.
        slope: Amplitude falls with frequency to this power in between.
    """
    white = rng.standard_normal((grid.size, grid.size), dtype=np.float32)
    frequency = frequencies(grid.size, grid.pitch)
    shape = (frequency + 1 / coarsest) ** -slope * np.exp(-0.5 * (frequency * finest) ** 2)
    field = scipy.fft.irfft2(scipy.fft.rfft2(white) * shape, s=white.shape)
    return (field - field.mean()) / field.std()


def frequencies(size: int, pitch: float) -> np.ndarray:
    """Returns the spatial frequency of each term of a real 2-D FFT, 1/cm."""
    down = scipy.fft.fftfreq(size, pitch).astype(np.float32)[:, None]
    along = scipy.fft.rfftfreq(size, pitch).astype(np.float32)
    return np.sqrt(down * down + along * along)
