"""The fields of the card of a plane network that its runtime reads, and the check that a volume is within them (V-09).

A plane network refines a plane perpendicular to the slices, which cubic splines have interpolated along the slice axis;
it is stored as a model is (`tfmisr.edge.card`). Lengths along the slice axis are relative, so that one network serves
volumes of other spacings: `ratio` is the spacing of the slices over the new one, `fwhm` the full width at half maximum
of the slice profile over the spacing of the slices.
"""

import math
from collections.abc import Mapping

KIND = "through_plane"
PROFILES = ("gaussian", "rectangular")
_TOLERANCE = 0.005  # of a ratio: spacings of headers are rounded


def _is_range(value: list) -> bool:
    return len(value) == 2 and 0 < value[0] <= value[1] < math.inf


def _is_count(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _is_scope(value: object) -> bool:
    from tfmisr.edge.volumes import slice_scope  # only a file of this kind needs it

    return slice_scope.is_valid(value)


# Field to its validity check.
RUNTIME = {
    "kind": lambda v: v == KIND,
    "scale": lambda v: _is_count(v, 1) and v == 1,
    "channels": lambda v: _is_count(v, 1) and v == 1,
    "tile": lambda v: v is None or _is_count(v, 1),
    "max_tile": lambda v: v is None or _is_count(v, 1),
    "overlap": lambda v: _is_count(v, 0),
    "stride": lambda v: _is_count(v, 1) and v <= 8,
    "skip": lambda v: v in ("input", "none"),
    "shuffle": lambda v: _is_count(v, 1) and v == 1,
    "fine_scale": lambda v: _is_count(v, 1) and v <= 2**16,
    "gating_thresholds": lambda v: v is None or (len(v) == 2 and 0 <= v[0] < v[1] < math.inf),
    "profile": lambda v: bool(v) and all(kind in PROFILES for kind in v),
    "ratio_range": _is_range,
    "fwhm_range": _is_range,
    "spacing": lambda v: v is None or _is_range(v),
    "slices": lambda v: v is None or _is_scope(v),
    "weights_sha256": lambda v: len(v) == 64,
}


def mismatch(card: Mapping, ratio: float, profile: str, fwhm: float) -> str:
    """Returns in what a volume differs from those that a network was trained on; empty where it is within its ranges.

    Args:
        card: The card of a plane network.
        ratio: Spacing of the slices over the new spacing.
        profile: Kind of the slice profile, one of `PROFILES`.
        fwhm: Full width at half maximum of the profile over the spacing of the slices.
    """
    found = []
    if profile not in card["profile"]:
        found.append(f"slice profiles that are {' or '.join(card['profile'])}. Received: {profile}")
    if not _within(ratio, *card["ratio_range"]):
        found.append(f"slices {_range(*card['ratio_range'])} times the new spacing apart. Received: {ratio:.3g}")
    if not _within(fwhm, *card["fwhm_range"]):
        widths = _range(*card["fwhm_range"])
        found.append(f"slice profiles of {widths} times the spacing of the slices. Received: {fwhm:.3g}")
    return "; ".join(found)


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _within(value: float, low: float, high: float) -> bool:
    return low * (1 - _TOLERANCE) <= value <= high * (1 + _TOLERANCE)
