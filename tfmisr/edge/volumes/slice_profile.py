"""Slice profiles: how a thick slice averages the object along the slice axis, as a matrix from thin to thick slices.

The slice sensitivity profile of CT and the excitation profile of two-dimensional MR are described by their full width
at half maximum (FWHM), which DICOM calls Slice Thickness (0018,0050): mm, and independent of the distance between the
slices. A Gaussian is the usual model of MR excitation and of spiral CT, a rectangle that of sums of thin CT slices.

Reference:
    Zhao et al., SMORE, IEEE TMI 2021, and Remedios et al., ECLARE, 2024, who degrade in-plane lines by such a profile;
    Han et al., ESPRESO, Magn. Reson. Imaging 2023 (profiles of MR)
"""

import dataclasses
import math
import re

import numpy as np

from tfmisr.edge.errors import InputError, check_name
from tfmisr.edge.volumes.grid import VolumeGrid, triple
from tfmisr.edge.volumes.slice_matrices import apply, check_same_planes
from tfmisr.edge.volumes.volume import Volume

KINDS = ("gaussian", "rectangular")
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
_LEAST_WEIGHT = 1e-7  # of a slice's weights, whose sum is 1: smaller ones only widen the band of the matrix
_TEXT = re.compile(r"([a-z]+):([0-9.]+(?:e-?[0-9]+)?)(?: ?mm)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class SliceProfile:
    """The weight of the object's values in a slice, by their distance from the middle of the slice.

    Args:
        kind: `gaussian` or `rectangular`.
        fwhm: Full width at half maximum in mm.

    Raises:
        InputError: Another kind, or a width that is not positive.
    """

    kind: str
    fwhm: float

    def __post_init__(self) -> None:
        check_name("the slice profile", self.kind, list(KINDS))
        if not 0 < self.fwhm < math.inf:
            raise InputError(f"expected a slice profile wider than 0 mm. Received: {self.fwhm:g} mm")

    @classmethod
    def parse(cls, text: str) -> "SliceProfile":
        """Returns the profile of a text such as `gaussian:5mm` or `rectangular:2.5`.

        Raises:
            InputError: The text is of another form.
        """
        match = _TEXT.fullmatch(text.strip())
        try:
            width = float(match[2]) if match else math.nan
        except ValueError:
            width = math.nan
        if match is None or math.isnan(width):
            raise InputError(f"expected a slice profile such as gaussian:5mm or rectangular:2.5mm. Received: {text}")
        return cls(match[1].lower(), width)

    def __str__(self) -> str:
        return f"{self.kind}:{self.fwhm:.4g}mm"

    def integral(self, distance: np.ndarray) -> np.ndarray:
        """Returns the integral of the profile from minus infinity to `distance` in mm, from 0 to 1."""
        if self.kind == "rectangular":
            return np.clip(distance / self.fwhm + 0.5, 0.0, 1.0)
        scaled = np.asarray(distance) * (FWHM_PER_SIGMA / self.fwhm / math.sqrt(2))
        return 0.5 + 0.5 * np.vectorize(math.erf, otypes=[float])(scaled)

    def matrix(self, thick: VolumeGrid, thin: VolumeGrid) -> np.ndarray:
        """Returns the matrix (thick slices, thin slices) of averaging over the profile.

        A weight is the integral of the profile over the thin slice; where the profile extends beyond the thin
        slices, the weights inside are scaled to the sum of 1.

        Args:
            thick: Grid of the slices that average.
            thin: Grid of the slices averaged over; both differ only along the slice axis.

        Returns:
            float64; banded, with zeros beside the band.

        Raises:
            InputError: The grids do not fit, or a thick slice lies outside of the thin ones.
        """
        check_same_planes(thick, thin)
        centers = thin.slice_coordinates(thick)[:, None]
        edges = np.arange(thin.shape[0] + 1) - 0.5
        weights = np.diff(self.integral((edges - centers) * thin.spacing[0]), axis=1)
        weights[weights < _LEAST_WEIGHT] = 0.0
        total = weights.sum(axis=1, keepdims=True)
        if total.min() <= 0:
            raise InputError(
                f"expected slices over which the profile {self} averages. Received: a slice at {thick.spacing[0]:g} mm "
                f"spacing outside of the {thin.shape[0]} slices at {thin.spacing[0]:g} mm"
            )
        return weights / total

    def transfer(self, frequency: np.ndarray) -> np.ndarray:
        """Returns the modulation transfer function at frequencies in cycles per mm."""
        if self.kind == "rectangular":
            return np.sinc(np.asarray(frequency) * self.fwhm)
        return np.exp(-2 * (math.pi * np.asarray(frequency) * self.fwhm / FWHM_PER_SIGMA) ** 2)


def thick_grid(thin: VolumeGrid, spacing: float) -> VolumeGrid:
    """Returns the grid of as many slices at `spacing` mm as fit wholly within a thin grid, in its middle."""
    count = math.floor(thin.extent / spacing + 1e-6)
    if count < 2:
        raise InputError(f"expected at least two slices of {spacing:g} mm. Received: a volume of {thin.extent:g} mm")
    shift = (thin.extent - thin.spacing[0] - (count - 1) * spacing) / 2
    origin = np.asarray(thin.origin) + shift * np.asarray(thin.directions[0])
    shape, spacings = (count, *thin.shape[1:]), (float(spacing), *thin.spacing[1:])
    return VolumeGrid(shape, spacings, triple(origin), thin.directions)


def thicken(volume: Volume, spacing: float, profile: SliceProfile) -> Volume:
    """Returns the volume as an acquisition with thick slices would show it: averaged over the profile and sampled.

    Args:
        volume: Thin slices.
        spacing: Distance between the thick slices in mm, of any ratio to that of the thin ones.
        profile: The profile of the thick slices; one wider than `spacing` overlaps, a narrower one leaves gaps.

    Returns:
        As many thick slices as fit wholly within the volume; neither rounded nor with noise added.
    """
    grid = thick_grid(volume.grid, spacing)
    values = apply(profile.matrix(grid, volume.grid), volume.values)
    return Volume(values, grid, profile.fwhm, volume.modality)


def known_profile(volume: Volume) -> tuple[SliceProfile, str] | None:
    """Returns the Gaussian profile of the volume's Slice Thickness and the reason as text; `None` where unknown."""
    if not volume.slice_thickness or not volume.slice_thickness > 0:
        return None
    return SliceProfile("gaussian", volume.slice_thickness), "its width is the Slice Thickness"
