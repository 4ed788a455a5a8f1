"""Half-widths of new slices: result +- w, from the volume's own in-plane images (V-08).

In-plane images have the detail that thick slices lack, so they can be thickened along their rows and columns, by the
same profile and ratio, restored by the same network, and compared. The multiplier of the scale map is the quantile of
error / scale over the pixels of half of the images; on the other half the coverage is measured. This is split conformal
prediction (Lei et al., Distribution-Free Predictive Inference for Regression, JASA 2018) of the pixels of this volume
along its in-plane axes: a check of the method on one patient, without a guarantee for the slice axis, where anatomy,
noise and the profile may differ, or for another patient.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.edge.volumes import disagreement, planes, resampling, slice_profile
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.edge.volumes.volume import Volume

ALPHA = 0.1
_IMAGES = 24  # slices that are used, evenly spaced
_BLOCKS = 4  # of neighboring slices, in turn for calibration and for the measurement of the coverage
_FOREGROUND = 0.05  # of the full scale: air would make every coverage look good
_LEAST_PIXELS = 1000
_UNIT = planes.UnitScale(0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class OwnCalibration:
    """A multiplier of the scale map, and what it covers.

    Attributes:
        alpha: Fraction of the pixels that may lie outside of result +- w.
        multiplier: Of the scale map.
        coverage: Fraction of the foreground pixels of the other images that lie within.
        worst: The same of the image with the fewest.
        images: In-plane images that the multiplier was calibrated on, and that the coverage was measured on.
    """

    alpha: float
    multiplier: float
    coverage: float
    worst: float
    images: tuple[int, int]

    @property
    def statement(self) -> str:
        """What the half-widths are worth, in two sentences."""
        return (
            f"Half-widths w for {1 - self.alpha:.0%} of the voxels: multiplier {self.multiplier:.3g} of the scale map, "
            f"calibrated on {counted(self.images[0], 'in-plane image')} of this volume thickened as its slices are. On "
            f"{self.images[1]} others, {self.coverage:.1%} of the foreground pixels lay within result +- w (worst "
            f"image {self.worst:.1%}). Measured along the in-plane axes of this volume: along the slice axis fewer "
            "voxels may lie within, and there is no guarantee, neither for it nor for another patient."
        )


def half_widths(calibration: OwnCalibration, refined: list[Volume], base: Volume, full_scale: float) -> Volume:
    """Returns the half-width of each voxel in the unit of the volume.

    Args:
        calibration: Of the same volume and network.
        refined: Results of each orientation, of `tfmisr.edge.volumes.planes.upsample` with one of the planes.
        base: The cubic-spline interpolation on the same grid.
        full_scale: Difference of the values that the network saw as 1 and 0, in the unit of the volume.
    """
    size = disagreement.scale_map([each.values for each in refined], base.values, full_scale)
    size *= np.float32(calibration.multiplier)
    return Volume(size, base.grid, base.slice_thickness, base.modality)


def calibrate(
    volume: Volume,
    grid: VolumeGrid,
    predict: planes.Predict,
    profile: SliceProfile,
    scale: planes.Scale,
    alpha: float = ALPHA,
    progress: Callable[[float], None] | None = None,
) -> OwnCalibration:
    """Calibrates half-widths on the volume's own in-plane images.

    Args:
        volume: The acquired slices.
        grid: Grid of the new slices.
        predict: The network; see `tfmisr.edge.volumes.planes.upsample`.
        profile: Profile of the acquired slices.
        scale: The values that the network sees as 0 and 1.
        alpha: Fraction of the pixels that may lie outside.
        progress: Called with the fraction of the work that was done since the last call.

    Raises:
        InputError: `alpha` is no fraction, or the slices are too few, too small or too empty.
    """
    if not 0 < alpha < 1:
        raise InputError(f"expected alpha between 0 and 1. Received: {alpha:g}")
    ratio, width = volume.grid.spacing[0] / grid.spacing[0], profile.fwhm / volume.grid.spacing[0]
    chosen = np.unique(np.linspace(0, len(volume.values) - 1, _IMAGES).round().astype(int))
    images = scale.to_unit(volume.values[chosen])
    images += _missing_noise(images, profile.matrix(volume.grid, grid)[len(volume.values) // 2])
    fitted: list[np.ndarray] = []
    measured: list[np.ndarray] = []
    for axis in (1, 2):
        block = np.arange(len(chosen)) * _BLOCKS // max(len(chosen), 1)
        thin = _in_plane(images, volume.grid, axis)
        stack = _restored(thin, (ratio, width, profile.kind), predict)
        for number, ratios in zip(block, stack, strict=True):
            (measured if number % 2 else fitted).append(ratios)
        if progress:
            progress(0.5)
    pooled = np.concatenate(fitted) if fitted else np.zeros(0)
    _require_enough(pooled, measured)
    multiplier = float(np.quantile(pooled, 1 - alpha, method="higher"))
    inside = [(each <= multiplier).mean() for each in measured if len(each)]
    coverage = float((np.concatenate(measured) <= multiplier).mean())
    return OwnCalibration(alpha, multiplier, coverage, float(min(inside)), (len(fitted), len(measured)))


def _missing_noise(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns white noise that thick slices lack: an average with the weights w has |w| times the noise of thin ones.

    The noise of the slices is estimated by Immerkaer's filter (CVIU 1996), robustly, in the foreground.
    """
    rows = images[:, :-2] - 2 * images[:, 1:-1] + images[:, 2:]
    response = np.abs(rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:])
    inside = response[images[:, 1:-1, 1:-1] > _FOREGROUND]
    noise = float(np.median(inside)) / 0.6745 / 6 if len(inside) else 0.0
    missing = noise * math.sqrt(max(1 / float((weights**2).sum()) - 1, 0.0))
    return np.float32(missing) * np.random.default_rng(0).standard_normal(images.shape, np.float32)


