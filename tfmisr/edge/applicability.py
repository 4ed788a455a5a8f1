"""Applicability: whether an image is of the kind that a model, and the calibration of its half-width, is for.

A calibrated interval holds for images that are exchangeable with those of the calibration; for others it is void. Two
checks: the header against the card's declared use (`tfmisr.edge.declared_use`), and the pixels by a conformal p-value.
Its score is the largest of several deviations from the training images, each on the scale of a normal distribution:
Mahalanobis distances of statistics and layout, and linear discriminants for simulated defects such as noise and blur,
which see a small but typical change that a distance over 40 dimensions does not.

Reference:
    Mahalanobis 1936; Fisher 1936 (linear discriminant); Vovk, Gammerman and Shafer, Algorithmic Learning in a Random
    World, 2005, and Laxhammar and Falkman, 2010 (conformal p-value as a test for anomalies)
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pydicom

from tfmisr.edge import applicability_field, applicability_statistics, applicability_words, declared_use
from tfmisr.edge.applicability_field import Reference
from tfmisr.edge.errors import InputError

UNUSUAL, OUT_OF_SCOPE = 0.05, 0.01  # p-values
OUTCOMES = ("in scope", "unusual", "out of scope", "not tested")
_MOST_DEVIATIONS = 3


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a model applies to an image.

    Attributes:
        outcome: `in scope`; `unusual`, the interval's guarantee does not apply; `out of scope`; or `not tested`.
        p_value: Share of images of the training kind that deviate at least as much; `None` if the pixels were not
            tested: color, or below 32 x 32 pixels.
        deviations: In words, what deviates most, at most three; empty where the pixels are in scope or not tested.
        header_mismatches: Sentences about Attributes that differ from the declared use.
        not_stated: Keywords of declared Attributes that the header lacks; empty without a header.
    """

    outcome: str
    p_value: float | None
    deviations: tuple[str, ...] = ()
    header_mismatches: tuple[str, ...] = ()
    not_stated: tuple[str, ...] = ()

    @property
    def guarantee_applies(self) -> bool:
        """Whether the guarantee of a calibrated half-width applies."""
        return self.outcome == "in scope"

    def __str__(self) -> str:
        p_value = "" if self.p_value is None else f" (p = {self.p_value:.3f})"
        reasons = "; ".join((*self.header_mismatches, *self.deviations))
        return f"{self.outcome}{p_value}" + (f": {reasons}" if reasons else "")


@dataclasses.dataclass(frozen=True, repr=False)
class Applicability:
    """The check of the images of one model.

    Attributes:
        declared: The declared use; see `tfmisr.edge.declared_use.check`.
        reference: Statistics of the training images; `None` where they were too few, so that pixels are not tested.
        scores: Sorted scores of images that the statistics were not fitted on.
    """

    declared: Mapping
    reference: Reference | None
    scores: np.ndarray

    @classmethod
    def of(cls, card: Mapping) -> "Applicability | None":
        """Returns the check that a model card describes, `None` if it describes none."""
        fields = card.get("applicability")
        if not fields:
            return None
        if fields["statistics"] is None:
            return cls(fields["declared"], None, np.zeros(0))
        scores = applicability_field.decoded(fields["scores"], (None,))
        return cls(fields["declared"], Reference.from_card(fields["statistics"]), scores)

    def check(
        self, lr: np.ndarray, sr: np.ndarray, max_val: float = 1.0, header: pydicom.Dataset | None = None
    ) -> Verdict:
        """Returns whether the model applies to an image.

        Args:
            lr: Input (height, width, channels) in [0, max_val], float or integer.
            sr: Final result (scale * height, scale * width, channels) in [0, max_val], after consistency.
            max_val: Full-scale value of both: 1.0 for float images, otherwise that of the stored levels.
            header: The Data Set of a DICOM input.

        Raises:
            InputError: The result is not a multiple of the input in size.
        """
        _check_shapes(lr, sr)
        found = declared_use.HeaderCheck() if header is None else declared_use.check(header, self.declared)
        p_value, deviations = self._tested(lr, sr, max_val)
        outcome = "out of scope" if found.contradictions else _outcome(p_value, bool(found.deviations))
        return Verdict(outcome, p_value, deviations, found.contradictions + found.deviations, found.not_stated)

    def _tested(self, lr: np.ndarray, sr: np.ndarray, max_val: float) -> tuple[float | None, tuple[str, ...]]:
        if self.reference is None or lr.shape[-1] != 1 or min(lr.shape[:2]) < applicability_statistics.SMALLEST:
            return None, ()
        plane = lr[..., 0]
        statistics = applicability_statistics.measure(plane, sr[..., 0], max_val)
        layout = applicability_statistics.thumbnail(plane)
        components = self.reference.components(statistics, layout)
        p_value = self.p_value(float(np.max(components)))
        if p_value > UNUSUAL:
            return p_value, ()
        words = applicability_words.describe(self.reference, statistics, layout, components)
        return p_value, tuple(words[:_MOST_DEVIATIONS])

    def score(self, lr: np.ndarray, sr: np.ndarray, max_val: float = 1.0) -> float:
        """Returns how much a gray image deviates, in standard deviations of the largest component; see `check`.

        Raises:
            ValueError: There are no statistics of the training images.
        """
        if self.reference is None:
            raise ValueError("expected a reference")
        statistics = applicability_statistics.measure(lr[..., 0], sr[..., 0], max_val)
        return float(self.reference.components(statistics, applicability_statistics.thumbnail(lr[..., 0])).max())

    def p_value(self, score: float) -> float:
        """Returns the conformal p-value of a score, from 1 / (n + 1) to 1; the lowest if the score is not finite."""
        least = int(np.searchsorted(self.scores, score)) if np.isfinite(score) else len(self.scores)
        return (1 + len(self.scores) - least) / (len(self.scores) + 1)


def _check_shapes(lr: np.ndarray, sr: np.ndarray) -> None:
    scale = sr.shape[0] // lr.shape[0] if lr.shape[0] else 0
    if lr.ndim != 3 or scale < 2 or sr.shape != (lr.shape[0] * scale, lr.shape[1] * scale, lr.shape[2]):
        raise InputError(
            f"expected an image (height, width, channels) and its upscaled result. Received: {lr.shape}, {sr.shape}"
        )


def _outcome(p_value: float | None, differs: bool) -> str:
    """Returns the outcome where the header does not contradict the declared use; `differs`: it does in part."""
    if p_value is None:
        return "not tested"
    if p_value <= OUT_OF_SCOPE:
        return "out of scope"
    return "unusual" if p_value <= UNUSUAL or differs else "in scope"
