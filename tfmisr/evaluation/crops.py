"""Selection of the crops of an image that a montage shows."""

import dataclasses

import numpy as np

# Squared errors of the center are capped at this quantile.
_CAP = 0.95


@dataclasses.dataclass(frozen=True)
class Crop:
    """A square of the HR image, in its pixels, and the reason of its selection."""

    top: int
    left: int
    size: int
    reason: str = ""

    def of(self, image: np.ndarray, scale: int = 1) -> np.ndarray:
        """Returns this part of an image that is `scale` times smaller than HR, as a view."""
        top, left, size = self.top // scale, self.left // scale, self.size // scale
        return image[top : top + size, left : left + size]


def choose_crops(squared_error: np.ndarray, size: int, step: int, count: int, method: str = "bicubic") -> list[Crop]:
    """Returns squares of large error, alternating between the full image and its center.

    The first has the largest mean squared error of the image without its border; in a radiograph it often contains
    burned-in letters. The second shows anatomy: within the central 62.5 % it has the most detail, the largest mean of
    the squared errors capped at their 95th percentile, so that texture dominates rather than a letter, wire or edge.
    A single square is of the second kind. Squares do not overlap; there are fewer where no position is left.

    Args:
        squared_error: Array (height, width).
        size: Side of the squares.
        step: Squares begin at multiples of this, the scale, so that they contain whole LR pixels.
        count: Number of squares.
        method: Name of the method whose error it is, for the squares' `reason`.
    """
    height, width = squared_error.shape
    border = max(2 * step, round(0.03 * min(height, width)))
    center = tuple(slice(n * 3 // 16, n - n * 3 // 16) for n in (height, width))
    capped = np.minimum(squared_error, np.quantile(squared_error[center], _CAP))
    criteria = (
        (_sums(squared_error, size, step), (border, border), f"largest error of {method}"),
        (_sums(capped, size, step), (height * 3 // 16, width * 3 // 16), "most detail within the center"),
    )
    crops: list[Crop] = []
    for i in range(count):
        sums, margins, reason = criteria[i % 2 if count > 1 else 1]
        free = _free(sums.shape, (height, width), margins, size, step, crops)
        if free.any():
            row, column = np.unravel_index(np.argmax(np.where(free, sums, -np.inf)), sums.shape)
            crops.append(Crop(int(row) * step, int(column) * step, size, reason))
    return crops


def _sums(values, size, step):
    """Returns the sum over the square that begins at each multiple of `step`."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    windows = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return windows[::step, ::step]


def _free(shape, sides, margins, size, step, crops):
    """Returns where a square may begin: inside the margins and without overlap with the other crops."""
    tops, lefts = (step * np.arange(n) for n in shape)
    # If the center is smaller than the square, the square is centered.
    margins = [min(m, (n - size) // 2 // step * step) for m, n in zip(margins, sides, strict=True)]
    rows = (tops >= margins[0]) & (tops <= sides[0] - size - margins[0])
    columns = (lefts >= margins[1]) & (lefts <= sides[1] - size - margins[1])
    free = rows[:, None] & columns
    for crop in crops:
        near = np.abs(tops - crop.top)[:, None] < size
        free &= ~(near & (np.abs(lefts - crop.left) < size))
    return free
