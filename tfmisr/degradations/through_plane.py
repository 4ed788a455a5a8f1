"""Thick slices: planes perpendicular to them, averaged over the slice profile and interpolated, along one axis (V-05).

An in-plane image of a volume shows what a plane with thin slices looks like. Along its rows it is averaged over slice
profiles at a larger spacing and interpolated to its own size by the cubic spline that through-plane networks start from
(`tfmisr.edge.volumes.resampling`), so the scale is 1. Ratio, profile and place of the slices are drawn for each patch,
so that one network serves volumes of different spacings.

Reference:
    Zhao et al., SMORE: A Self-supervised Anti-aliasing and Super-resolution Algorithm for MRI, IEEE TMI 2021;
    Remedios et al., Self-Supervised Super-Resolution for Anisotropic MR Images with and without Slice Gap, SASHIMI 2023
"""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.resampling import line_matrix
from tfmisr.edge.volumes.slice_profile import SliceProfile

_AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_SLICES = 5  # beyond a patch that its interpolation depends on: the weights of the spline fall by 0.27 a slice


@dataclasses.dataclass(frozen=True, repr=False)
class ThickSlices:
    """Averages along the rows over slice profiles, and interpolates back by a cubic spline.

    Args:
        ratio: Least and largest spacing of the slices, in pixels.
        fwhm: Least and largest full width at half maximum of the profile, as a fraction of the spacing of the slices.
        rectangular: Fraction of the patches with a rectangular profile; the others have a Gaussian one.
    """

    ratio: tuple[float, float]
    fwhm: tuple[float, float]
    rectangular: float
    scale: ClassVar[int] = 1
    random: ClassVar[bool] = True
    along_rows: ClassVar[bool] = True  # turned images are degraded along their other axis

    def __repr__(self):
        ranges = f"ratio={self.ratio[0]:g} to {self.ratio[1]:g}, fwhm={self.fwhm[0]:g} to {self.fwhm[1]:g}"
        return f"ThickSlices({ranges}, rectangular={self.rectangular:g})"

    @property
    def profiles(self) -> list[str]:
        """Kinds of the slice profiles that are drawn."""
        return [*(["gaussian"] if self.rectangular < 1 else []), *(["rectangular"] if self.rectangular else [])]

    @property
    def margin(self) -> int:
        """Pixels around a patch that it depends on."""
        return math.ceil(self.ratio[1] * (_SLICES + self.fwhm[1]))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        kind = "rectangular" if rng.random() < self.rectangular else "gaussian"
        ratio = math.exp(rng.uniform(*map(math.log, self.ratio)))
        profile = SliceProfile(kind, ratio * rng.uniform(*self.fwhm))
        matrix = thickened_line(image.shape[0], ratio, profile, rng.random())
        return np.tensordot(matrix.astype(np.float32), image, 1)


def thickened_line(length: int, ratio: float, profile: SliceProfile, place: float) -> np.ndarray:
    """Returns the matrix (length, length) that averages a line over slices and interpolates it to its own samples.

    Args:
        length: Samples of the line, of 1 mm each.
        ratio: Spacing of the slices in mm.
        profile: Slice profile; its width in mm.
        place: Of the slices, 0 to 1: that of the first one within its possible range.

    Raises:
        InputError: The line is shorter than two slices.
    """
    count = math.floor(length / ratio)
    if count < 2:
        raise InputError(f"expected images of at least {math.ceil(2 * ratio)} rows for slices of {ratio:.3g} pixels")
    start = (ratio - 1) / 2 + place * (length - count * ratio)  # the outer slices lie within the line
    thin = VolumeGrid((length, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), _AXES)
    thick = VolumeGrid((count, 1, 1), (ratio, 1.0, 1.0), (start, 0.0, 0.0), _AXES)
    return line_matrix(count, thick.slice_coordinates(thin)) @ profile.matrix(thick, thin)


def steps(
    scale: int,
    min_ratio: float = 2.0,
    max_ratio: float = 6.0,
    min_fwhm: float = 0.8,
    max_fwhm: float = 1.2,
    rectangular: float = 0.25,
) -> tuple:
    """Returns the averaging and interpolation as one step.

    Args:
        scale: 1.
        min_ratio: Least spacing of the slices, in pixels of the image.
        max_ratio: Largest spacing.
        min_fwhm: Least full width at half maximum of the slice profile over the spacing of the slices; below 1 there
            is a gap between slices.
        max_fwhm: Largest width.
        rectangular: Fraction of the patches with a rectangular profile, 0 to 1; the others have a Gaussian one.

    Raises:
        InputError: A parameter is out of range, or the scale is not 1.
    """
    if scale != 1:
        raise InputError(f"through_plane keeps the size of an image: expected scale 1. Received: {scale}")
    if not 1 < min_ratio <= max_ratio <= 16:
        raise InputError(
            f"through_plane needs 1 < min_ratio <= max_ratio <= 16. Received: {min_ratio:g} and {max_ratio:g}"
        )
    if not 0.1 <= min_fwhm <= max_fwhm <= 4:
        raise InputError(f"through_plane needs 0.1 <= min_fwhm <= max_fwhm <= 4. Received: {min_fwhm:g}, {max_fwhm:g}")
    if rectangular > 1:
        raise InputError(f"through_plane needs rectangular from 0 to 1. Received: {rectangular:g}")
    return (ThickSlices((min_ratio, max_ratio), (min_fwhm, max_fwhm), rectangular),)
