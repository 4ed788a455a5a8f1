"""A classifier with what it expects and the labels, as the flags of `python -m tfmisr.observe` declare them."""

import argparse
import dataclasses
import hashlib
import typing

from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler
from tfmisr.observers import classification, classifiers, labels, parts

if typing.TYPE_CHECKING:
    from tfmisr.data import Source
    from tfmisr.degradations import Degradation
    from tfmisr.observers.results import Settings


@dataclasses.dataclass(frozen=True)
class DeclaredClassifier:
    """A classifier, what it expects, the labels, and the probability from which a decision is positive."""

    classifier: classifiers.Classifier
    declaration: classifiers.Declaration
    labels: labels.Labels
    threshold: float

    def described(self) -> dict:
        """Returns what the results depend on, for the protocol; the labels as a hash."""
        values = sorted((image, row.tolist()) for image, row in self.labels.of.items())
        return {
            "name": self.classifier.name,
            "sha256": self.classifier.sha256,
            "size": list(self.declaration.size),
            "range": list(self.declaration.value_range),
            "polarity": self.declaration.polarity,
            "threshold": self.threshold,
            "labels": self.labels.names,
            "labels_sha256": hashlib.sha256(repr(values).encode()).hexdigest(),
        }

    def measure(
        self,
        upscalers: list[Upscaler],
        source: "Source",
        degradation: "Degradation",
        settings: "Settings",
        store: parts.Parts | None = None,
    ) -> dict:
        """Returns the results, as `observe.json` holds them; the arguments are those of `classification.score`.

        Raises:
            InputError: Too few images have labels, or the classifier fails.
        """
        scores = classification.score(
            self.classifier, self.declaration, self.labels, upscalers, source, degradation, settings, store
        )
        names, seed = self.labels.names, settings.seed
        found, left_out = classification.assess(scores, names, settings.margin, self.threshold, seed)
        return self.described() | {"images": len(scores.truth), "labels": found, "left_out": left_out}


def load(arguments: argparse.Namespace) -> DeclaredClassifier:
    """Returns the classifier of parsed flags.

    Raises:
        InputError: A declaration is missing, or contradicts the file.
    """
    for name in ("labels", "classifier_range", "classifier_polarity"):
        if getattr(arguments, name) is None:
            raise InputError(f"a classifier needs {name} (--{name})")
    limits, threshold = arguments.classifier_range, 0.5 if arguments.threshold is None else arguments.threshold
    if len(limits) != 2 or not limits[0] < limits[1] or not max(map(abs, limits)) < 1e9:
        raise InputError(f"classifier_range must be two rising numbers. Received: {' '.join(map(str, limits))}")
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold must be 0 to 1. Received: {threshold}")
    known, classifier = labels.read(arguments.labels), classifiers.load(arguments.classifier)
    declaration = classifiers.Declaration(
        _size(classifier, arguments.classifier_size), tuple(limits), arguments.classifier_polarity
    )
    return DeclaredClassifier(classifier, declaration, known, threshold)


def _size(classifier, given) -> tuple[int, int]:
    if given is None and classifier.size is None:
        raise InputError(f"classifier {classifier.name} takes images of any size; say which with classifier_size")
    if given is None:
        return classifier.size
    if len(given) > 2 or min(given) < 1:
        raise InputError(f"classifier_size must be one or two numbers above 0. Received: {' '.join(map(str, given))}")
    size = (given[0], given[-1])
    if classifier.size not in (None, size):
        expected = " ".join(map(str, classifier.size))
        raise InputError(f"classifier {classifier.name} takes images of {expected}. Received: {size[0]} {size[1]}")
    return size
