"""Estimates the width of an unknown slice profile by comparing spectra along and across the slices (V-03).

Where anatomy has no preferred direction, lines of pixels in plane, thickened by the right profile at the distance of
the slices, have the spectrum of the lines along the slices: aliasing and the limited length included, as both are made
of the same number of samples. Of Gaussian profiles the one is chosen whose predicted spectrum has the shape of the
measured one, by least squares of the logarithms up to a constant factor. Anatomy does have preferred directions, and
noise is not averaged as the object is, so the error is some ten percent (`docs/volumes.md` has what was measured).

Reference:
    Han et al., ESPRESO: An algorithm to estimate the slice profile of a single magnetic resonance image, Magn. Reson.
    Imaging 2023, learns the profile adversarially from the same comparison of patches; Welch 1967 (averaged spectra)
"""

import numpy as np

from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.edge.volumes.volume import Volume

_WIDTHS = np.geomspace(0.25, 3.0, 60)  # over the distance of the slices
_FEWEST = 8  # thick samples of a line
_LOWEST = 0.1  # cycles per thick sample: below, anatomy in other directions differs most
_AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
_MOST_SLICES = 24
_MOST_LINES = 20_000
_TOO_WIDE = 1.5  # assumed over estimated width: the estimate is up to a quarter too small without gaps


def estimate_fwhm(volume: Volume) -> float | None:
    """Returns the full width at half maximum of a Gaussian profile in mm.

    Args:
        volume: The acquired slices.

    Returns:
        `None` where the volume has too few slices or pixels, or where no width between 0.25 and 3 times the distance
        of the slices fits best.
    """
    grid = volume.grid
    lines = [_lines_in_plane(volume, axis) for axis in (1, 2)]
    count = min(
        [grid.shape[0], *(int(len(each) * grid.spacing[axis + 1] / grid.spacing[0]) for axis, each in enumerate(lines))]
    )
    if count < _FEWEST:
        return None
    through = volume.values.reshape(grid.shape[0], -1)
    through = through[(grid.shape[0] - count) // 2 :][:count, :: -(-through.shape[1] // _MOST_LINES)]
    measured = _spectrum(through)
    used = np.fft.rfftfreq(count) >= _LOWEST
    costs = [_cost(measured, _predicted(lines, grid, count, width), used) for width in _WIDTHS]
    best = int(np.argmin(costs))
    if not np.isfinite(costs).all() or best in (0, len(_WIDTHS) - 1):
        return None
    return float(_WIDTHS[best] * grid.spacing[0])


def remark(volume: Volume, profile: SliceProfile) -> str:
    """Returns a warning where a profile is much wider than the spectra suggest; empty otherwise.

    Too wide a profile takes back more averaging than there was: the result is too sharp, and its errors are larger than
    those of an interpolation.
    """
    fwhm = estimate_fwhm(volume)
    if fwhm is None or profile.fwhm <= _TOO_WIDE * fwhm:
        return ""
    return (
        f"the spectra suggest slices about {fwhm:.2g} mm thick, the slice profile is {profile}; where that is too "
        "wide, the result is sharpened too much: see --slice_profile"
    )


def _lines_in_plane(volume: Volume, axis: int) -> np.ndarray:
    """Returns lines along an in-plane axis: (pixels, lines)."""
    chosen = np.unique(np.linspace(0, len(volume.values) - 1, _MOST_SLICES).round().astype(int))
    values = np.moveaxis(volume.values[chosen], axis, 0)
    values = values.reshape(len(values), -1)
    return values[:, :: -(-values.shape[1] // _MOST_LINES)]


def _predicted(lines: list[np.ndarray], grid: VolumeGrid, count: int, width: float) -> np.ndarray:
    """Returns the mean spectrum of in-plane lines, thickened by a profile of this width."""
    profile = SliceProfile("gaussian", width * grid.spacing[0])
    found = []
    for axis, each in enumerate(lines, start=1):
        pixel = grid.spacing[axis]
        start = (len(each) * pixel - count * grid.spacing[0]) / 2 + (grid.spacing[0] - pixel) / 2
        thick = VolumeGrid((count, 1, 1), (grid.spacing[0], 1.0, 1.0), (0.0, 0.0, start), _AXES)
        fine = VolumeGrid((len(each), 1, 1), (pixel, 1.0, 1.0), (0.0, 0.0, 0.0), _AXES)
        found.append(_spectrum(profile.matrix(thick, fine).astype(np.float32) @ each))
    return np.asarray(np.mean(found, axis=0))


def _spectrum(lines: np.ndarray) -> np.ndarray:
    """Returns the mean power spectrum of the columns, with their means removed and a Hann window."""
    window = np.hanning(len(lines) + 2)[1:-1, None].astype(np.float32)
    centered = (lines - lines.mean(axis=0, keepdims=True)) * window
    return np.asarray(np.mean(np.abs(np.fft.rfft(centered, axis=0)) ** 2, axis=1, dtype=np.float64))


def _cost(measured: np.ndarray, predicted: np.ndarray, used: np.ndarray) -> float:
    if min(measured[used].min(), predicted[used].min()) <= 0:
        return np.inf
    difference = np.log(measured[used]) - np.log(predicted[used])
    return float(np.var(difference))
