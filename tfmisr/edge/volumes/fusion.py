"""Fusion of what a network adds in several planes: the mean, or the Fourier coefficient of the largest magnitude.

Reference:
    Delbracio and Sapiro, Removing Camera Shake via Weighted Fourier Burst Accumulation, IEEE TIP 2015; Zhao et al.,
    SMORE, IEEE TMI 2021, take its limit, the largest magnitude: each plane restores the frequencies along its own axes
"""

from collections.abc import Callable, Iterable

import numpy as np

from tfmisr.edge.volumes.rotation import Rotation
from tfmisr.edge.volumes.slice_matrices import row_slabs

FUSIONS = ("mean", "fourier")
Base = Callable[[slice], np.ndarray]


def copies(fusion: str, rotations: int) -> int:
    """Returns how many float32 arrays of the result's size a fusion holds at once."""
    return {"mean": 1 + (rotations > 1), "fourier": 3}[fusion]


def make(fusion: str, shape: tuple[int, int, int], base: Base, gain: float) -> "MeanFusion | FourierFusion":
    """Returns a fusion.

    Args:
        fusion: One of `FUSIONS`.
        shape: Slices, rows and columns of the result.
        base: Function of a range of rows, that returns the interpolation there.
        gain: Unit of the residuals.
    """
    return FourierFusion(shape, base, gain) if fusion == "fourier" else MeanFusion(shape, base, gain)


class MeanFusion:
    """Averages over the planes, at each voxel over those that cover it; see `make`."""

    def __init__(self, shape: tuple[int, int, int], base: Base, gain: float) -> None:
        self.base, self.gain = base, gain
        self.total = np.zeros(shape, np.float32)
        self.weight = np.zeros(shape[1:], np.float32)

    def add(self, slabs: Iterable[tuple[tuple, np.ndarray]], turn: Rotation) -> None:
        """Adds one plane's residual.

        Args:
            slabs: (index of the volume, residual there).
            turn: The rotation at which the residual was computed.
        """
        coverage = turn.coverage()
        self.weight += coverage
        if turn.is_identity:
            for index, slab in slabs:
                self.total[index] += slab
            return
        for total, residual in zip(self.total, _whole(slabs, self.total.shape), strict=True):
            total += coverage * turn.backward(residual[None])[0]

    def result(self) -> np.ndarray:
        """Returns base + gain * mean, in the memory of the sum."""
        for rows in row_slabs(self.total.shape[1]):
            self.total[:, rows] *= np.float32(self.gain) / self.weight[rows]
            self.total[:, rows] += self.base(rows)
        return self.total


class FourierFusion:
    """Takes each Fourier coefficient from the plane whose volume has the largest magnitude there; see `make`."""

    def __init__(self, shape: tuple[int, int, int], base: Base, gain: float) -> None:
        self.shape, self.base, self.gain = shape, base, gain
        self.best: np.ndarray | None = None

    def add(self, slabs: Iterable[tuple[tuple, np.ndarray]], turn: Rotation) -> None:
        """As of `MeanFusion`; a pixel that the rotated slice does not cover has the residual 0."""
        whole = _whole(slabs, self.shape)
        if not turn.is_identity:
            coverage = turn.coverage()
            for residual in whole:
                residual[:] = coverage * turn.backward(residual[None])[0]
        for rows in row_slabs(whole.shape[1]):
            whole[:, rows] = self.base(rows) + np.float32(self.gain) * whole[:, rows]
        spectrum = _spectrum(whole)
        del whole
        if self.best is None:
            self.best = spectrum
            return
        for best, other in zip(self.best, spectrum, strict=True):
            larger = np.abs(other) > np.abs(best)
            best[larger] = other[larger]

    def result(self) -> np.ndarray:
        """Returns the volume of the chosen coefficients."""
        if self.best is None:
            raise ValueError("no plane was added")
        return _inverse(self.best, self.shape)


def _whole(slabs: Iterable[tuple[tuple, np.ndarray]], shape: tuple[int, int, int]) -> np.ndarray:
    whole = np.empty(shape, np.float32)
    for index, slab in slabs:
        whole[index] = slab
    return whole


def _spectrum(values: np.ndarray) -> np.ndarray:
    """Returns the half spectrum, complex64; slice by slice, so that no copy in double precision is made."""
    spectrum = np.empty((*values.shape[:2], values.shape[2] // 2 + 1), np.complex64)
    for plane, out in zip(values, spectrum, strict=True):
        out[:] = np.fft.rfft2(plane)
    for row in range(values.shape[1]):
        spectrum[:, row] = np.fft.fft(spectrum[:, row], axis=0)
    return spectrum


def _inverse(spectrum: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    for row in range(shape[1]):
        spectrum[:, row] = np.fft.ifft(spectrum[:, row], axis=0)
    out = np.empty(shape, np.float32)
    for plane, values in zip(spectrum, out, strict=True):
        values[:] = np.fft.irfft2(plane, s=shape[1:])
    return out
