"""Adds to a model card what evaluations found: detectability (`observe`) and the bias of CT numbers (`evaluate`).

The fields are `task`, `{hash, table}` (T-51), and `measurements`, with the mean bias in HU (T-48). Both results know
models by their names only: those of the file and of its card are looked for, and a result without them is refused.
"""

import copy
import math
from collections.abc import Mapping, Sequence

from tfmisr.edge.errors import InputError

REFERENCE = "bicubic"
MOST_HU = 1.0  # a larger shift of the mean is stated among the limits
_LIMIT = "Moves the mean of CT images by"
_COLUMNS = ("auc", "difference", "difference_low", "difference_high", "verdict")


def with_task(card: Mapping, observation: Mapping, names: Sequence[str]) -> dict:
    """Returns a card with the field `task`.

    Args:
        card: Of the model.
        observation: Content of `observe.json` of `python -m tfmisr.observe`.
        names: Names that the model may have there.

    Returns:
        The card; `task` has the hash of the observation's protocol, and a row for each task: AUC, the paired difference
        to bicubic interpolation with its 95 % interval, and the verdict.

    Raises:
        InputError: It is no such result, or of other models.
    """
    try:
        digest = str(observation["protocol"]["hash"])
        rows = [_row(result, names) for result in observation["tasks"]]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"expected observe.json of python -m tfmisr.observe, received another file ({error!r})"
        ) from error
    return {**card, "task": {"hash": digest, "table": rows}}


def _row(result: Mapping, names: Sequence[str]) -> dict:
    arms = result["arms"]
    name = _name(names, arms)
    found = {key: arms[name][key] for key in _COLUMNS}
    counts = {"windows": result["windows"], "patients": result["patients"]}
    return {"task": result["task"]["name"], **counts, "bicubic_auc": arms[REFERENCE]["auc"], **found}


def with_ct_bias(card: Mapping, metrics: Mapping, names: Sequence[str]) -> dict:
    """Returns a card with the mean bias of CT numbers in `measurements`; above 1 HU it is among the limits too.

    Args:
        card: Of the model.
        metrics: Content of `metrics.json` of `python -m tfmisr.evaluate --measures bias` on CT slices.
        names: Names that the model may have there.

    Raises:
        InputError: It is no such result, of other models, or not of CT slices in Hounsfield units.
    """
    try:
        scores, protocol = metrics["models"], metrics["protocol"]["hash"]
        found = scores[_name(names, scores)]
    except (KeyError, TypeError) as error:
        raise InputError(f"expected metrics.json of python -m tfmisr.evaluate, received another ({error!r})") from error
    if not _is_number(found.get("bias")):
        raise InputError("expected a result of python -m tfmisr.evaluate --measures bias, received one without a bias")
    numbers = {key: found.get(source) for key, source in _BIAS.items()}
    if not any(_is_number(found.get(window)) for window in _WINDOWS):
        raise InputError("expected scores of CT slices in HU, received others: there is no bias in a CT window")
    limits = [line for line in card.get("limits") or () if not line.startswith(_LIMIT)]
    if abs(numbers["mean"]) > MOST_HU:
        limits.append(f"{_LIMIT} {numbers['mean']:+.1f} HU; do not measure CT numbers in its results.")
    result = copy.deepcopy(dict(card))
    result["measurements"] = {"ct_bias_hu": {**numbers, "protocol": protocol}}
    return {**result, "limits": limits}


def _name(names: Sequence[str], known: Mapping) -> str:
    name = next((name for name in names if name in known), None)
    if name is None:
        raise InputError(f"expected a result of {' or '.join(names)}, received one of {', '.join(known)}")
    return name


_BIAS = {
    "mean": "bias",
    "low": "bias_low",
    "high": "bias_high",
    "limit_of_agreement_low": "bias_loa_low",
    "limit_of_agreement_high": "bias_loa_high",
    "images": "n",
    "patients": "patients",
}
_WINDOWS = ("bias_lung", "bias_soft_tissue", "bias_bone")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
