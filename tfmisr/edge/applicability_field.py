"""The card's field `applicability`: statistics of the training images, without a pixel of a patient (T-33).

`{"declared": ..., "statistics": {...}, "scores": ...}`. Arrays are little-endian float16 in base64, so that the field
stays below 16 KiB; means and scales are numbers.
"""

import base64
import binascii
import dataclasses
from collections.abc import Mapping

import numpy as np

from tfmisr.edge import applicability_statistics, declared_use

LARGEST = 16 * 1024  # bytes of the field in JSON
_CLIPPED = 3.0  # standard deviations, beyond which deviations grow logarithmically
_NUMBERS = applicability_statistics.THUMBNAIL**2
_LEAST_SCORES = 19  # 1 / 20 is the largest p-value that is unusual
# What deviates, for each discriminant that `tfmisr.calibration.applicability` simulates.
DISCRIMINANTS = {
    "noise": "noise",
    "blur": "blurred",
    "strong_blur": "strongly blurred",
    "jpeg": "JPEG blocks",
    "coarser": "reduced more than the training images",
    "finer": "reduced less than the training images",
    "aliasing": "reduced without a filter (aliasing)",
}
LAYOUT_DISCRIMINANTS = {
    "inverted": "inverted",
    "turned_left": "turned by 90 degrees",
    "turned_right": "turned by 90 degrees",
    "upside_down": "upside down",
}
_DISTANCES = ("statistics", "layout")
# Words for a statistic above and below those of the training images, by the beginning of its name.
_WORDS = {
    "power_0.03": ("large structures stronger", "large structures weaker"),
    "power_0.06": ("large structures stronger", "large structures weaker"),
    "power": ("more fine detail", "less fine detail"),
    "direction": ("finer across than along", "finer along than across"),
    "noise": ("more noise", "less noise"),
    "gradient": ("steeper edges", "flatter edges"),
    "block": ("JPEG blocks", "blocks of 8 x 8 pixels"),
    "gray": ("brighter", "darker"),
    "black": ("more black", "less black"),
    "white": ("more white", "less white"),
    "residual": ("the network adds more", "the network adds less"),
}


def encoded(values: np.ndarray) -> str:
    """Returns numbers as float16 in base64, limited to its range."""
    limit = np.finfo(np.float16).max
    return base64.b64encode(np.clip(values, -limit, limit).astype("<f2").tobytes()).decode("ascii")


def decoded(text: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Returns the float64 array of a shape, with `None` for one side of any length.

    Raises:
        ValueError: The text is not base64, has another number of values, or one that is not finite.
    """
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("expected finite numbers")
    return values.reshape([-1 if side is None else side for side in shape])


def softened(z: np.ndarray) -> np.ndarray:
    """Returns standardized deviations, beyond three growing logarithmically: tails of images are heavier than normal."""
    size = np.abs(z)
    return np.sign(z) * np.where(size > _CLIPPED, _CLIPPED + np.log1p(np.maximum(size - _CLIPPED, 0)), size)


@dataclasses.dataclass(frozen=True)
class Space:
    """Standardized, softened and whitened vectors.

    Attributes:
        mean: Mean of each number.
        scale: Standard deviation of each number.
        center: Mean of the softened numbers.
        whitening: Upper triangular matrix; the squared norm of its product is the squared Mahalanobis distance.
    """

    mean: np.ndarray
    scale: np.ndarray
    center: np.ndarray
    whitening: np.ndarray

    @classmethod
    def from_card(cls, fields: Mapping, size: int) -> "Space":
        """Returns what `to_card` described."""
        mean, scale, center = (_numbers(fields[key], size) for key in ("mean", "scale", "center"))
        if not (scale > 0).all():
            raise ValueError("expected scales above 0")
        return cls(mean, scale, center, decoded(fields["whitening"], (size, size)))

    def to_card(self) -> dict:
        """Returns the fields for the card."""
        numbers = {key: [float(f"{v:.6g}") for v in getattr(self, key)] for key in ("mean", "scale", "center")}
        return numbers | {"whitening": encoded(self.whitening)}

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Returns softened deviations from the mean, of one vector or of rows of them."""
        return softened((values - self.mean) / self.scale) - self.center

    def log_distance(self, values: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the squared Mahalanobis distance."""
        white = self.deviations(values) @ self.whitening.T
        return np.log((white**2).sum(-1) + 1e-6)


@dataclasses.dataclass(frozen=True)
class Reference:
    """The training images: their statistics, their layout, and directions of typical defects.

    Attributes:
        statistics: Space of `applicability_statistics.NAMES`.
        thumbnail: Mean thumbnail (64,).
        components: Principal components of thumbnails (count, 64).
        layout: Space of the coordinates in these components and the logarithm of the remainder.
        discriminants: Names in `DISCRIMINANTS` to weights of the deviations of the statistics.
        layout_discriminants: Names in `LAYOUT_DISCRIMINANTS` to weights of the thumbnail.
        median: Median of each component of the score.
        spread: Standard deviation of each, from its 90th percentile.
    """

    statistics: Space
    thumbnail: np.ndarray
    components_of_layout: np.ndarray
    layout: Space
    discriminants: Mapping[str, np.ndarray]
    layout_discriminants: Mapping[str, np.ndarray]
    median: np.ndarray
    spread: np.ndarray