def _restored(thin: Volume, slices: tuple[float, float, str], predict: planes.Predict) -> list[np.ndarray]:
    """Returns |error| / scale of the foreground pixels of in-plane images that were thickened along an axis."""
    ratio, width, kind = slices
    spacing = thin.grid.spacing[0]
    thick = slice_profile.thicken(thin, ratio * spacing, SliceProfile(kind, width * ratio * spacing))
    refined = planes.upsample(thick, thin.grid, predict, planes=("coronal",), scale=_UNIT)
    base = resampling.resample(thick, thin.grid)
    # Slices of the map are images here, which are no neighbors: each is measured alone.
    rows = _covered(thick.grid, thin.grid)
    found = []
    for number in range(thin.values.shape[1]):
        image = np.s_[:, number : number + 1]
        size = disagreement.scale_map([refined.values[image]], base.values[image], 1.0)
        error = np.abs(refined.values[image] - thin.values[image]) / size
        inside = thin.values[image] > _FOREGROUND
        found.append(error[rows][inside[rows]])
    return found


def _in_plane(images: np.ndarray, grid: VolumeGrid, axis: int) -> Volume:
    """Returns slices as a volume whose first axis is their rows or columns, and whose second counts them."""
    values = np.moveaxis(images, axis, 0)
    spacing = (grid.spacing[axis], 1.0, grid.spacing[3 - axis])
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    return Volume(np.ascontiguousarray(values), VolumeGrid(values.shape, spacing, (0.0, 0.0, 0.0), axes))


def _covered(thick: VolumeGrid, thin: VolumeGrid) -> slice:
    """Returns the rows of `thin` between the centers of the outermost slices of `thick`."""
    places = thick.slice_coordinates(thin)
    inside = np.flatnonzero((places >= 0) & (places <= thick.shape[0] - 1))
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _require_enough(pooled: np.ndarray, measured: list[np.ndarray]) -> None:
    least = min(len(pooled), sum(map(len, measured)))
    if least < _LEAST_PIXELS or not math.isfinite(float(pooled.max())):
        raise InputError(
            f"half-widths need in-plane images of {_LEAST_PIXELS:,} pixels above air, of several slices. Received: "
            f"{least:,}; leave --uncertainty out"
        )
