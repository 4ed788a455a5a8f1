"""Slices of a volume as images: every plane whose pixels are as fine as the acquired ones."""

from collections.abc import Iterator

import numpy as np

from tfmisr.edge.levels import IntensityScale
from tfmisr.edge.volumes import Volume

MIN_SIDE = 32
_SQUARE = 1.1  # spacing along the slice axis over that in plane, up to which planes across the slices are as sharp
_LEAST_CONTENT = 0.02  # share of pixels above the volume's mean


def images(volume: Volume, scale: IntensityScale, step: int = 1) -> Iterator[tuple[str, np.ndarray]]:
    """Yields a name and the pixels of each slice, uint16 (height, width, 1), with `scale.max_val` as full scale.

    The acquired planes, and of an isotropic volume also those across them. Planes with less than 2 % above the mean of
    the volume, which show air, and planes with a side below 32 pixels are left out.

    Args:
        volume: The volume.
        scale: The values that are 0 and full scale; others are clipped.
        step: Take every `step`-th plane.
    """
    mean = float(volume.values.mean())
    for axis in axes(volume.grid.spacing):
        for index in range(step // 2, volume.grid.shape[axis], step):
            plane = np.take(volume.values, index, axis)
            if min(plane.shape) >= MIN_SIDE and np.mean(plane > mean) >= _LEAST_CONTENT:
                fractions = np.clip(scale.to_unit(plane), 0, 1)
                yield f"{axis}_{index:04d}", np.rint(fractions * scale.max_val).astype(np.uint16)[..., None]


def axes(spacing: tuple[float, float, float]) -> tuple[int, ...]:
    """Returns the axes across which planes are sharp: 0, and 1 and 2 where slices are no farther apart than pixels."""
    return (0, 1, 2) if spacing[0] <= _SQUARE * min(spacing[1:]) else (0,)
