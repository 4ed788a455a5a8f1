"""Holds the half-widths of the frames of one file until they are written."""

import contextlib
import tempfile
import typing
from collections.abc import Iterator

import numpy as np

from tfmisr.edge.files import add_path_to_errors


class HalfWidthFrames:
    """The half-widths of the frames of a file: one is held in memory, several are in a temporary file.

    Attributes:
        full: Largest range of the values of a frame, in the unit of the result's values.
    """

    def __init__(self) -> None:
        self.full, self._total, self._count = 0.0, 0.0, 0
        self._first: np.ndarray | None = None
        self._file: typing.BinaryIO | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def mean(self) -> float:
        """Mean over all frames, in the unit of the result's values."""
        return self._total / self._count

    def append(self, half_width: np.ndarray, full: float, slope: float) -> None:
        """Adds a frame.

        Args:
            half_width: float32 array (height, width, 1), the same shape for all frames, in stored levels.
            full: Range of the frame's values, in the unit of the result's values.
            slope: How many of these units a stored level is.
        """
        if self._first is not None and self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._write(self._first)
        if self._file is None:
            self._first = half_width
        else:
            self._write(half_width)
        self._count, self.full = self._count + 1, max(full, self.full)
        self._total += slope * float(half_width.mean(dtype=np.float64))

    def _write(self, half_width):
        # `ndarray.tofile` does not say why it fails, so that a full disk would not be told from a fault of code.
        with add_path_to_errors(tempfile.gettempdir()):
            self._file.write(np.ascontiguousarray(half_width).data)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.array()[..., np.newaxis])

    def array(self) -> np.ndarray:
        """Returns an array (frames, height, width); of several frames it is mapped from the file."""
        shape = (self._count, *self._first.shape[:2])
        if self._file is None:
            return self._first[np.newaxis, ..., 0]
        with add_path_to_errors(tempfile.gettempdir()):
            self._file.flush()
        return np.memmap(self._file, np.float32, "r", shape=shape)

    def close(self) -> None:
        """Removes the temporary file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # writes what is left, which nothing needs; the disk may be full
                self._file.close()
