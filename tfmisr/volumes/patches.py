"""Patches of a volume's own slices for training, and the slices that are held out for the self-check."""

import dataclasses

import numpy as np

from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.planes import Scale
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.edge.volumes.volume import Volume
from tfmisr.volumes.line_pairs import LinePairs, line_pairs

_FOREGROUND = 0.1  # of the range up to the 99th percentile: above air and its noise
_ANYWHERE = 0.1  # of the patches, so that the background is learned too
_MOST_CENTERS = 2_000_000
_HELD_OUT = 10  # one of so many slices, at most
_MOST_HELD_OUT = 8


def held_out(count: int) -> np.ndarray:
    """Returns the indices of slices that are not trained on, evenly spaced: a tenth of them, 1 to 8."""
    number = min(max(count // _HELD_OUT, 1), _MOST_HELD_OUT)
    return np.unique(((np.arange(number) + 0.5) * count / number).astype(int))


def foreground(values: np.ndarray) -> np.ndarray:
    """Returns where values are above air: a mask; all of it where that would be nothing."""
    low = float(values.min())
    mask = values > low + _FOREGROUND * (float(np.percentile(values, 99)) - low)
    return mask if mask.any() else values > low if (values > low).any() else np.ones_like(mask)


@dataclasses.dataclass
class OwnSlices:
    """The slices of a volume as a source of training pairs.

    Args:
        volume: The acquired slices.
        grid: Grid of the new slices.
        profile: Profile of the acquired slices.
        scale: The values that the network sees as 0 and 1.

    Attributes:
        lines: Pairs along the rows axis (1) and the columns axis (2) of the volume.
        checked: Indices of the slices that are held out.

    Raises:
        InputError: The slices are too small to train on.
    """

    volume: Volume
    grid: VolumeGrid
    profile: SliceProfile
    scale: Scale
    lines: dict[int, LinePairs] = dataclasses.field(init=False)
    checked: np.ndarray = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        own = self.volume.grid
        self.lines = {
            axis: line_pairs(own.shape[axis], own.spacing[axis], own.spacing[0], self.grid.spacing[0], self.profile)
            for axis in (1, 2)
        }
        self.checked = held_out(own.shape[0])
        self._trained = np.setdiff1d(np.arange(own.shape[0]), self.checked)
        self._centers = self._foreground_centers()

    def _foreground_centers(self):
        """Returns (slice, row, column) of foreground voxels, of evenly spaced ones where there are many."""
        mask = foreground(self.volume.values)
        mask[self.checked] = False
        if not mask.any():
            mask[self._trained] = True
        flat = np.flatnonzero(mask)
        flat = flat[:: -(-len(flat) // _MOST_CENTERS)]
        return np.stack(np.unravel_index(flat, mask.shape), axis=1).astype(np.int32)

    def batch(self, rng: np.random.Generator, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns random patches: interpolated and sharp, float32 (count, height, width, 1).

        Height and width are `side`, or the largest even number that the slices have.

        Patches lie on the foreground, are degraded along either in-plane axis, and flipped along both.
        """
        height = min(side, *(len(lines.target) for lines in self.lines.values())) // 2 * 2
        width = min(side, *self.volume.grid.shape[1:]) // 2 * 2
        degraded = np.empty((count, height, width, 1), np.float32)
        sharp = np.empty_like(degraded)
        for index in range(count):
            degraded[index, ..., 0], sharp[index, ..., 0] = self._patch(rng, height, width)
        return degraded, sharp

    def _patch(self, rng, height, width):
        number, *place = self._centers[rng.integers(len(self._centers))]
        if rng.random() < _ANYWHERE:
            number = rng.choice(self._trained)
            place = [rng.integers(size) for size in self.volume.grid.shape[1:]]
        axis = int(rng.integers(1, 3))
        lines, image = self.lines[axis], self._turned(int(number), axis)
        along, across = place if axis == 1 else place[::-1]
        top = _start(lines.sample_of(int(along)), height, len(lines.target), rng)
        left = _start(int(across), width, image.shape[1], rng)
        strip = self.scale.to_unit(image[:, left : left + width])
        pair = [matrix[top : top + height] @ strip for matrix in (lines.degraded, lines.target)]
        step = tuple(1 - 2 * rng.integers(0, 2, 2))
        return [patch[:: step[0], :: step[1]] for patch in pair]

    def _turned(self, number, axis):
        image = self.volume.values[number]
        return image if axis == 1 else image.T

    def check_pairs(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, LinePairs]]:
        """Returns, for both axes, the held-out slices: thickened, interpolated and sharp, with their matrices.

        Arrays are float32 (slices, samples, width) in the unit of the scale.
        """
        found = []
        for axis, lines in self.lines.items():
            images = self.scale.to_unit(np.stack([self._turned(int(number), axis) for number in self.checked]))
            made = [np.matmul(matrix, images) for matrix in (lines.thick, lines.degraded, lines.target)]
            found.append((*made, lines))
        return found


def _start(center, size, length, rng):
    """Returns the first index of a window around a center, moved at random by at most an eighth of its size."""
    return int(np.clip(center - size // 2 + rng.integers(-(size // 8), size // 8 + 1), 0, length - size))
