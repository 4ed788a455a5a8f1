"""Detection at an unknown position: a scanning observer, and its rating with localization (LROC).

The template is moved over all positions of a search region; the largest response is the rating, its place the location
that the observer marks. A signal counts as found only where the mark is close to it. The area under the LROC curve is
then the probability that the rating of a window with the signal is the larger one *and* its mark is right: that of the
ROC curve if signals with a wrong mark are rated below all windows without a signal.

Gifford, Kinahan, Lartizien and King, Evaluation of multiclass model observers in PET LROC studies, IEEE Transactions on
Nuclear Science 2007; Popescu, Nonparametric ROC and LROC analysis, Medical Physics 34, 2007.
"""

import dataclasses
import math

import numpy as np
from scipy import signal

from tfmisr.edge.errors import InputError
from tfmisr.observers import masks
from tfmisr.observers.tasks import WINDOW, Task

LEAST_TOLERANCE = 3.0  # pixels, for signals smaller than twice that
MOST = 16  # pixels: half of the window is left for the template


@dataclasses.dataclass(frozen=True)
class Search:
    """Where signals lie and what counts as found.

    Attributes:
        radius: Largest distance, in pixels along each axis, of a signal from the middle of its window.
        tolerance: Largest distance, in pixels, of a right mark from the signal.
    """

    radius: int
    tolerance: float

    @classmethod
    def of(cls, task: Task, radius: int) -> "Search":
        """Returns the search of a task: a mark is right within half of the signal's size, at least three pixels.

        Raises:
            InputError: The task has two signals, or its signal is too large for the radius.
        """
        if not 1 <= radius <= MOST:
            raise InputError(f"search must be 1 to {MOST} pixels. Received: {radius}")
        if task.against:
            raise InputError(
                f"task {task.name}: a search needs one signal; {task.against} is another. Leave out search"
            )
        visible = np.abs(task.profile()) > 0.001  # what leaves the window would enter it at the other side
        rows, columns = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
        if min(rows[0], columns[0]) < radius or max(rows[-1], columns[-1]) >= WINDOW - radius:
            raise InputError(f"task {task.name}: the signal is too large for a search of {radius} pixels")
        return cls(radius, max(masks.extent(task.profile()) / 2, LEAST_TOLERANCE))

    def offsets(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Returns the offsets of signals from the middle of their windows, int `(count, 2)`, evenly distributed."""
        return rng.integers(-self.radius, self.radius + 1, (count, 2))

    def centered(self, windows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Returns the parts of windows around the signal, to train a template: a radius is cut off on each side."""
        side = windows.shape[1] - 2 * self.radius
        corners = self.radius + offsets
        return np.stack([w[y : y + side, x : x + side] for w, (y, x) in zip(windows, corners, strict=True)])

    def ratings(self, template: np.ndarray, windows: np.ndarray, noise: np.ndarray | float = 0.0) -> tuple:
        """Returns ratings `(count,)` and marks, as offsets `(count, 2)` from the middle of the window.

        Args:
            template: `(side - 2 * radius,) * 2`.
            windows: `(count, side, side)`.
            noise: Internal noise of each pixel, added before the search.
        """
        responses = signal.fftconvolve(windows + noise, template[None, ::-1, ::-1], mode="valid", axes=(1, 2))
        flat = responses.reshape(len(windows), -1)
        places = np.stack(np.unravel_index(flat.argmax(1), responses.shape[1:]), -1) - self.radius
        return flat.max(1), places

    def found(self, marks: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Returns for each mark whether it is close enough to the signal."""
        return np.hypot(*(marks - offsets).T) <= self.tolerance


def localized(ratings: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns ratings of windows with the signal, `-inf` where the mark is wrong, so that their AUC is that of LROC."""
    return np.where(found, ratings, -math.inf)
