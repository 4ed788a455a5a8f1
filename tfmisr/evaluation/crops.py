"""Which parts of an image a montage shows enlarged."""

import dataclasses

import numpy as np

# Of the center's squared errors: what is larger counts no more than this.
_CAP = 0.95


@dataclasses.dataclass(frozen=True)
class Crop:
    """A square of the HR image, in its pixels, and why it was chosen."""

    top: int
    left: int
    size: int
    reason: str = ""

    def of(self, image: np.ndarray, shrunk: int = 1) -> np.ndarray:
        """Returns this part of an image that is `shrunk` times smaller than HR, as a view."""
        top, left, size = self.top // shrunk, self.left // shrunk, self.size // shrunk
        return image[top : top + size, left : left + size]


def choose_crops(squared_error: np.ndarray, size: int, step: int, count: int, method: str = "bicubic") -> list[Crop]:
    """Returns squares worth a look, one after the other.

    The first has the largest mean squared error of the whole image but its border; in a radiograph it often holds
    burned-in letters. The second is for the anatomy: within the central 62.5 % it has the most detail, the largest
    mean of squared errors of which none counts more than the 95th percentile, so that texture decides and no letter,
    wire or edge. And so in turn; a single one is of the second kind. Squares do not overlap; where none is left
    there are fewer.

    Args:
        squared_error: Array (height, width).
        size: Side of the squares.
        step: Squares begin at multiples of this, so that they hold whole LR pixels.
        count: Number of squares.
        method: Whose error it is, for the squares' `reason`.
    """
    height, width = squared_error.shape
    border = max(2 * step, round(0.03 * min(height, width)))
    centre = tuple(slice(n * 3 // 16, n - n * 3 // 16) for n in (height, width))
    capped = np.minimum(squared_error, np.quantile(squared_error[centre], _CAP))
    kinds = (
        (_sums(squared_error, size, step), (border, border), f"largest error of {method}"),
        (_sums(capped, size, step), (height * 3 // 16, width * 3 // 16), "most detail within the center"),
    )
    chosen: list[Crop] = []
    for i in range(count):
        sums, margins, reason = kinds[i % 2 if count > 1 else 1]
        free = _free(sums.shape, (height, width), margins, size, step, chosen)
        if free.any():
            row, column = np.unravel_index(np.argmax(np.where(free, sums, -np.inf)), sums.shape)
            chosen.append(Crop(int(row) * step, int(column) * step, size, reason))
    return chosen


def _sums(values, size, step):
    """Returns the sum over the square that begins at each multiple of `step`."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    windows = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return windows[::step, ::step]


def _free(shape, sides, margins, size, step, chosen):
    """Returns where a square may begin: inside the margins and apart from those chosen already."""
    tops, lefts = (step * np.arange(n) for n in shape)
    # A central part smaller than the square still has a middle.
    margins = [min(m, (n - size) // 2 // step * step) for m, n in zip(margins, sides, strict=True)]
    rows = (tops >= margins[0]) & (tops <= sides[0] - size - margins[0])
    columns = (lefts >= margins[1]) & (lefts <= sides[1] - size - margins[1])
    free = rows[:, None] & columns
    for crop in chosen:
        near = np.abs(tops - crop.top)[:, None] < size
        free &= ~(near & (np.abs(lefts - crop.left) < size))
    return free
