"""The calibrated half-width `w` of an upscaled image: `SR +- w` holds the true pixels, with a guarantee by patient.

Normalized split conformal prediction (Lei et al., Distribution-Free Predictive Inference for Regression, JASA 2018):
the uncertainty head gives a scale `s` for each pixel, and `python -m tfmisr.calibrate` finds the multiplier for which,
for a new patient, with probability at least 1 - delta, at least 1 - alpha of the pixels lie within `SR +- w`:

    w = multiplier * factor * s

The factor is 1 in smooth parts and larger at edges and letters, where the scale is too small. These are found in the
upscaled image alone, by its steepness: the largest gray-value step between neighboring pixels within a small window.
Between the groups the factor is interpolated, so that `w` has no borders.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from tfmisr.edge.errors import InputError

GROUPS = ("edges", "letters")  # those with a factor of their own, in order of steepness
_ROWS = 512  # of a strip: bounds the memory of the temporary arrays


class ScaleMap(Protocol):
    """What `tfmisr.edge.uncertainty.Head` provides."""

    def scale_map(self, lr: np.ndarray, sr: np.ndarray, max_val: float = 1.0) -> np.ndarray:
        """Returns the scale of the error of each pixel, above 0, in fractions of the full scale."""


@dataclasses.dataclass(frozen=True)
class Groups:
    """How steepness divides the pixels into smooth parts, edges and letters.

    Attributes:
        radius: The window has `2 * radius + 1` pixels on each side.
        edges: Steepness at which the factor leaves that of smooth parts, and at which it is that of edges; in
            fractions of the full scale.
        letters: The same from edges to letters.
    """

    radius: int
    edges: tuple[float, float]
    letters: tuple[float, float]

    @classmethod
    def from_card(cls, fields: Mapping) -> "Groups":
        """Returns the groups of the card's field `uncertainty`."""
        (a, b), (c, d) = fields["edges"], fields["letters"]
        return cls(int(fields["radius"]), (float(a), float(b)), (float(c), float(d)))

    def to_card(self) -> dict:
        """Returns the fields of a card."""
        return {"radius": self.radius, "edges": list(self.edges), "letters": list(self.letters)}

    def steepness(self, sr: np.ndarray, max_val: float = 1.0) -> np.ndarray:
        """Returns the largest step between neighboring pixels in the window around each pixel.

        Args:
            sr: Array (height, width, channels), integers or float, 0 to `max_val`.
            max_val: Value of a full-scale pixel.

        Returns:
            float32 array (height, width), in fractions of the full scale; the largest of the channels.
        """
        out = np.empty(sr.shape[:2], np.float32)
        for start in range(0, len(sr), _ROWS):
            stop, margin = min(start + _ROWS, len(sr)), self.radius + 1
            first = max(start - margin, 0)
            part = np.asarray(sr[first : stop + margin], np.float32) / np.float32(max_val)
            out[start:stop] = _dilated(_steps(part), self.radius)[start - first : stop - first]
        return out

    def factor(self, steepness: np.ndarray, factors: Mapping[str, float]) -> np.ndarray:
        """Returns the factor of each pixel.

        Args:
            steepness: Of `steepness`.
            factors: Factor of `edges` and `letters`, beside the 1 of smooth parts.
        """
        result = np.ones_like(steepness)
        previous = 1.0
        for name in GROUPS:
            low, high = getattr(self, name)
            weight = np.clip((steepness - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
            result += weight * np.float32(factors[name] - previous)
            previous = factors[name]
        return result


def _steps(image: np.ndarray) -> np.ndarray:
    """Returns the largest step from each pixel to its right and lower neighbor, over all channels."""
    steps = np.zeros(image.shape[:2], np.float32)
    steps[:, :-1] = np.abs(np.diff(image, axis=1)).max(axis=-1)
    np.maximum(steps[:-1], np.abs(np.diff(image, axis=0)).max(axis=-1), out=steps[:-1])
    return steps


def _dilated(image: np.ndarray, radius: int) -> np.ndarray:
    """Returns the maximum in a square window around each pixel."""
    for axis in (0, 1):
        source = np.moveaxis(image, axis, 0)
        image = image.copy()
        target = np.moveaxis(image, axis, 0)
        for step in range(1, radius + 1):
            np.maximum(target[:-step], source[step:], out=target[:-step])
            np.maximum(target[step:], source[:-step], out=target[step:])
    return image


def levels(card: Mapping) -> dict[float, Mapping]:
    """Returns the calibrated levels of a card, alpha to its fields, in increasing order; empty without."""
    fields = card.get("uncertainty") or {}
    return dict(sorted((float(alpha), level) for alpha, level in fields.get("levels", {}).items()))


@dataclasses.dataclass(frozen=True)
class HalfWidth:
    """The half-width of one model at one level.

    Attributes:
        head: The uncertainty head; see `ScaleMap`.
        alpha: Share of the pixels that may lie outside.
        multiplier: Calibrated multiplier of the scale.
        groups: What edges and letters are; `None`: one multiplier for all pixels.
        factors: Factors of `groups`.
        calibration: The card's record of the calibration: `delta`, `confidence`, `patients` and more.
        model: Name of the model, for records.
    """

    head: ScaleMap
    alpha: float
    multiplier: float
    groups: Groups | None
    factors: Mapping[str, float]
    calibration: Mapping
    model: str = ""

    @classmethod
    def of(cls, path: str | os.PathLike, card: Mapping, level: float = 0.1, threads: int = 1) -> "HalfWidth | None":
        """Returns the half-width of a model file; `None` if it has no uncertainty head or is not calibrated.

        Args:
            path: The `.tflite` file of the main network; the head lies beside it.
            card: Its card, of `tfmisr.edge.card.read`.
            level: alpha, one of those that were calibrated.
            threads: Number of threads of the interpreter.

        Raises:
            InputError: The level is not calibrated, the head is missing or belongs to another model, or the card's
                field is broken.
        """
        known = levels(card)
        if not known:
            return None
        alpha = next((alpha for alpha in known if math.isclose(alpha, level, rel_tol=1e-6)), None)
        if alpha is None:
            listed = ", ".join(f"{alpha:g}" for alpha in known)
            raise InputError(f"expected one of the calibrated levels {listed}. Received: {level:g}")
        from tfmisr.edge import uncertainty

        head = uncertainty.of(path, threads)
        if head is None:
            raise InputError(
                f"{os.fspath(path)} is calibrated for an uncertainty head, NAME.uncertainty.tflite beside it, which is "
                "missing; copy both files"
            )
        return cls.from_card(head, card, alpha)

    @classmethod
    def from_card(cls, head: ScaleMap, card: Mapping, alpha: float) -> "HalfWidth":
        """Returns the half-width that a card describes, with a head that is already open.

        Raises:
            InputError: The card's field is broken.
        """
        try:
            fields = card["uncertainty"]
            level = levels(card)[alpha]
            groups = Groups.from_card(fields["groups"]) if fields.get("groups") else None
            factors = {name: float(level["factors"][name]) for name in GROUPS} if groups else {}
            multiplier, calibration = float(level["multiplier"]), dict(fields["calibration"])
            if not all(0 < value < math.inf for value in (multiplier, *factors.values())):
                raise ValueError("a multiplier is not above 0")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the model card has a broken field `uncertainty` ({error!r}); calibrate the model again"
            ) from error
        return cls(head, alpha, multiplier, groups, factors, calibration, str(card.get("name", "")))

    def __call__(self, lr: np.ndarray, sr: np.ndarray, max_val: float = 1.0) -> np.ndarray:
        """Returns the half-width of each pixel.

        Args:
            lr: The input, (height, width, channels) in [0, `max_val`].
            sr: The final result, as it is stored, (scale * height, scale * width, channels) in [0, `max_val`].
            max_val: Value of a full-scale pixel of both.

        Returns:
            float32 array of the shape of `sr`, above 0, in fractions of the full scale.
        """
        half_width = self.head.scale_map(lr, sr, max_val)
        half_width *= np.float32(self.multiplier)
        for rows, factor in self._factors(sr, max_val):
            half_width[rows] *= factor[..., None]
        return half_width

    def _factors(self, sr: np.ndarray, max_val: float) -> Iterator[tuple[slice, np.ndarray]]:
        if self.groups is None or all(factor == 1 for factor in self.factors.values()):
            return
        steepness = self.groups.steepness(sr, max_val)
        for start in range(0, len(sr), _ROWS):
            rows = slice(start, start + _ROWS)
            yield rows, self.groups.factor(steepness[rows], self.factors)

    @property
    def statement(self) -> str:
        """What the half-width promises, in one sentence."""
        confidence, patients = (self.calibration.get(key) for key in ("confidence", "patients"))
        delta = float(self.calibration["delta"])
        average = (
            f"with {confidence:.0%} confidence in this calibration" if confidence else "on average over calibrations"
        )
        return (
            f"For a new patient like the {patients} it was calibrated on, with probability at least {1 - delta:.3g} "
            f"({average}), at least {1 - self.alpha:.3g} of the pixels lie within SR +- w "
            f"(alpha {self.alpha:g}, delta {delta:g}, multiplier {self.multiplier:.4g})."
        )
