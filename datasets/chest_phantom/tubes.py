"""Tubes along curves, and the path of each ray through them: bones, vessels, airways, wires.

Lengths are in cm; axes as in shapes.py.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfmisr.datasets.chest_phantom.shapes import Grid, curve


@dataclasses.dataclass(frozen=True)
class Tubes:
    """Short straight pieces of tubes with elliptic cross-sections, cut by planes at both ends.

    All arrays have shape (pieces, 3), except `half` with (pieces, 2): half-axes along `first`, `second` at
    the middle, and `growth` with (pieces,): by how much their size differs between the ends, cm.
    Neighboring pieces share the plane that cuts them, so nothing is counted twice or left out.
    """

    start: np.ndarray
    end: np.ndarray
    start_normal: np.ndarray
    end_normal: np.ndarray
    first: np.ndarray
    second: np.ndarray
    half: np.ndarray
    growth: np.ndarray

    def __len__(self):
        return len(self.growth)

    def __getitem__(self, some) -> "Tubes":
        return Tubes(*(field[some] for field in _fields(self)))

    def shrunk(self, by: np.ndarray | float) -> "Tubes":
        """Returns the tubes inside walls of `by` cm, a number or one per piece."""
        half = np.maximum(self.half - np.reshape(by, (-1, 1)), 1e-3)
        most = 2 * half.min(axis=1)
        return dataclasses.replace(self, half=half, growth=np.clip(self.growth, -most, most))


def join(tubes: list[Tubes]) -> Tubes:
    """Returns all pieces as one."""
    return Tubes(*(np.concatenate(parts) for parts in zip(*map(_fields, tubes), strict=True)))


def _fields(tubes):
    return [getattr(tubes, field.name) for field in dataclasses.fields(tubes)]


def _unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def tube(
    points: Sequence | np.ndarray, half: np.ndarray | float | Sequence, outward: Sequence | np.ndarray | None = None
) -> Tubes:
    """Returns a tube along a polyline.

    Args:
        points: (n, 3) positions, cm.
        half: Radius, cm: a number or (n,); or (n, 2) half-axes, across and along `outward`.
        outward: (n, 3) direction of the second half-axis; for round tubes not needed.
    """
    points = np.asarray(points, float)
    half = np.broadcast_to(np.asarray(half, float).T, (2, len(points))).T
    growth = np.diff(half.mean(axis=1))
    half = (half[1:] + half[:-1]) / 2
    tangent = _unit(np.diff(points, axis=0))
    normal = np.concatenate([tangent[:1], _unit(tangent[1:] + tangent[:-1]), tangent[-1:]])
    if outward is None:
        outward = np.where(np.abs(tangent[:, 2:]) < 0.7, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    else:
        outward = np.asarray(outward, float)[1:]
    second = _unit(outward - np.sum(outward * tangent, axis=1, keepdims=True) * tangent)
    first = np.cross(tangent, second)
    return Tubes(points[:-1], points[1:], normal[:-1], normal[1:], first, second, half, growth)


# A cutting plane closer than this to parallel with the ray is tilted to this slope, to be divided by.
_LEAST_SLOPE = 0.02

# Pixels drawn at once: as many as the cache holds.
_BATCH = 30_000


def add(canvas: np.ndarray, grid: Grid, tubes: Tubes, weight: np.ndarray | float = 1.0) -> None:
    """Adds the path through each piece to `canvas`, cm.

    A tube thinner than a pixel is drawn as wide as one, with as much less path: its area stays.

    Args:
        canvas: (size, size) array, changed in place.
        grid: The pixels.
        tubes: What to draw.
        weight: Factor of the path: a number or one per piece.
    """
    windows, middle = _windows(grid, tubes)
    forms = _forms(grid, tubes, middle)
    weight = np.broadcast_to(np.asarray(weight, np.float32), len(tubes))
    seen = np.all(np.abs(middle - grid.size / 2) < grid.size / 2 + windows[:, None], axis=1)
    drawn = []
    for window in np.unique(windows[seen]):
        which = np.flatnonzero(seen & (windows == window))
        several = max(1, _BATCH // (2 * window + 1) ** 2)
        for first in range(0, len(which), several):
            some = which[first : first + several]
            path = _paths({name: form[some] for name, form in forms.items()}, window)
            drawn.append(_inside(path * weight[some, None, None], middle[some], window, grid.size))
    if drawn:
        index, path = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        canvas += np.bincount(index, path, grid.size**2).reshape(canvas.shape).astype(canvas.dtype)


def _windows(grid, tubes):
    """Returns the half-width of a square of pixels that holds each piece, and its middle pixel."""
    middle = (tubes.start + tubes.end) / 2
    section = np.hypot(tubes.first * tubes.half[:, :1], tubes.second * tubes.half[:, 1:])
    # The planes at the ends are slanted, so that a piece reaches further than its middle line.
    reach = np.abs(tubes.end - tubes.start) / 2 + 1.25 * section + np.abs(tubes.growth)[:, None]
    pixels = np.ceil(reach[:, :2].max(axis=1) / grid.pitch * (1 + abs(grid.lean))) + 1
    steps = np.ceil(2 ** (np.ceil(np.log2(pixels) * 4) / 4)).astype(int)
    at = np.stack([grid.rows(middle[:, 1]), grid.columns(middle[:, 0], middle[:, 1])], axis=1)
    return steps, np.rint(at).astype(int)


def _forms(grid, tubes, middle):
    """Returns what decides a ray's path through a piece, each a linear form of the pixel.

    A form is (pieces, 3): its value at the window's middle pixel, and its growth per row and per column.
    """
    y = (middle[:, 0] - (grid.size - 1) / 2) * grid.pitch + grid.middle[1]
    x = (middle[:, 1] - (grid.size - 1) / 2) * grid.pitch + grid.middle[0] - grid.lean * y

    def form(across, down, origin, constant=0.0):
        value = across * (x - origin[:, 0]) + down * (y - origin[:, 1]) + constant
        rates = (down - grid.lean * across) * grid.pitch, across * grid.pitch
        return np.stack([value, *rates], axis=1).astype(np.float32)

    half = np.sqrt(tubes.half**2 + (0.45 * grid.pitch) ** 2)
    thinner = tubes.half.prod(axis=1) / half.prod(axis=1)
    first, second = tubes.first / half[:, :1], tubes.second / half[:, 1:]
    # In the cross-section, scaled to a unit circle, the ray is the line q + z d: q is linear in x and y.
    square = np.maximum(first[:, 2] ** 2 + second[:, 2] ** 2, 1e-4)
    aside = (first * second[:, 2:] - second * first[:, 2:]) / square[:, None]
    nearest = -(first * first[:, 2:] + second * second[:, 2:]) / square[:, None]
    way = tubes.end - tubes.start
    growth = 2 * tubes.growth / (tubes.half[:, 0] + tubes.half[:, 1])
    along = (way + way[:, 2:] * nearest) * (growth / np.sum(way * way, axis=1))[:, None]
    size = np.stack([along[:, 0], along[:, 1], 1 - growth / 2], axis=1) / np.sqrt(square)[:, None]
    low, high = (
        form(*(-normal[:, :2] / normal[:, 2:]).T, point, point[:, 2] - tubes.start[:, 2])
        for point, normal in _planes(tubes)
    )
    return {
        "aside": form(aside[:, 0], aside[:, 1], tubes.start),
        "nearest": form(nearest[:, 0], nearest[:, 1], tubes.start),
        "size": form(size[:, 0], size[:, 1], tubes.start, size[:, 2]),
        "low": low,
        "high": high,
        "thinner": thinner.astype(np.float32),
    }


def _planes(tubes):
    """Returns a point and the normal of the planes where a ray enters and leaves each piece."""
    # A ray goes towards high z; pieces in the other direction are reversed.
    turned = (tubes.end[:, 2] < tubes.start[:, 2])[:, None]
    planes = []
    for point, other, normal, other_normal in (
        (tubes.start, tubes.end, tubes.start_normal, tubes.end_normal),
        (tubes.end, tubes.start, tubes.end_normal, tubes.start_normal),
    ):
        normal = np.where(turned, -other_normal, normal)
        normal[:, 2] = np.maximum(normal[:, 2], _LEAST_SLOPE)
        planes.append((np.where(turned, other, point), normal))
    return planes


def _paths(forms, window):
    """Returns the path through each piece for the rays of its window, (pieces, rows, columns)."""
    steps = np.arange(-window, window + 1, dtype=np.float32)

    def at(form):
        rows = form[:, :1] + form[:, 1:2] * steps
        return rows[:, :, None] + (form[:, 2:] * steps)[:, None, :]

    reach, aside = at(forms["size"]), at(forms["aside"])
    reach *= reach
    aside *= aside
    reach -= aside
    reach = np.sqrt(np.maximum(reach, 0, out=reach), out=reach)
    nearest = at(forms["nearest"])
    path = np.minimum(nearest + reach, at(forms["high"]))
    path -= np.maximum(nearest - reach, at(forms["low"]))
    path *= forms["thinner"][:, None, None]
    return np.maximum(path, 0, out=path)


def _inside(path, middle, window, size):
    """Returns the pixels with a path, as indices into the flat image, and their paths."""
    some = np.flatnonzero(path)
    piece, row, column = np.unravel_index(some, path.shape)
    value = path.ravel()[some]
    row = row + (middle[piece, 0] - window)
    column = column + (middle[piece, 1] - window)
    kept = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    return (row * size + column)[kept], value[kept]


def smooth(points: np.ndarray, number: int) -> np.ndarray:
    """Returns `number` points on a smooth curve through `points`, evenly spaced along the polyline."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    at = np.concatenate([[0], np.cumsum(steps)])
    even = np.linspace(0, at[-1], number)
    return curve(even, at, points)


def rounded(
    points: Sequence | np.ndarray, positions: Sequence, radii: Sequence, number: int, size: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the middle line and the radii of a tube with round ends.

    Args:
        points: (n, 3) positions the line passes smoothly, cm.
        positions: Where the radius is given: 0 at the start, 1 at the end.
        radii: Radius there, in units of `size`.
        number: Points of the line.
        size: Unit of the radii, cm.
    """
    line = smooth(np.array(points), number)
    way = np.linspace(0, 1, number)
    radius = size * curve(way, positions, radii)
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    from_end = np.minimum(way, 1 - way) * length / radius
    return line, radius * np.sqrt(1 - (1 - np.clip(from_end, 0.02, 1)) ** 2)
