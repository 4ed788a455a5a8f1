"""Where the new slices lie, which acquired slices they are made from, and how they are numbered (V-11)."""

import dataclasses

import numpy as np

from tfmisr.edge.derived.series.sources import Slices
from tfmisr.edge.volumes import VolumeGrid
from tfmisr.edge.volumes.slice_matrices import check_same_planes

_TOUCHING = 1e-3  # mm: slabs that only touch have no part in common


@dataclasses.dataclass(frozen=True)
class Place:
    """A new slice among the acquired ones.

    Attributes:
        index: Index of the slice in the volume.
        number: Instance Number (0020,0013), in the sense of the source's.
        position: Image Position (Patient) (0020,0032), mm.
        distance: Place along the slice axis, mm from the first acquired slice.
        nearest: Index of the nearest acquired slice.
        sources: Indices of the acquired slices whose profile covers a part of the new slice.
        location: Slice Location (0020,1041), `None` where the source's do not follow the positions.
        trigger_time: Trigger Time (0018,1060) in ms, linear between the acquired slices; `None` where one lacks it.
    """

    index: int
    number: int
    position: np.ndarray
    distance: float
    nearest: int
    sources: tuple[int, ...]
    location: float | None
    trigger_time: float | None


def places(slices: Slices, grid: VolumeGrid, width: float) -> list[Place]:
    """Returns the places of the slices of a new grid.

    Args:
        slices: The acquired slices.
        grid: Of the new volume; rows and columns are those of the source.
        width: Full width at half maximum of the slice profile of an acquired slice, mm.

    Raises:
        InputError: Rows, columns or directions of the new grid are not the source's.
    """
    check_same_planes(slices.grid, grid)
    distances = slices.grid.slice_coordinates(grid) * slices.grid.spacing[0]
    covering = overlapping(slices.distances, width, distances, grid.spacing[0])
    backwards, line = _runs_backwards(slices), _location_line(slices)
    times = _trigger_times(slices, distances)
    result = []
    for index, distance in enumerate(distances):
        result.append(
            Place(
                index,
                len(distances) - index if backwards else index + 1,
                grid.position(index),
                float(distance),
                int(np.argmin(np.abs(slices.distances - distance))),
                covering[index],
                None if line is None else float(np.polyval(line, distance)),
                None if times is None else float(times[index]),
            )
        )
    return result


def overlapping(old: np.ndarray, width: float, new: np.ndarray, thickness: float) -> list[tuple[int, ...]]:
    """Returns, for each new slice, the indices of the acquired ones that fall within its profile.

    An acquired slice does where its full width at half maximum and the new slice have a part in common. In a gap, where
    none does, the nearest slice on each side is named.

    Args:
        old: Places of the acquired slices, mm, ascending.
        width: Their full width at half maximum, mm.
        new: Places of the new slices, mm.
        thickness: Extent of a new slice along the axis, mm.
    """
    result = []
    for place in new:
        apart = np.abs(old - place)
        indices = np.flatnonzero(apart < (width + thickness) / 2 - _TOUCHING)
        if not indices.size:
            after = int(np.searchsorted(old, place))
            indices = np.unique(np.clip([after - 1, after], 0, len(old) - 1))
        result.append(tuple(map(int, indices)))
    return result


def _runs_backwards(slices: Slices) -> bool:
    """Whether Instance Number, or the number of the frame, decreases with the slice index."""
    numbers = [item.frame or item.header.get("InstanceNumber") for item in slices.items]
    if any(number in (None, "") for number in numbers) or len(numbers) < 2:
        return False
    index = np.arange(len(numbers))
    return bool(np.dot(np.array(numbers, float), index - index.mean()) < 0)


def _location_line(slices: Slices) -> np.ndarray | None:
    """Returns slope and offset of Slice Location over the place of a slice, `None` where it is no line."""
    locations = [header.get("SliceLocation") for header in slices.headers]
    if slices.is_enhanced or any(location in (None, "") for location in locations) or len(locations) < 2:
        return None
    values = np.array(locations, float)
    line = np.polyfit(slices.distances, values, 1)
    error = np.abs(np.polyval(line, slices.distances) - values).max()
    return line if error <= 0.01 * slices.grid.spacing[0] + 1e-3 else None


def _trigger_times(slices: Slices, distances: np.ndarray) -> np.ndarray | None:
    """Returns Trigger Time at the places of the new slices, `None` where an acquired slice lacks it."""
    values = [header.get("TriggerTime") for header in slices.headers]
    if slices.is_enhanced or any(value is None or value == "" for value in values):
        return None
    return np.interp(distances, slices.distances, np.array(values, float))
