"""Results of detection tasks: every arm under every observer, with verdicts against bicubic interpolation."""

import dataclasses
import typing

import numpy as np

from tfmisr.edge.errors import check_name
from tfmisr.edge.upscaler import Upscaler
from tfmisr.evaluation.protocol import REFERENCE
from tfmisr.observers import assessment, catalog, observers, roc, windows
from tfmisr.observers.tasks import Task
from tfmisr.reader_study.statistics import comparisons

if typing.TYPE_CHECKING:
    from tfmisr.data import Source
    from tfmisr.degradations import Degradation

OBSERVERS = catalog.OBSERVERS


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
    """

    splits: tuple[str, ...]
    scale: int
    observer: str = "cho"
    internal_noise: float = 0.0
    per_image: int = 14
    max_images: int | None = None
    margin: float = 0.02
    seed: int = 0


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

    Raises:
        InputError: Images are in color, or there are too few patients or windows.
    """
    assessment.require_patients(windows.patients(source, settings.splits, settings.max_images))
    found = windows.sample(
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
    )
    assessment.require_patients(found.patients)
    observer = create_observer(task, settings, found.max_val)
    ratings = assessment.rate(found, observer, seed=settings.seed)
    summary = assessment.summarize(ratings, REFERENCE, seed=settings.seed)
    shares = assessment.transfer(found, task)
    for arm, values in summary.items():
        values["transfer"], values["transfer_deviation"] = shares[arm]
    _adjust(summary)
    if refits:
        for arm, (deviation, paired) in assessment.refitted(found, observer, REFERENCE, refits, settings.seed).items():
            summary[arm] |= {"refitted_deviation": deviation, "refitted_difference_deviation": paired}
    for arm, values in summary.items():
        values["verdict"] = verdict(arm, values, settings.margin)
    curves = {a: roc.curve(x, y) for a, x, y in zip(ratings.arms, ratings.absent, ratings.present, strict=True)}
    counts = {
        "windows": len(found.patients),
        "patients": len(np.unique(found.patients)),
        "images": found.images,
    }
    return {
        "task": dataclasses.asdict(task) | {"hash": task.hash},
        **counts,
        "arms": summary,
        "pictures": {"curves": curves, "case": _case(found, ratings)},
    }


def _adjust(summary):
    """Adds Holm's adjustment over the arms other than HR, LR and the reference."""
    tested = [arm for arm in summary if arm not in (windows.HR, windows.LR, REFERENCE)]
    for arm, adjusted in zip(tested, comparisons.holm([summary[arm]["p_value"] for arm in tested]), strict=True):
        summary[arm]["p_holm"] = adjusted


def verdict(arm: str, values: dict, margin: float) -> str:
    """Returns how an arm compares with the reference: better, worse, equivalent, undecided, or nothing for itself.

    Better and worse: the interval of the difference excludes 0, and so does Holm's test where the arm is tested.
    Equivalent: the interval lies within the margin. A difference can be both; then it is better or worse, but small.

    Args:
        arm: Name of the arm.
        values: Its entry of `measure`.
        margin: As of `Settings`.
    """
    if arm == REFERENCE:
        return ""
    low, high = values["difference_low"], values["difference_high"]
    significant = low * high > 0 and values.get("p_holm", 0.0) <= 0.05
    within = -margin < low and high < margin
    if significant:
        return ("better" if low > 0 else "worse") + (", within the margin" if within else "")
    return "equivalent" if within else "undecided"


def _case(found, ratings):
    """Returns the windows of all arms at the place whose signal is found by HR with the median rating."""
    order = np.argsort(ratings.present[0] - ratings.absent[0], kind="stable")
    place = int(order[len(order) // 2])
    return {arm: (found.absent[i, place], found.present[i, place]) for i, arm in enumerate(found.arms)}
