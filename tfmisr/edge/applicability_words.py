"""What deviates in an image, in words that need no knowledge of the statistics."""

import numpy as np

from tfmisr.edge import applicability_field, applicability_statistics
from tfmisr.edge.applicability_field import LAYOUT_DISCRIMINANTS, Reference

_NAMED = 2.0  # standard deviations, from which a component of the score is named
_TEXTS = {
    "layout": "layout unlike the training images",
    "blur": "blurred",
    "jpeg": "JPEG blocks",
    "coarser": "reduced more than the training images",
    "finer": "reduced less than the training images",
    "darker": "darker",
    "inverted": "inverted",
    "turned_left": "turned by 90 degrees",
    "turned_right": "turned by 90 degrees",
    "upside_down": "upside down",
}
# The statistic that a defect moves most visibly, and where to.
_TYPICAL = {"noise": ("noise_25", 1), "blur": ("power_0.5", -1), "jpeg": ("block_zeros", 1), "darker": ("gray_90", -1)}
# Words for a statistic above and below those of the training images, by the beginning of its name.
_WORDS = {
    "power_0.03": ("large structures stronger", "large structures weaker"),
    "power_0.06": ("large structures stronger", "large structures weaker"),
    "power": ("more fine detail", "less fine detail"),
    "direction": ("finer across than along", "finer along than across"),
    "noise": ("more noise", "less noise"),
    "gradient": ("steeper edges", "flatter edges"),
    "block": ("JPEG blocks", "JPEG blocks"),
    "gray": ("brighter", "darker"),
    "black": ("more black", "less black"),
    "white": ("more white", "less white"),
    "residual": ("the network adds more", "the network adds less"),
}


def describe(reference: Reference, statistics: np.ndarray, thumbnail: np.ndarray, components: np.ndarray) -> list[str]:
    """Returns what deviates in one image, the largest deviation first.

    Small components beside a large one are its side effects. A discriminant without a deviation of the statistic that
    is typical of its defect has another cause.

    Args:
        reference: The training images.
        statistics: Of the image, `applicability_statistics.NAMES`.
        thumbnail: Of the image, (64,).
        components: Of its score; see `Reference.components`.
    """
    order = np.argsort(-components)
    largest = components[order[0]]
    names = [reference.names[i] for i in order if components[i] >= min(max(_NAMED, largest / 2), largest)]
    kept = [name for name in names if _is_typical(reference, name, statistics)] or names
    return list(dict.fromkeys(text for name in kept for text in _texts(reference, name, statistics, thumbnail)))


def _is_typical(reference: Reference, name: str, statistics: np.ndarray) -> bool:
    if name not in _TYPICAL:
        return True
    typical, sign = _TYPICAL[name]
    return bool(sign * reference.statistics.deviations(statistics)[_index(typical)] > 1)


def _index(name: str) -> int:
    return applicability_statistics.NAMES.index(name)


def _texts(reference: Reference, name: str, statistics: np.ndarray, thumbnail: np.ndarray) -> list[str]:
    if name == "statistics":
        deviations = reference.statistics.deviations(statistics)
        largest = [(applicability_statistics.NAMES[i], deviations[i] > 0) for i in np.argsort(-np.abs(deviations))[:2]]
        return [_text(reference, each, above, statistics) for each, above in largest]
    if name == "noise":
        return [_noise(reference, statistics)]
    return [_TEXTS[_position(reference, thumbnail) if name in LAYOUT_DISCRIMINANTS else name]]


def _text(reference: Reference, name: str, above: bool, statistics: np.ndarray) -> str:
    if name.startswith("noise") and above:
        return _noise(reference, statistics)
    longest = max((start for start in _WORDS if name.startswith(start)), key=len)
    return _WORDS[longest][0 if above else 1]


def _noise(reference: Reference, statistics: np.ndarray) -> str:
    found, usual = (np.expm1(each[_index("noise_25")]) for each in (statistics, reference.statistics.mean))
    return f"noise {found / usual:.1f} times that of training" if found > 1.1 * usual > 0 else "more noise"


def _position(reference: Reference, thumbnail: np.ndarray) -> str:
    """Returns which change, undone, makes a thumbnail most like the mean: discriminants do not tell them apart."""
    undone = applicability_field.turned(thumbnail)
    undone["turned_left"], undone["turned_right"] = undone["turned_right"], undone["turned_left"]
    return max(undone, key=lambda name: float(undone[name] @ reference.thumbnail))
