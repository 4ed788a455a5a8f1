"""A frozen classifier on the images of every arm: AUC for each label, calibration, and decisions that change.

Nothing is inserted. Intervals: DeLong's, for images that are independent, and a bootstrap over patients.
"""

import dataclasses
import functools
import math
import typing
from collections.abc import Sequence

import numpy as np
from scipy import stats

from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler
from tfmisr.evaluation.protocol import REFERENCE
from tfmisr.evaluation.statistics import bootstrap_mean
from tfmisr.observers import assessment, classifiers, parts, roc, verdicts, windows
from tfmisr.observers.labels import Labels

if typing.TYPE_CHECKING:
    from tfmisr.data import Source
    from tfmisr.degradations import Degradation
    from tfmisr.observers.results import Settings

LEAST_PATIENTS_OF_A_CLASS = 5  # fewer with or without a finding have no useful interval


@dataclasses.dataclass(frozen=True)
class Scores:
    """Probabilities of images in every arm.

    Attributes:
        arms: Names of the arms.
        probabilities: `(arms, images, labels)`.
        truth: `(images, labels)`: 0, 1, or nan where unknown.
        patients: The patient of each image.
    """

    arms: list[str]
    probabilities: np.ndarray
    truth: np.ndarray
    patients: np.ndarray


def score(
    classifier: classifiers.Classifier,
    declaration: classifiers.Declaration,
    labels: Labels,
    upscalers: list[Upscaler],
    source: "Source",
    degradation: "Degradation",
    settings: "Settings",
    store: parts.Parts | None = None,
    progress: bool = True,
) -> Scores:
    """Returns what the classifier says of the images that have labels.

    Args:
        classifier: The classifier.
        declaration: What it expects.
        labels: The labels.
        upscalers: Arms beside `HR` and `LR`.
        source: Dataset of gray images.
        degradation: Degradation model that makes LR.
        settings: Splits, scale, number of images and seed.
        store: Keeps the results of finished images, but not those of a function, whose code can change; `None`:
            nothing is kept.
        progress: Show a progress bar.

    Raises:
        InputError: Images are in color, or too few of them have labels.
    """
    from tfmisr.data import pipeline
    from tfmisr.progress import bar

    known = labels.by_id(source)
    images = [i for i in windows.load(source, settings.splits, settings.max_images) if i.name in known]
    if not images:
        raise InputError(
            f"expected labels of the images of {source.name}: none of {len(labels.of)} lines is about one of them"
        )
    assessment.require_patients(np.array([image.patient for image in images]))

    def probabilities(image):
        seed = [settings.seed, 6, pipeline.image_key(image.name)]
        compute = functools.partial(
            _rate, classifier, declaration, labels, image, upscalers, settings.scale, degradation, seed
        )
        if store is None or not classifier.sha256:
            return compute()
        fields = parts.fields(upscalers, settings.scale, degradation, image.max_val, seed)
        own = [classifier.sha256, dataclasses.astuple(declaration), labels.names]
        return store.get(parts.key([image.pixels], [fields, own]), compute)

    found = [
        probabilities(i) for i in bar(images, desc=classifier.name, unit=" images", disable=not progress, leave=False)
    ]
    return Scores(
        [windows.HR, windows.LR, *(u.name for u in upscalers)],
        np.stack(found, axis=1),
        np.stack([known[image.name] for image in images]),
        np.array([image.patient for image in images]),
    )


def _rate(classifier, declaration, labels, image, upscalers, scale, degradation, seed):
    arms = windows.arms(image.pixels.astype(np.float64), upscalers, scale, degradation, image.max_val, seed)
    return classifier(np.stack([declaration.prepare(arm, image.max_val) for arm in arms]), labels.names)


