"""The result of a calibration: the card's field `uncertainty`, and a summary in Markdown."""

import dataclasses
import datetime
import hashlib
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfmisr.calibration import conformal
from tfmisr.calibration.groups import SMOOTH
from tfmisr.calibration.measuring import PatientScores, Plan
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted

# Part of the protocol: what a multiplier of another definition would not be compared with.
DEFINITION = (
    "r of a patient: 1 - alpha quantile of |HR - SR| / (factor * s) over all pixels of all images, rounded up by at "
    "most 0.1 %; multiplier: k-th smallest r; SR as stored"
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is promised, and on which images it is calibrated.

    Attributes:
        delta: Share of new patients that may not hold.
        confidence: As of `conformal.order`.
        dataset: Name of the dataset.
        split: Its splits.
        images_sha256: As of `tfmisr.evaluation.protocol.Protocol`.
        degradation: How LR was made, in words.
    """

    delta: float
    confidence: float | None
    dataset: str
    split: str
    images_sha256: str
    degradation: str


def require_enough(patients: int, settings: Settings) -> None:
    """Checks that there are enough patients for the guarantee.

    Raises:
        InputError: There are too few; the message says how many are missing.
    """
    least = conformal.least_patients(settings.delta, settings.confidence)
    if patients < least:
        sure = f" with confidence {settings.confidence:g}" if settings.confidence else ""
        raise InputError(
            f"delta {settings.delta:g}{sure} needs at least {counted(least, 'patient')}. Received: {patients} in "
            f"{settings.dataset}, split {settings.split}: {least - patients} are missing; add images of other "
            "patients, or give a larger --delta"
        )


def fields(scores: Sequence[PatientScores], plan: Plan, settings: Settings, present: Mapping, head_sha256: str) -> dict:
    """Returns the card's field `uncertainty`.

    Args:
        scores: Scores of the calibration patients.
        plan: What was measured.
        settings: What is promised.
        present: The present field, whose other entries are kept.
        head_sha256: `weights_sha256` of the head.

    Raises:
        InputError: There are too few patients, or their errors have no common measure with the scale.
    """
    require_enough(len(scores), settings)
    k = conformal.order(len(scores), settings.delta, settings.confidence)
    described = {
        "dataset": settings.dataset,
        "split": settings.split,
        "images_sha256": settings.images_sha256,
        "degradation": settings.degradation,
        "alpha": list(plan.alphas),
        "delta": settings.delta,
        "confidence": settings.confidence,
    }
    text = json.dumps({**described, "definition": DEFINITION}, sort_keys=True)
    calibration = {
        **described,
        "patients": len(scores),
        "images": sum(each.images for each in scores),
        "k": k,
        "beta_interval": [round(end, 4) for end in conformal.beta_interval(k, len(scores))],
        "protocol_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "date": datetime.date.today().isoformat(),
    }
    return {
        **present,
        "head": {"weights_sha256": head_sha256},
        "groups": plan.groups.to_card() if plan.groups and plan.factors else None,
        "levels": {f"{alpha:g}": _level(scores, alpha, plan, settings, k) for alpha in plan.alphas},
        "calibration": calibration,
    }


def _level(scores, alpha, plan, settings, k) -> dict:
    needed = np.array([each.needed[alpha] for each in scores])
    multiplier = conformal.multiplier(needed, settings.delta, settings.confidence)
    if not math.isfinite(multiplier):
        raise InputError("errors are far beyond the scale of the uncertainty head; expected one of this model's images")
    factors = dict(plan.factors.get(alpha, {}))
    held = conformal.left_out(needed, settings.delta, settings.confidence)
    return {
        "multiplier": multiplier,
        "factors": factors,
        "by_group": {name: multiplier * factor for name, factor in {SMOOTH: 1.0, **factors}.items()},
        "k": k,
        "mean_half_width": multiplier * float(np.mean([each.scale[alpha] for each in scores])),
        "held_left_out": None if held is None else int(held.sum()),
    }


def markdown(field: Mapping, notes: Sequence[str] = ()) -> str:
    """Returns a summary of a calibrated card's field `uncertainty`.

    Args:
        field: The field.
        notes: Sentences to add.
    """
    calibration = field["calibration"]
    patients, delta, confidence = (calibration[key] for key in ("patients", "delta", "confidence"))
    low, high = calibration["beta_interval"]
    groups = list(next(iter(field["levels"].values()))["by_group"])
    titles = ["pixels within", *(f"multiplier, {name}" for name in groups), "patients that hold, each left out"]
    lines = [[*titles, "mean half-width, levels of 8 bits"], ["---:"] * (len(titles) + 1)]
    for alpha, level in field["levels"].items():
        held = "-" if level["held_left_out"] is None else f"{level['held_left_out']} of {patients}"
        multipliers = [f"{level['by_group'][name]:.3f}" for name in groups]
        lines.append([f"{1 - float(alpha):.0%}", *multipliers, held, f"{255 * level['mean_half_width']:.2f}"])
    sure = f"with confidence {confidence:.0%} in this calibration" if confidence else "on average over calibrations"
    sentences = [
        f"Calibrated on {counted(calibration['images'], 'image')} of {counted(patients, 'patient')}: "
        f"{calibration['dataset']}, split {calibration['split']}.",
        f"For a new patient like these, the pixels hold with probability at least {1 - delta:.0%}, {sure}: the "
        f"multiplier is that of the patient with rank {calibration['k']} of {patients}. Of many such calibrations, "
        f"95 % serve between {low:.1%} and {high:.1%} of new patients.",
        *notes,
    ]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join([table, *sentences])
