"""Results of detection tasks: every arm under every observer, with verdicts against bicubic interpolation."""

import dataclasses
import math
import typing
from collections.abc import Callable, Sequence

import numpy as np

from tfmisr.edge.errors import check_name
from tfmisr.edge.upscaler import Upscaler
from tfmisr.evaluation.protocol import REFERENCE
from tfmisr.observers import assessment, catalog, observers, roc, verdicts, windows
from tfmisr.observers.parts import Parts
from tfmisr.observers.search import Search
from tfmisr.observers.tasks import Task

if typing.TYPE_CHECKING:
    from tfmisr.data import Source
    from tfmisr.degradations import Degradation

OBSERVERS = catalog.OBSERVERS
_POINT = ("auc", "auc_low", "auc_high", "difference", "difference_low", "difference_high")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How tasks are measured; part of the protocol.

    Attributes:
        splits: Splits of the dataset, or `all`.
        scale: Upsampling factor.
        observer: `cho`, `npw` or `npwe`; see `tfmisr.observers.observers`.
        internal_noise: Internal noise of the observer, in levels of 8 bits.
        per_image: Largest number of windows in one image.
        max_images: Images used, evenly spaced; `None`: all.
        margin: Difference in AUC within which two arms are equivalent, fixed beforehand.
        seed: Seed of places, noise, folds and bootstrap samples.
        search: Largest distance of a signal from the middle of its window, along each axis, in pixels; 0: its place is
            known.
    """

    splits: tuple[str, ...]
    scale: int
    observer: str = "cho"
    internal_noise: float = 0.0
    per_image: int = 14
    max_images: int | None = None
    margin: float = 0.02
    seed: int = 0
    search: int = 0


def create_observer(task: Task, settings: Settings, max_val: int) -> assessment.Observer:
    """Returns the observer of a task.

    Args:
        task: The task, which knows its channels.
        settings: Name and internal noise.
        max_val: Full-scale value of the images, in whose levels windows are.

    Raises:
        InputError: There is no such observer.
    """
    check_name("observer", settings.observer, list(OBSERVERS))
    noise = settings.internal_noise * max_val / 255
    if settings.observer == "cho":
        return observers.ChannelizedHotelling(task.channels, noise)
    return observers.NonPrewhitening(settings.observer == "npwe", internal_noise=noise)


def measure(
    task: Task,
    upscalers: list[Upscaler],
    source: "Source",
    degradation: "Degradation",
    settings: Settings,
    refits: int = 0,
    progress: bool = True,
    store: Parts | None = None,
    contrasts: Sequence[float] = (),
) -> dict:
    """Returns the result of one task, as `observe.json` holds it, with the case for the pictures under `pictures`.

    Args:
        task: The task.
        upscalers: Arms beside `HR` and `LR`; bicubic is one of them.
        source: Dataset of gray images.
        degradation: Degradation model that makes LR.
        settings: How it is measured.
        refits: Bootstrap samples in which observers are trained again; 0: none.
        progress: Show a progress bar.
        store: Keeps finished images; `None`: nothing is kept.
        contrasts: Factors of the task's contrast at which AUC is measured too, for AUC against contrast.

    Raises:
        InputError: Images are in color, or there are too few patients or windows.
    """
    search = Search.of(task, settings.search) if settings.search else None
    assessment.require_patients(windows.patients(source, settings.splits, settings.max_images))

    def sampled(task):
        return windows.sample(
            upscalers,
            source,
            settings.splits,
            settings.scale,
            degradation,
            task,
            settings.per_image,
            settings.max_images,
            settings.seed,
            progress,
            store,
            search,
        )

    found = sampled(task)
    assessment.require_patients(found.patients)
    observer = create_observer(task, settings, found.max_val)
    ratings = assessment.rate(found, observer, seed=settings.seed, search=search)
    summary = assessment.summarize(ratings, REFERENCE, seed=settings.seed)
    against = against_contrast(task, summary, contrasts, sampled, observer, settings.seed, search)
    shares = assessment.transfer(found, task)
    for arm, values in summary.items():
        values["transfer"], values["transfer_deviation"] = shares[arm]
    if search:
        for values, present in zip(summary.values(), ratings.present, strict=True):
            values["d_prime"] = math.nan  # the area of LROC has none
            values["localized"] = float(np.isfinite(present).mean())
    verdicts.adjust(summary)
    if refits:
        spread = assessment.refitted(found, observer, REFERENCE, refits, settings.seed, search)
        for arm, (deviation, paired) in spread.items():
            summary[arm] |= {"refitted_deviation": deviation, "refitted_difference_deviation": paired}
    for arm, values in summary.items():
        values["verdict"] = verdicts.verdict(arm, values, settings.margin)
    curves = {a: roc.curve(x, y) for a, x, y in zip(ratings.arms, ratings.absent, ratings.present, strict=True)}
    counts = {
        "windows": len(found.patients),
        "patients": len(np.unique(found.patients)),
        "images": found.images,
    }
    return {
        "task": task.described() | {"hash": task.hash},
        **counts,
        "arms": summary,
        **({"contrasts": against} if contrasts else {}),
        "pictures": {"curves": curves, "case": _case(found, ratings)},
    }


def against_contrast(
    task: Task,
    summary: dict[str, dict],
    factors: Sequence[float],
    sampled: Callable[[Task], windows.Windows],
    observer: assessment.Observer,
    seed: int,
    search: Search | None = None,
) -> list[dict]:
    """Returns contrast and, for each arm, AUC and difference to the reference with intervals, in ascending order.

    The places, patients and noise of the degradation are those of the task; observers are trained for each contrast.

    Args:
        task: The task.
        summary: What `assessment.summarize` returns for it.
        factors: Factors of its contrast; that of 1 is there already.
        sampled: Returns the windows of a task.
        observer: The observer.
        seed: Seed of folds, internal noise and bootstrap samples.
        search: As of `assessment.rate`.
    """
    points = {task.contrast: summary}
    for contrast in {task.contrast * factor for factor in factors} - points.keys():
        ratings = assessment.rate(sampled(task.with_contrast(contrast)), observer, seed=seed, search=search)
        points[contrast] = assessment.summarize(ratings, REFERENCE, seed=seed)
    return [
        {"contrast": contrast, "arms": {arm: {key: v[key] for key in _POINT} for arm, v in points[contrast].items()}}
        for contrast in sorted(points)
    ]


def _case(found, ratings):
    """Returns the windows of all arms at the place whose signal is found by HR with the median rating."""
    order = np.argsort(ratings.present[0] - ratings.absent[0], kind="stable")
    place = int(order[len(order) // 2])
    return {arm: (found.absent[i, place], found.present[i, place]) for i, arm in enumerate(found.arms)}
