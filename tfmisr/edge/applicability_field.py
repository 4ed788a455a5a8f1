"""The card's field `applicability`: statistics of the training images, without a pixel of a patient (T-33).

`{"declared": ..., "statistics": {...}, "scores": ...}`. Arrays are little-endian float16 in base64, so that the field
stays below 16 KiB; means and scales are numbers.
"""

import base64
import dataclasses
import json
from collections.abc import Mapping

import numpy as np

from tfmisr.edge import applicability_statistics, declared_use

LARGEST = 16 * 1024  # bytes of the field in JSON
_NUMBERS = applicability_statistics.THUMBNAIL**2
LEAST_SCORES = 99  # the lowest p-value is then 0.01: fewer cannot tell that an image is out of scope
_LEAST, _LARGEST_NUMBER = 1e-6, 1e6  # beyond, products could overflow
# Defects with a discriminant, on statistics and on the thumbnail; `tfmisr.calibration.applicability` simulates them.
DISCRIMINANTS = ("noise", "blur", "jpeg", "coarser", "finer", "darker")
LAYOUT_DISCRIMINANTS = ("inverted", "turned_left", "turned_right", "upside_down")
DISTANCES = ("statistics", "layout")


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


def turned(thumbnails: np.ndarray) -> dict[str, np.ndarray]:
    """Returns thumbnails (..., 64) of images that are inverted or turned, by the names of `LAYOUT_DISCRIMINANTS`."""
    side = applicability_statistics.THUMBNAIL
    squares = thumbnails.reshape(*thumbnails.shape[:-1], side, side)
    changed = {
        "inverted": -squares,
        "turned_left": np.rot90(squares, 1, (-2, -1)),
        "turned_right": np.rot90(squares, -1, (-2, -1)),
        "upside_down": squares[..., ::-1, :],
    }
    return {name: square.reshape(thumbnails.shape) for name, square in changed.items()}


