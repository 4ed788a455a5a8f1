"""Fits a card's field `applicability`: statistics of training images, and scores of images they were not fitted on.

The covariance is shrunk after Ledoit and Wolf. The scores are cross-fitted: each of eight folds of patients is scored
by statistics of the other seven; images that were held out are scored by those of all. A patient gives one image, so
that scores are exchangeable. Discriminants of typical defects come from simulating these in the training images.

Reference:
    Ledoit and Wolf, J Multivariate Analysis 2004; Vovk, Cross-conformal predictors, 2015
"""

import dataclasses
import typing
from collections.abc import Hashable, Iterable, Iterator, Mapping

import numpy as np

from tfmisr.calibration import defects
from tfmisr.data import pipeline
from tfmisr.degradations import Degradation
from tfmisr.edge import applicability_field, applicability_statistics, declared_use
from tfmisr.edge.applicability_field import Reference, Space
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler, to_levels

if typing.TYPE_CHECKING:
    from tfmisr.data.pixel_cache import PixelCache

FOLDS = 8
LEAST_PATIENTS = applicability_field.LEAST_SCORES
_MOST_SCORES = 1024  # more are thinned out evenly: 2 KiB of the field
_PRINCIPAL = 10
_LEAST_SCALE = 1e-3  # of a statistic that hardly varies in the training images
_LEAST_SEPARATION = 1.5  # standard deviations, below which a defect is like the training images
_LAYOUT = applicability_statistics.THUMBNAIL**2
_INPUT = len(applicability_statistics.INPUT_NAMES)


@dataclasses.dataclass(frozen=True, repr=False)
class Sample:
    """An image of a patient.

    Attributes:
        patient: Identifies the patient; it is not stored.
        lr: Input (height, width, 1) in [0, max_val], float or integer.
        sr: Final result (scale * height, scale * width, 1) in [0, max_val], rounded as it is stored.
        hr: Ground truth of the size of `sr` in [0, max_val], for defects of the reduction.
        max_val: Full-scale value.
    """

    patient: Hashable
    lr: np.ndarray
    sr: np.ndarray
    hr: np.ndarray
    max_val: float


@dataclasses.dataclass(frozen=True)
class _Measured:
    """Statistics (n, 40), thumbnails (n, 64), and the mean change of the input's statistics by each defect (n, 33)."""

    statistics: np.ndarray
    thumbnails: np.ndarray
    changes: Mapping[str, np.ndarray]

    def rows(self, chosen: np.ndarray) -> "_Measured":
        changes = {name: change[chosen] for name, change in self.changes.items()}
        return _Measured(self.statistics[chosen], self.thumbnails[chosen], changes)


def fit(training: Iterable[Sample], held_out: Iterable[Sample] = (), declared: Mapping | None = None) -> dict:
    """Returns the card's field `applicability`, of at most 16 KiB, without a pixel of a patient.

    Args:
        training: Images of the kind that the model was trained on, usually the training split. The first image of each
            patient is taken; they are read once, one at a time.
        held_out: Images of other patients, usually the validation split.
        declared: The declared use; see `tfmisr.edge.declared_use.check`. `None`: nothing is declared.

    Raises:
        InputError: Fewer than 99 patients, images that are not gray or below 32 x 32 pixels, or an invalid
            declaration.
    """
    if not declared_use.is_valid(declared or {}):
        raise InputError(f"expected values or ranges of {', '.join(declared_use.KEYWORDS)}. Received: {declared}")
    patients: set[Hashable] = set()
    train = _measured(_first_of_each(training, patients), with_defects=True)
    other = _measured(_first_of_each(held_out, patients), with_defects=False)
    require_enough(len(patients))
    reference = _stored(_reference(train))
    scores = np.concatenate([_cross_fitted(train), _scores(reference, other)])
    field = {"declared": dict(declared or {}), "statistics": reference.to_card(), "scores": _thinned(scores)}
    if not applicability_field.is_valid(field):
        raise ValueError("the field cannot be stored")
    return field


def require_enough(patients: int) -> None:
    """Checks the number of patients.

    Raises:
        InputError: It is below 99; the message says how many are missing.
    """
    if patients < LEAST_PATIENTS:
        raise InputError(
            f"expected images of at least {LEAST_PATIENTS} patients to tell which images are out of scope. Received: "
            f"{patients}; {LEAST_PATIENTS - patients} more are needed"
        )


def samples(
    places: Iterable[tuple["PixelCache", int]], upscaler: Upscaler, degradation: Degradation
) -> Iterator[Sample]:
    """Yields images with their results, one at a time.

    Args:
        places: Pairs of a cache and an index in it.
        upscaler: The model.
        degradation: Degradation model that makes LR.
    """
    for cache, index in places:
        for _, patient, max_val, lr, hr in pipeline.pairs(cache, upscaler.scale, degradation, [index]):
            stored = to_levels(lr, max_val) if degradation.quantize else lr * np.float32(max_val)
            yield Sample(patient, stored, upscaler(lr, upscaler.scale, max_val), hr, max_val)


def _first_of_each(samples: Iterable[Sample], seen: set[Hashable]) -> Iterator[Sample]:
    for sample in samples:
        if sample.patient not in seen:
            seen.add(sample.patient)
            yield sample


