"""How an evaluation makes thick slices of a thin volume: ratio, slice profile and gap (V-13)."""

import dataclasses

from tfmisr.edge import dicom
from tfmisr.edge.errors import InputError, check_name
from tfmisr.edge.levels import IntensityScale
from tfmisr.edge.volumes import SliceProfile, Volume, VolumeGrid, decoding
from tfmisr.edge.volumes.slice_profile import KINDS, thick_grid, thicken
from tfmisr.edge.volumes.source import Source


@dataclasses.dataclass(frozen=True)
class Thickening:
    """A distance between slices, as a ratio, and a slice profile.

    Args:
        ratio: Distance between thick slices over that of the thin ones, above 1; need not be an integer.
        kind: `gaussian` or `rectangular`.
        fwhm: Full width at half maximum in mm; `None`: the distance between thick slices less the gap.
        gap: mm between slices that no slice averages over; negative where they overlap.
    """

    ratio: float
    kind: str = "gaussian"
    fwhm: float | None = None
    gap: float = 0.0

    @classmethod
    def of(cls, ratio: float, profile: str, gap: float | None) -> "Thickening":
        """Returns what the flags `--ratio`, `--slice_profile` (such as `gaussian` or `gaussian:5mm`) and `--gap` say.

        Raises:
            InputError: A value is out of range, or both a width and a gap are given.
        """
        if not 1 < ratio <= 32:
            raise InputError(f"--ratio must be above 1 and at most 32. Received: {ratio:g}")
        if ":" not in profile:
            check_name("the slice profile", profile, list(KINDS))
            return cls(ratio, profile, None, gap or 0.0)
        if gap is not None:
            raise InputError(
                f"give the width of --slice_profile or --gap, not both. Received: {profile} and {gap:g} mm"
            )
        parsed = SliceProfile.parse(profile)
        return cls(ratio, parsed.kind, parsed.fwhm)

    def __str__(self):
        if self.fwhm is not None:
            return f"a {self.kind} profile of FWHM {self.fwhm:g} mm"
        gap = f" less {self.gap:g} mm of gap" if self.gap else ""
        return f"a {self.kind} profile of FWHM = distance between slices{gap}"

    def apply(self, thin: Volume) -> tuple[Volume, SliceProfile, VolumeGrid, slice]:
        """Returns the thick slices, their profile, the grid of the thin slices within them, and which these are.

        Raises:
            InputError: The volume is too small, or the gap is as long as the distance between slices.
        """
        profile, inside = self.apply_to_grid(thin.grid)
        thick = thicken(thin, self.ratio * thin.grid.spacing[0], profile)
        return thick, profile, part(thin.grid, inside), inside

    def apply_to_grid(self, thin: VolumeGrid) -> tuple[SliceProfile, slice]:
        """Returns the profile, and the thin slices within the thick ones; errors as of `apply`."""
        spacing = self.ratio * thin.spacing[0]
        fwhm = spacing - self.gap if self.fwhm is None else self.fwhm
        if not fwhm > 0:
            raise InputError(f"--gap must be below the distance between slices, {spacing:g} mm. Received: {self.gap:g}")
        return SliceProfile(self.kind, fwhm), within(thick_grid(thin, spacing), thin)


def within(thick: VolumeGrid, thin: VolumeGrid) -> slice:
    """Returns the thin slices whose centers lie between the outer faces of the thick ones."""
    places = thick.slice_coordinates(thin)
    found = [k for k, place in enumerate(places) if -0.5 - 1e-6 <= place <= thick.shape[0] - 0.5 + 1e-6]
    return slice(found[0], found[-1] + 1)


def part(grid: VolumeGrid, slices: slice) -> VolumeGrid:
    """Returns the grid of some consecutive slices."""
    shape = (slices.stop - slices.start, *grid.shape[1:])
    return VolumeGrid(shape, grid.spacing, tuple(map(float, grid.position(slices.start))), grid.directions)


def scale_of(thick: Volume, source: Source) -> IntensityScale:
    """Returns the scale that a file of the thick slices would have: that of the source is known from the truth.

    Args:
        thick: Slices made of the source.
        source: The thin slices.
    """
    limits = float(thick.values.min()), float(thick.values.max())
    if source.scale == IntensityScale(dicom.LOWEST_HU, dicom.CT_MAX_VAL):
        return source.scale
    thin = source.volume.values
    if source.scale == decoding.scale_of_floats((float(thin.min()), float(thin.max()))):
        return decoding.scale_of_floats(limits)
    return decoding.scale_of_steps(limits, abs(source.scale.slope), source.scale.intercept)
