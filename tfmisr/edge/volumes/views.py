"""How the planes of a volume are shown: axial, coronal and sagittal, in the radiological convention, square in mm.

Axial planes have the patient's right at the left and the front above; coronal and sagittal planes have the head above,
sagittal ones the front at the left. Planes of an oblique grid bear the name of the nearest patient axis.
"""

import dataclasses
import itertools

import numpy as np

from tfmisr.edge.volumes.grid import VolumeGrid

NAMES = ("sagittal", "coronal", "axial")  # of the planes across patient x, y, z
_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))  # of the directions -x, +x; -y, +y; -z, +z


@dataclasses.dataclass(frozen=True)
class View:
    """One of the three planes of a grid.

    Attributes:
        name: `axial`, `coronal` or `sagittal`.
        axis: Axis of the array across the plane.
        vertical: Axis of the array that is shown downwards, unless flipped.
        horizontal: Axis that is shown to the right, unless flipped.
        flips: Whether these two are flipped.
        spacing: mm of a pixel down and across.
        letters: Patient's directions at the left, right, upper and lower side: R, L, A, P, H or F.
    """

    name: str
    axis: int
    vertical: int
    horizontal: int
    flips: tuple[bool, bool]
    spacing: tuple[float, float]
    letters: tuple[str, str, str, str]

    def plane(self, values: np.ndarray, index: int) -> np.ndarray:
        """Returns the plane of an index as it is shown, (down, across), as a view."""
        plane = np.take(values, index, self.axis) if self.axis else values[index]
        if self.vertical > self.horizontal:
            plane = plane.T
        return plane[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]

    def size(self, shape: tuple[int, int, int]) -> tuple[float, float]:
        """Returns height and width of a plane in mm."""
        return shape[self.vertical] * self.spacing[0], shape[self.horizontal] * self.spacing[1]


def views(grid: VolumeGrid) -> dict[str, View]:
    """Returns the axial, coronal and sagittal planes of a grid by name, in this order."""
    cosines = np.abs(grid.directions)  # (array axis, patient axis)
    patient = max(itertools.permutations(range(3)), key=lambda order: sum(cosines[k, order[k]] for k in range(3)))
    found = {NAMES[patient[axis]]: _view(grid, patient, axis) for axis in range(3)}
    return {name: found[name] for name in NAMES[::-1]}


def _view(grid: VolumeGrid, patient: tuple[int, ...], axis: int) -> View:
    vertical, horizontal = sorted((k for k in range(3) if k != axis), key=lambda k: -patient[k])
    grows = [grid.directions[k][patient[k]] > 0 for k in range(3)]
    upwards = patient[vertical] == 2  # to the head; y grows to the back, which is shown below
    down, right = grows[vertical] != upwards, grows[horizontal]
    left, right_letter = _LETTERS[patient[horizontal]]
    sides = _LETTERS[patient[vertical]]
    above, below = (sides[1], sides[0]) if upwards else sides
    spacing = grid.spacing[vertical], grid.spacing[horizontal]
    flips = (not down, not right)
    return View(NAMES[patient[axis]], axis, vertical, horizontal, flips, spacing, (left, right_letter, above, below))