@dataclasses.dataclass(frozen=True)
class Space:
    """Standardized and whitened vectors.

    Attributes:
        mean: Mean of each number.
        scale: Standard deviation of each number.
        whitening: Upper triangular matrix; the squared norm of its product is the squared Mahalanobis distance.
    """

    mean: np.ndarray
    scale: np.ndarray
    whitening: np.ndarray

    @classmethod
    def from_card(cls, fields: Mapping, size: int) -> "Space":
        """Returns what `to_card` described."""
        mean, scale = (_numbers(fields[key], size) for key in ("mean", "scale"))
        if not (scale >= _LEAST).all():
            raise ValueError("expected scales above 0")
        return cls(mean, scale, decoded(fields["whitening"], (size, size)))

    def to_card(self) -> dict:
        """Returns the fields for the card."""
        numbers = {key: _rounded(getattr(self, key)) for key in ("mean", "scale")}
        return numbers | {"whitening": encoded(self.whitening)}

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Returns deviations from the mean in standard deviations, of one vector or of rows of them."""
        return (values - self.mean) / self.scale

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
        principal: Principal components of the thumbnails (count, 64).
        layout: Space of the coordinates along them and the logarithm of the remainder.
        discriminants: Names of `DISCRIMINANTS` to weights of the deviations of the statistics.
        layout_discriminants: Names of `LAYOUT_DISCRIMINANTS` to weights of the thumbnail less its mean.
        median: Median of each component of the score.
        spread: Standard deviation of each.
    """

    statistics: Space
    thumbnail: np.ndarray
    principal: np.ndarray
    layout: Space
    discriminants: Mapping[str, np.ndarray]
    layout_discriminants: Mapping[str, np.ndarray]
    median: np.ndarray
    spread: np.ndarray

    @classmethod
    def from_card(cls, fields: Mapping) -> "Reference":
        """Returns what `to_card` described.

        Raises:
            ValueError, KeyError, TypeError: The fields are not such a description.
        """
        if fields["names"] != list(applicability_statistics.NAMES):
            raise ValueError("expected the statistics of this version")
        principal = decoded(fields["principal"], (None, _NUMBERS))
        kinds = {"discriminants": DISCRIMINANTS, "layout_discriminants": LAYOUT_DISCRIMINANTS}
        if any(not set(fields[key]) <= set(known) for key, known in kinds.items()):
            raise ValueError("expected known discriminants")
        sizes = {"discriminants": len(applicability_statistics.NAMES), "layout_discriminants": _NUMBERS}
        weights = {key: {n: decoded(w, (size,)) for n, w in fields[key].items()} for key, size in sizes.items()}
        count = len(DISTANCES) + sum(map(len, weights.values()))
        median, spread = (_numbers(fields[key], count) for key in ("median", "spread"))
        if not (spread >= _LEAST).all():
            raise ValueError("expected spreads above 0")
        statistics = Space.from_card(fields["statistics"], len(applicability_statistics.NAMES))
        layout = Space.from_card(fields["layout"], len(principal) + 1)
        thumbnail = decoded(fields["thumbnail"], (_NUMBERS,))
        return cls(statistics, thumbnail, principal, layout, **weights, median=median, spread=spread)

    def to_card(self) -> dict:
        """Returns the fields for the card."""
        return {
            "names": list(applicability_statistics.NAMES),
            "statistics": self.statistics.to_card(),
            "thumbnail": encoded(self.thumbnail),
            "principal": encoded(self.principal),
            "layout": self.layout.to_card(),
            "discriminants": {name: encoded(weights) for name, weights in self.discriminants.items()},
            "layout_discriminants": {name: encoded(weights) for name, weights in self.layout_discriminants.items()},
            "median": _rounded(self.median),
            "spread": _rounded(self.spread),
        }

    @property
    def names(self) -> list[str]:
        """Names of the components of the score."""
        return [*DISTANCES, *self.discriminants, *self.layout_discriminants]

    def raw(self, statistics: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
        """Returns the components of the score before they are standardized.

        Args:
            statistics: (images, statistics).
            thumbnails: (images, 64).

        Returns:
            float64 array (images, components).
        """
        centered = thumbnails - self.thumbnail
        deviations = self.statistics.deviations(statistics)
        columns = [self.statistics.log_distance(statistics), self.layout.log_distance(self.coordinates(thumbnails))]
        columns += [deviations @ weights for weights in self.discriminants.values()]
        columns += [centered @ weights for weights in self.layout_discriminants.values()]
        return np.stack(columns, axis=-1)

    def coordinates(self, thumbnails: np.ndarray) -> np.ndarray:
        """Returns the coordinates of thumbnails (images, 64) along the components, and the log of the remainder."""
        centered = thumbnails - self.thumbnail
        along = centered @ self.principal.T
        remainder = np.linalg.norm(centered - along @ self.principal, axis=-1)
        return np.concatenate([along, np.log(remainder + 0.1)[..., np.newaxis]], axis=-1)

    def components(self, statistics: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
        """Returns the components of the score, standardized; the score is the largest. See `raw`."""
        return (self.raw(statistics, thumbnails) - self.median) / self.spread


def is_valid(fields: object) -> bool:
    """Whether the card's field `applicability` is one that the runtime can follow; `None` is no check.

    `statistics` and `scores` may both be `None`, as of a model that was trained on too few patients: then a declared
    use is needed, and the header alone is checked.
    """
    if fields is None:
        return True
    if not isinstance(fields, dict):
        return False
    try:
        if len(json.dumps(fields)) > LARGEST or not declared_use.is_valid(fields["declared"]):
            return False
        if fields["statistics"] is None and fields["scores"] is None:
            return bool(fields["declared"])
        Reference.from_card(fields["statistics"])
        scores = decoded(fields["scores"], (None,))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return len(scores) >= LEAST_SCORES and bool((np.diff(scores) >= 0).all())


def _numbers(values: object, size: int) -> np.ndarray:
    """Returns numbers of a card as an array of a length."""
    if not isinstance(values, list) or len(values) != size or any(type(v) not in (int, float) for v in values):
        raise ValueError(f"expected {size} numbers")
    numbers = np.array(values, np.float64)
    if not (np.abs(numbers) <= _LARGEST_NUMBER).all():
        raise ValueError("expected finite numbers")
    return numbers


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
