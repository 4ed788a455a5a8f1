"""Rotation of the slices of a volume in their own plane, by bicubic interpolation."""

import numpy as np

from tfmisr.edge.banded import cubic


class Rotation:
    """Rotates slices about their middle; what comes from outside of the slice is the nearest pixel of its border.

    Args:
        degrees: Angle by which the slice is turned, from the direction of the rows to that of the columns.
        shape: Rows and columns of a slice; rows and columns at equal spacing.
    """

    def __init__(self, degrees: float, shape: tuple[int, int]) -> None:
        self.degrees, self.shape = degrees, tuple(shape)

    @property
    def is_identity(self) -> bool:
        """Whether nothing is rotated."""
        return self.degrees == 0

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Returns the rotated slices of an array (slices, rows, columns): float32; the array itself at 0 degrees."""
        return values if self.is_identity else self._turned(values, np.deg2rad(self.degrees))

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Returns the slices rotated back."""
        return values if self.is_identity else self._turned(values, -np.deg2rad(self.degrees))

    def coverage(self) -> np.ndarray:
        """Returns 1 where a pixel was inside of the rotated slice, and 0 where not: float32 (rows, columns)."""
        if self.is_identity:
            return np.ones(self.shape, np.float32)
        y, x = self._sources(np.deg2rad(-self.degrees))
        inside = (y > -0.5) & (y < self.shape[0] - 0.5) & (x > -0.5) & (x < self.shape[1] - 0.5)
        return inside.astype(np.float32)

    def _sources(self, angle: float) -> tuple[np.ndarray, np.ndarray]:
        y, x = (np.arange(size) - (size - 1) / 2 for size in self.shape)
        y, x = np.meshgrid(y, x, indexing="ij")
        cosine, sine = np.cos(angle), np.sin(angle)
        return (
            cosine * y + sine * x + (self.shape[0] - 1) / 2,
            cosine * x - sine * y + (self.shape[1] - 1) / 2,
        )

    def _turned(self, values: np.ndarray, angle: float) -> np.ndarray:
        y, x = self._sources(angle)
        top, left = np.floor(y).astype(int) - 1, np.floor(x).astype(int) - 1
        out = np.zeros(values.shape, np.float32)
        for i in range(4):
            rows, down = np.clip(top + i, 0, self.shape[0] - 1), cubic(top + i - y)
            for j in range(4):
                columns, weight = (
                    np.clip(left + j, 0, self.shape[1] - 1),
                    (down * cubic(left + j - x)).astype(np.float32),
                )
                for slice_out, slice_in in zip(out, values, strict=True):
                    slice_out += weight * slice_in[rows, columns]
        return out
