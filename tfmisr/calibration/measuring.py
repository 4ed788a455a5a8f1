"""Measures, patient by patient, what multiplier of the scale each of them needs; one pass over the images."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from tfmisr.calibration import groups as pixel_groups
from tfmisr.calibration.conformal import Ratios
from tfmisr.data import pipeline
from tfmisr.data.pixel_cache import PixelCache
from tfmisr.degradations import Degradation
from tfmisr.edge.errors import InputError
from tfmisr.edge.half_width import GROUPS, Groups, ScaleMap
from tfmisr.edge.upscaler import Upscaler
from tfmisr.evaluation import image_scores
from tfmisr.progress import bar


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        alphas: Shares of the pixels that may lie outside, one for each level.
        groups: Edges and letters; `None`: one group.
        factors: alpha to the factor of each group.
        by_group: Measure each group alone, too.
    """

    alphas: tuple[float, ...]
    groups: Groups | None = None
    factors: Mapping[float, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    by_group: bool = False


@dataclasses.dataclass(frozen=True)
class PatientScores:
    """What one patient needs.

    Attributes:
        patient: Number of the patient.
        images: Number of images.
        needed: alpha to the smallest multiplier with which the share 1 - alpha of the patient's pixels is covered.
        by_group: Group to the same for its pixels; nan where there are fewer than `groups.LEAST_PIXELS`.
        scale: alpha to the mean of factor * scale over the pixels, a fraction of the full scale.
    """

    patient: int
    images: int
    needed: Mapping[float, float]
    by_group: Mapping[str, Mapping[float, float]]
    scale: Mapping[float, float]


def measure(
    upscaler: Upscaler,
    head: ScaleMap,
    caches: Sequence[PixelCache],
    indices: Iterable[int],
    degradation: Degradation,
    plan: Plan,
) -> list[PatientScores]:
    """Returns the scores of all patients, in the order of their numbers; shows a progress bar.

    Args:
        upscaler: The main network.
        head: Its uncertainty head.
        caches: Decoded images, one cache after the other.
        indices: Images, counted through the caches.
        degradation: Makes LR.
        plan: What is measured.

    Raises:
        InputError: An image cannot be upscaled, or its error is not finite.
    """
    places = [image_scores.located(caches, int(index)) for index in indices]
    patients = np.array([int(cache.patients[at]) for cache, at in places])
    scores, progress = [], bar(total=len(places), desc="calibrating", unit=" images", leave=False)
    with progress:
        for patient in np.unique(patients):
            own = [places[i] for i in np.flatnonzero(patients == patient)]
            scores.append(_patient(int(patient), _images(upscaler, head, own, degradation, progress), plan))
    return scores


def _images(upscaler, head, places, degradation, progress) -> Iterator[tuple]:
    """Yields of each image the error and its scale, as fractions of the full scale, and SR in [0, 1]."""
    for cache, at in places:
        ((name, _, max_val, lr, hr),) = pipeline.pairs(cache, upscaler.scale, degradation, [at])
        full = np.float32(max_val)
        sr = upscaler(lr, upscaler.scale, max_val).astype(np.float32) / full
        scale = head.scale_map(lr, sr)
        if not (np.isfinite(scale).all() and scale.min() > 0):
            raise InputError(f"expected a scale above 0 from the uncertainty head, received none on image {name}")
        yield np.abs(hr.astype(np.float32) / full - sr), scale, sr
        progress.update()


def _patient(patient: int, images: Iterable[tuple], plan: Plan) -> PatientScores:
    ratios = {alpha: Ratios() for alpha in plan.alphas}
    names = (pixel_groups.SMOOTH, *GROUPS) if plan.by_group and plan.groups else ()
    by_group = {name: Ratios() for name in names}
    sums, count = dict.fromkeys(plan.alphas, 0.0), 0
    for error, scale, sr in images:
        with np.errstate(divide="ignore"):
            logarithms = np.log(error / scale)
        steepness = plan.groups.steepness(sr) if plan.groups else None
        for alpha in plan.alphas:
            factor = _factor(plan, alpha, steepness)
            ratios[alpha].add(logarithms - np.log(factor))
            sums[alpha] += float(np.mean(factor * scale, dtype=np.float64))
        for name, mask in pixel_groups.masks(plan.groups, steepness).items() if names else ():
            by_group[name].add(logarithms[mask])
        count += 1
    return PatientScores(
        patient,
        count,
        {alpha: each.quantile(1 - alpha) for alpha, each in ratios.items()},
        {name: _of_group(each, plan.alphas) for name, each in by_group.items()},
        {alpha: total / count for alpha, total in sums.items()},
    )


def _factor(plan: Plan, alpha: float, steepness: np.ndarray | None) -> np.ndarray:
    """Returns the factor of each pixel, to be multiplied with arrays (height, width, channels)."""
    if plan.groups is None or alpha not in plan.factors:
        return np.ones((1, 1, 1), np.float32)
    return plan.groups.factor(steepness, plan.factors[alpha])[..., None]


def _of_group(ratios: Ratios, alphas: Sequence[float]) -> dict[float, float]:
    enough = ratios.pixels >= pixel_groups.LEAST_PIXELS
    return {alpha: ratios.quantile(1 - alpha) if enough else math.nan for alpha in alphas}
