"""The card of a through-plane network: which slices it was trained for, and how its runtime applies it (V-09)."""

import typing
from collections.abc import Iterator, Mapping

import numpy as np

from tfmisr.degradations import Degradation
from tfmisr.degradations.through_plane import ThickSlices
from tfmisr.edge import plane_card
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import slice_scope

if typing.TYPE_CHECKING:
    from tfmisr.data import Source

_MOST_SLICES = 256
_NOT_APPLICABLE = ("consistency",)  # `python -m tfmisr.volume` knows the profile and does it along the slice axis
_GEOMETRY = "planes perpendicular to the slices; height is the slice axis at the new spacing; the size does not change"
_INTENDED_USE = (
    "Research. Makes slices thinner in volumes of the kind that it was trained on (python -m tfmisr.volume --model). "
    "Not a medical device: not for diagnosis, and never in place of the acquired slices."
)
_LIMITS = (
    "What thick slices do not hold is guessed from the training volumes; fine structures may be missing, changed or "
    "invented.",
    "On volumes of another modality, body part, spacing, slice profile or noise than the training volumes it is "
    "untried.",
)
_LIMIT_OF_INT8 = "The network sees 256 levels of its input: for faint detail take float32."


def describe(card: Mapping, degradation: Degradation, source: "Source | None" = None) -> dict:
    """Returns the card of a network that refines planes.

    Args:
        card: The card that `tfmisr.export.cards.describe` made for the converted network.
        degradation: That of the run, with slices drawn from ranges of spacings and profiles.
        source: Images that the network was trained on; `None` where they are not known.

    Raises:
        InputError: The degradation draws no slices, or the network sees a whole plane at once.
    """
    step = next((step for step in degradation.steps if isinstance(step, ThickSlices)), None)
    if step is None:
        raise InputError(f"expected a run with --degradation through_plane. Received: {degradation.describe()}")
    fields = described(card, step.profiles, step.ratio, step.fwhm, getattr(source, "spacing_range", None))
    return fields | {"slices": slice_scope.describe(_slices(source)) if source else None}


def _slices(source: "Source") -> Iterator[np.ndarray]:
    """Yields training images, evenly spaced."""
    from tfmisr.data import pipeline

    cache = pipeline.cache_of(source, "train")
    for i in np.unique(np.linspace(0, len(cache) - 1, _MOST_SLICES).astype(int)):
        yield cache[i][..., 0].astype(np.float32) / np.float32(cache.max_vals[i])


def described(
    card: Mapping,
    profiles: list[str],
    ratios: tuple[float, float],
    widths: tuple[float, float],
    spacing: tuple[float, float] | None,
    stride: int = 1,
) -> dict:
    """Returns the card of a network for slices of these ranges; see `tfmisr.edge.plane_card`.

    Args:
        card: As of `describe`.
        profiles: Kinds of slice profiles.
        ratios: Least and largest spacing of the slices over the new spacing.
        widths: Least and largest full width at half maximum of the profile over the spacing of the slices.
        spacing: Least and largest pixel spacing of the training images in mm; `None` where they do not state it.
        stride: Height and width of what the network takes are multiples of it.

    Raises:
        InputError: The network sees a whole plane at once, takes color, or windows are no multiples of the stride.
    """
    if card["overlap"] is None:
        raise InputError("a through-plane network needs a limited receptive field; take another --model, such as plain")
    if card["channels"] != 1:
        raise InputError(f"a through-plane network takes gray images. Received: one for {card['channels']} channels")
    if card["tile"] and card["tile"] % stride:
        raise InputError(f"--tile must be a multiple of {stride}, the stride of the network. Received: {card['tile']}")
    kept = {key: value for key, value in card.items() if key not in _NOT_APPLICABLE}
    return kept | {
        "kind": plane_card.KIND,
        "skip": "input" if card["skip"] == "bicubic" else "none",
        "gating_thresholds": None,
        "stride": stride,
        "overlap": -(-card["overlap"] // stride) * stride,
        "profile": list(profiles),
        "ratio_range": list(ratios),
        "fwhm_range": list(widths),
        "spacing": list(spacing) if spacing else None,
        "slices": None,
        "input": "planes, (1, height, width, 1), interpolated along the height by cubic splines; 0 to 1",
        "output": _output(card),
        "geometry": _GEOMETRY,
        "intended_use": _INTENDED_USE,
        "limits": [*_LIMITS, *([_LIMIT_OF_INT8] if card["flavor"] in ("int8", "dynamic") else [])],
    }


def _output(card) -> str:
    text = "what is added to the input" if card["skip"] == "bicubic" else "the refined plane"
    if card["fine_scale"] > 1:
        text += f"; then the same {card['fine_scale']} times as large, to be taken where it is not saturated"
    return text