def _measured(samples: Iterable[Sample], with_defects: bool) -> _Measured:
    statistics, thumbnails, changes = [], [], {}
    for index, sample in enumerate(samples):
        lr = _plane(sample.lr)
        statistics.append(applicability_statistics.measure(lr, sample.sr[..., 0], sample.max_val))
        thumbnails.append(applicability_statistics.thumbnail(lr))
        for name, other in defects.simulated(lr, sample.hr[..., 0], sample.max_val, index) if with_defects else ():
            change = applicability_statistics.measure_input(other, sample.max_val) - statistics[-1][:_INPUT]
            changes.setdefault(name, []).append(change)
    count = len(statistics)
    complete = {name: np.array(each) for name, each in changes.items() if len(each) == count}
    shape = (count, len(applicability_statistics.NAMES))
    return _Measured(np.array(statistics).reshape(shape), np.array(thumbnails).reshape(count, _LAYOUT), complete)


def _plane(lr: np.ndarray) -> np.ndarray:
    least = applicability_statistics.SMALLEST
    if lr.ndim != 3 or lr.shape[-1] != 1 or min(lr.shape[:2]) < least:
        raise InputError(f"expected gray images of at least {least} x {least} pixels. Received: shape {lr.shape}")
    return lr[..., 0]


def _reference(train: _Measured) -> Reference:
    statistics = _space(train.statistics)
    thumbnail, principal = _principal(train.thumbnails)
    nothing = np.zeros(0)
    fitted = Reference(statistics, thumbnail, principal, statistics, {}, {}, nothing, nothing)
    layout = _space(fitted.coordinates(train.thumbnails))
    fitted = dataclasses.replace(
        fitted,
        layout=layout,
        discriminants=_discriminants(train, statistics),
        layout_discriminants=_layout_discriminants(train.thumbnails),
    )
    raw = fitted.raw(train.statistics, train.thumbnails)
    median = np.median(raw, axis=0)
    spread = (np.quantile(raw, 0.99, axis=0) - median) / 2.3263  # of a normal distribution
    return dataclasses.replace(fitted, median=median, spread=np.maximum(spread, _LEAST_SCALE))


def _space(values: np.ndarray) -> Space:
    """Returns mean, scale, and the whitening of rows of values."""
    mean, scale = values.mean(axis=0), np.maximum(values.std(axis=0), _LEAST_SCALE)
    return Space(mean, scale, np.linalg.cholesky(_precision((values - mean) / scale)).T)


def _precision(centered: np.ndarray) -> np.ndarray:
    """Returns the inverse of the covariance of rows, shrunk after Ledoit and Wolf."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(centered, assume_centered=True)
    # Statistics that are the same in all images have no variance, which shrinkage of all does not mend.
    return np.linalg.inv(covariance + 1e-6 * np.eye(len(covariance)))


def _principal(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and principal components of thumbnails."""
    mean = thumbnails.mean(axis=0)
    return mean, np.linalg.svd(thumbnails - mean, full_matrices=False)[2][:_PRINCIPAL]


def _discriminants(train: _Measured, space: Space) -> dict[str, np.ndarray]:
    """Returns Fisher's linear discriminant of each defect, of unit variance in the training images."""
    usual = space.deviations(train.statistics)
    precision = _precision(usual[:, :_INPUT])
    shifts = {}
    for name, changes in train.changes.items():
        altered = train.statistics.copy()
        altered[:, :_INPUT] += changes
        shifts[name] = (space.deviations(altered) - usual)[:, :_INPUT].mean(axis=0)
    rest = np.zeros(len(applicability_statistics.RESIDUAL_NAMES))
    return {name: np.append(weights, rest) for name, weights in _separating(shifts, precision).items()}


def _layout_discriminants(thumbnails: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the same of images that are inverted or turned, on thumbnails."""
    centered = thumbnails - thumbnails.mean(axis=0)
    precision = _precision(centered)
    altered = applicability_field.turned(thumbnails)
    shifts = {name: (each - thumbnails).mean(axis=0) for name, each in altered.items()}
    return _separating(shifts, precision)


def _separating(shifts: Mapping[str, np.ndarray], precision: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the discriminants of those shifts of the mean that are large enough, scaled to unit variance."""
    distances = {name: float(np.sqrt(shift @ precision @ shift)) for name, shift in shifts.items()}
    return {
        name: precision @ shift / distances[name]
        for name, shift in shifts.items()
        if distances[name] >= _LEAST_SEPARATION
    }


def _stored(reference: Reference) -> Reference:
    """Returns the reference as it is read from a card, rounded."""
    return Reference.from_card(reference.to_card())


def _scores(reference: Reference, measured: _Measured) -> np.ndarray:
    if not len(measured.statistics):
        return np.zeros(0)
    return reference.components(measured.statistics, measured.thumbnails).max(axis=1)


def _cross_fitted(train: _Measured) -> np.ndarray:
    fold = np.random.default_rng(0).permutation(len(train.statistics)) % FOLDS
    parts = [(train.rows(fold != k), train.rows(fold == k)) for k in range(FOLDS)]
    return np.concatenate([_scores(_stored(_reference(others)), part) for others, part in parts])


def _thinned(scores: np.ndarray) -> str:
    """Returns sorted scores in base64, thinned out evenly to at most 1024."""
    ordered = np.sort(scores)
    if len(ordered) > _MOST_SCORES:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _MOST_SCORES).round().astype(int)]
    return applicability_field.encoded(ordered)
