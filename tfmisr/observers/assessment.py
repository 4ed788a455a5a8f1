"""Detectability of a signal in every arm: cross-fitted ratings, AUC with intervals over patients, paired differences.

An observer is trained on the windows of other patients than those it rates. The intervals resample patients and keep
the observers; `refitted` resamples and trains again, as a check of how much that leaves out.
"""

import dataclasses
import math
import typing

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.observers import roc
from tfmisr.observers import search as search_rule
from tfmisr.observers.search import Search
from tfmisr.observers.tasks import Task
from tfmisr.observers.windows import Windows

LEAST_PATIENTS = 30
FALSE_POSITIVES = 0.05  # rate at which lost and hallucinated signals are counted


class Observer(typing.Protocol):
    """What `tfmisr.observers.observers` offers.

    Attributes:
        internal_noise: Standard deviation of white noise that the observer adds to each pixel, in levels.
    """

    internal_noise: float

    def template(self, absent: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Returns the template of training windows."""

    def ratings(self, template: np.ndarray, windows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the ratings of windows."""


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Ratings `(arms, windows)` of both hypotheses, and the patient of each window."""

    arms: list[str]
    absent: np.ndarray
    present: np.ndarray
    patients: np.ndarray


def require_patients(patients: np.ndarray) -> None:
    """Checks that there are enough patients for an interval.

    Raises:
        InputError: There are fewer than 30.
    """
    count = len(np.unique(patients))
    if count < LEAST_PATIENTS:
        raise InputError(
            f"expected images of at least {LEAST_PATIENTS} patients, found {count}; use more images, or --split all"
        )


def rate(windows: Windows, observer: Observer, folds: int = 10, seed: int = 0, search: Search | None = None) -> Ratings:
    """Returns the ratings of all windows, each by an observer that was trained on other patients.

    Args:
        windows: The windows of all arms.
        observer: The observer, trained for each arm of its own.
        folds: Number of groups of patients.
        seed: Seed of the groups and of the internal noise.
        search: Search for signals at unknown positions; the ratings of those that are not found are `-inf`.

    Raises:
        InputError: There are fewer windows than the observer needs.
    """
    groups = _groups(windows.patients, folds, seed)
    shape = windows.absent.shape[:2]
    absent, present = np.empty(shape), np.empty(shape)
    for arm in range(shape[0]):
        rng = np.random.default_rng([seed, 8])  # the same internal noise in every arm: differences are paired
        for fold in range(groups.max() + 1):
            rated, train = groups == fold, groups != fold
            part = windows.absent[arm], windows.present[arm], windows.offsets
            if search:
                absent[arm, rated], present[arm, rated] = _searched(*part, rated, train, observer, search, rng)
                continue
            template = observer.template(part[0][train], part[1][train])
            for ratings, own in zip((absent, present), part, strict=False):
                ratings[arm, rated] = observer.ratings(template, own[rated], rng)
    return Ratings(windows.arms, absent, present, windows.patients)


def _searched(absent, present, offsets, rated, train, observer, search, rng):
    """Returns ratings of both hypotheses by an observer that scans the windows."""
    template = observer.template(*(search.centered(part[train], offsets[train]) for part in (absent, present)))
    found = []
    for part in (absent, present):
        noise = observer.internal_noise * rng.standard_normal(part[rated].shape) if observer.internal_noise else 0.0
        found.append(search.ratings(template, part[rated].astype(np.float64), noise))
    (without, _), (ratings, marks) = found
    return without, search_rule.localized(ratings, search.found(marks, offsets[rated]))


def _groups(patients, folds, seed):
    names, index = np.unique(patients, return_inverse=True)
    groups = np.arange(len(names)) % min(folds, len(names))
    return np.random.default_rng([seed, 7]).permutation(groups)[index]


def summarize(ratings: Ratings, reference: str = "bicubic", resamples: int = 2000, seed: int = 0) -> dict[str, dict]:
    """Returns for each arm its AUC, d', interval, and the paired difference to the reference arm.

    Lost and hallucinated compare the decisions in an arm with those in `HR`, each at its own threshold for 5 % false
    positives: the share of signals that are found in HR and not in the arm, and the share of windows without a signal
    that are negative in HR and positive in the arm.

    Args:
        ratings: What `rate` returns.
        reference: Arm of the paired differences.
        resamples: Bootstrap samples of the patients.
        seed: Seed of the samples.
    """
    areas = [roc.auc(a, p) for a, p in zip(ratings.absent, ratings.present, strict=True)]
    samples = roc.bootstrap(ratings.absent, ratings.present, ratings.patients, resamples, seed)
    base = ratings.arms.index(reference)
    positive = [_decisions(a, p) for a, p in zip(ratings.absent, ratings.present, strict=True)]
    summary = {}
    for i, arm in enumerate(ratings.arms):
        differences = samples[:, i] - samples[:, base]
        summary[arm] = {
            "auc": areas[i],
            **interval("auc", samples[:, i]),
            "d_prime": roc.detectability(areas[i]),
            "difference": areas[i] - areas[base],
            **interval("difference", differences),
            "p_value": p_value(differences) if i != base else None,
            **_changes(positive[ratings.arms.index("HR")], positive[i]),
        }
    return summary


def interval(name: str, samples: np.ndarray) -> dict[str, float]:
    """Returns the ends of the 95 % interval of bootstrap samples, under `NAME_low` and `NAME_high`."""
    low, high = np.quantile(samples, (0.025, 0.975))
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def p_value(differences: np.ndarray) -> float:
    """Returns the two-sided p value of a difference of 0 from bootstrap samples; the smallest is 2 / (samples + 1)."""
    below, above = (differences <= 0).sum() + 1, (differences >= 0).sum() + 1
    return float(min(1.0, 2 * min(below, above) / (len(differences) + 1)))


def _decisions(absent, present):
    threshold = np.quantile(absent, 1 - FALSE_POSITIVES)
    return absent > threshold, present > threshold


def _changes(hr, arm):
    found, negative = hr[1], ~hr[0]
    return {
        "lost": float((found & ~arm[1]).sum() / max(found.sum(), 1)),
        "hallucinated": float((negative & arm[0]).sum() / max(negative.sum(), 1)),
    }


def transfer(windows: Windows, task: Task) -> dict[str, tuple[float, float]]:
    """Returns mean and standard deviation, over windows, of the share of the signal's amplitude that each arm shows.

    The difference of the two windows of an arm is projected onto the difference that was inserted into `HR`'s window;
    1 is the whole amplitude. It is nan for a signal of no contrast.

    Args:
        windows: The windows of all arms.
        task: Their task.
    """
    if windows.offsets is not None:
        windows = _aligned(windows)
    shape = task.profile() - task.other_profile()
    found, hr = {}, windows.absent[0].astype(np.float64)
    # Undefined where nothing is inserted: a contrast of 0, or a factor on black.
    inserted = task.change(hr, task.profile(), windows.max_val) - task.change(hr, task.other_profile(), windows.max_val)
    heights = (inserted * shape).sum((1, 2)) / (shape**2).sum()
    seen = heights != 0
    if not seen.any():
        return dict.fromkeys(windows.arms, (math.nan, math.nan))
    for arm, absent, present in zip(windows.arms, windows.absent, windows.present, strict=True):
        difference = present.astype(np.float64) - absent
        shares = ((difference * shape).sum((1, 2)) / (shape**2).sum())[seen] / heights[seen]
        found[arm] = float(shares.mean()), float(shares.std())
    return found


def _aligned(windows):
    """Returns the windows with all signals in the middle; what leaves a window enters it at the other side."""

    def moved(arms):
        return np.stack([[np.roll(w, -o, (0, 1)) for w, o in zip(arm, windows.offsets, strict=True)] for arm in arms])

    return dataclasses.replace(windows, absent=moved(windows.absent), present=moved(windows.present), offsets=None)


def refitted(
    windows: Windows,
    observer: Observer,
    reference: str = "bicubic",
    resamples: int = 20,
    seed: int = 0,
    search: Search | None = None,
) -> dict[str, tuple[float, float]]:
    """Returns the standard deviation of AUC and of its difference to the reference when observers are trained again.

    Patients are drawn with replacement and split into folds; a patient drawn twice stays in one fold.

    Args:
        windows: The windows of all arms.
        observer: The observer.
        reference: Arm of the paired differences.
        resamples: Number of samples.
        seed: Seed of the samples.
        search: As of `rate`.
    """
    names = np.unique(windows.patients)
    rng = np.random.default_rng([seed, 9])
    base, areas = windows.arms.index(reference), []
    for _ in range(resamples):
        drawn = rng.choice(names, len(names))
        index = np.concatenate([np.flatnonzero(windows.patients == patient) for patient in drawn])
        part = dataclasses.replace(
            windows,
            absent=windows.absent[:, index],
            present=windows.present[:, index],
            patients=windows.patients[index],
            offsets=windows.offsets[index] if search else None,
        )
        ratings = rate(part, observer, seed=seed, search=search)
        areas.append([roc.auc(a, p) for a, p in zip(ratings.absent, ratings.present, strict=True)])
    areas = np.array(areas)
    differences = areas - areas[:, [base]]
    return {arm: (float(areas[:, i].std()), float(differences[:, i].std())) for i, arm in enumerate(windows.arms)}