def assess(
    scores: Scores, names: Sequence[str], margin: float, threshold: float = 0.5, seed: int = 0, resamples: int = 2000
) -> tuple[dict[str, dict], dict[str, str]]:
    """Returns label to counts and arms, and label to the reason why it has no numbers.

    Args:
        scores: What `score` returns.
        names: Names of the labels.
        margin: Difference in AUC within which two arms are equivalent.
        threshold: Probability from which a decision is positive.
        seed: Seed of the bootstrap samples.
        resamples: Number of them.

    Raises:
        InputError: No label has enough patients with and without it.
    """
    found, left_out = {}, {}
    for label, name in enumerate(names):
        known = ~np.isnan(scores.truth[:, label])
        truth, patients = scores.truth[known, label] == 1, scores.patients[known]
        counts = [len(np.unique(patients[truth == value])) for value in (True, False)]
        if min(counts) < LEAST_PATIENTS_OF_A_CLASS:
            left_out[name] = f"{counts[0]} patients with and {counts[1]} without it"
            continue
        ratings = scores.probabilities[:, known, label]
        arms = _areas(scores.arms, ratings, truth, patients, margin, resamples, seed)
        for arm, p in zip(scores.arms, ratings, strict=True):
            arms[arm] |= _calibration(p, ratings[0], truth, patients) | _changes(p, ratings[0], threshold)
        found[name] = {"positive": int(truth.sum()), "negative": int((~truth).sum()), "arms": arms}
        found[name] |= {"patients": len(np.unique(patients)), "images": len(truth)}
    if not found:
        least, reasons = LEAST_PATIENTS_OF_A_CLASS, "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise InputError(f"expected a label with at least {least} patients with and without it, received {reasons}")
    return found, left_out


def _areas(arms, ratings, truth, patients, margin, resamples, seed) -> dict[str, dict]:
    absent, present = ratings[:, ~truth], ratings[:, truth]
    areas, covariance = roc.delong(absent, present)
    samples = roc.bootstrap(absent, present, patients[~truth], resamples, seed, patients[truth])
    samples = samples[~np.isnan(samples).any(axis=1)]
    base, summary = arms.index(REFERENCE), {}
    for i, arm in enumerate(arms):
        differences = samples[:, i] - samples[:, base]
        variance = covariance[i, i] + covariance[base, base] - 2 * covariance[i, base]
        difference = float(areas[i] - areas[base])
        summary[arm] = {
            "auc": float(areas[i]),
            **assessment.interval("auc", samples[:, i]),
            **_normal("auc_delong", areas[i], covariance[i, i]),
            "difference": difference,
            **assessment.interval("difference", differences),
            "p_value": assessment.p_value(differences) if i != base else None,
            "p_delong": _two_sided(difference, variance) if i != base else None,
        }
    verdicts.adjust(summary)
    for arm, values in summary.items():
        values["verdict"] = verdicts.verdict(arm, values, margin)
    return summary


def _normal(name, value, variance) -> dict:
    half = stats.norm.ppf(0.975) * math.sqrt(max(variance, 0))
    return {f"{name}_low": max(float(value - half), 0.0), f"{name}_high": min(float(value + half), 1.0)}


def _two_sided(difference, variance) -> float | None:
    """Returns the p value of DeLong's test; `None` where the difference has no spread."""
    if variance <= 1e-15:
        return None
    return float(2 * stats.norm.sf(abs(difference) / math.sqrt(variance)))


def _calibration(p, hr, truth, patients) -> dict:
    """Returns Brier score, mean probability minus prevalence (calibration in the large), and the shift against HR."""
    shift, low, high = bootstrap_mean(p - hr, patients)
    return {
        "brier": float(np.mean((p - truth) ** 2)),
        "calibration": float(p.mean() - truth.mean()),
        "shift": shift,
        "shift_low": low,
        "shift_high": high,
    }


def _changes(p, hr, threshold) -> dict:
    """Returns the shares of images whose decision is another than in HR."""
    found, before = p >= threshold, hr >= threshold
    return {
        "flipped": float((found != before).mean()),
        "to_negative": float((before & ~found).mean()),
        "to_positive": float((~before & found).mean()),
    }
