"""Means over images, confidence intervals over patients and paired gains over bicubic, by model."""

import math

import numpy as np

from tfmisr import metrics
from tfmisr.evaluation.protocol import REFERENCE


def summarize(rows: list[dict], parameters: dict[str, int]) -> dict[str, dict]:
    """Returns means, 95 % bootstrap intervals over patients, and paired gains over bicubic, by model.

    An image on which a metric is infinite or undefined for any model, such as the PSNR of a blank image, is left
    out of that metric for all models. Where images are left out, `<metric>_n` and `<metric>_patients` count the
    others; a metric without any image is nan. Metrics of agreement have the limits of agreement over patients as well,
    `<metric>_loa_low` and `<metric>_loa_high`.

    Args:
        rows: One dictionary per image and model: `id`, `patient`, `model`, and the metrics.
        parameters: Model to its number of parameters.
    """
    by_model = {m: [row for row in rows if row["model"] == m] for m in parameters}
    reference = by_model.get(REFERENCE)
    patients = np.array([row["patient"] for row in next(iter(by_model.values()))])
    names = [k for k in rows[0] if k not in ("id", "patient", "model")]
    usable = {name: _usable(name, by_model) for name in names}
    summary = {}
    for model, model_rows in by_model.items():
        values = {"parameters": parameters[model], "n": len(model_rows), "patients": len(np.unique(patients))}
        for name in names:
            compared = None if name.endswith("_hr") else reference
            values |= _counts(name, usable[name], patients) | _mean(name, model_rows, compared, usable[name], patients)
        summary[model] = values
    return summary


def _mean(name, rows, reference, usable, patients) -> dict[str, float]:
    """Returns the mean of a metric over the usable images, its gain over the reference, and both intervals."""
    from tfmisr.evaluation import statistics

    keys = [f"{name}{end}" for end in ("", "_low", "_high")]
    gains = [f"{name}_gain{end}" for end in ("", "_low", "_high")] if reference else []
    limits = [f"{name}_loa_low", f"{name}_loa_high"] if name in _agreements() else []
    if not usable.any():
        return dict.fromkeys([*keys, *gains, *limits], math.nan)
    values, patients = np.array([row[name] for row in rows])[usable], patients[usable]
    results = statistics.bootstrap_mean(values, patients)
    if reference:
        reference_values = np.array([row[name] for row in reference])[usable]
        results += statistics.paired_difference(values, reference_values, patients)
    results += statistics.limits_of_agreement(values, patients) if limits else ()
    return dict(zip([*keys, *gains, *limits], results, strict=True))


def _agreements() -> set[str]:
    return {metric.name for metric in metrics.rows() if metric.agreement}


def _usable(name, by_model) -> np.ndarray:
    """Returns for each image whether the metric is finite for every model."""
    return np.all([[math.isfinite(row[name]) for row in rows] for rows in by_model.values()], axis=0)


def _counts(name, usable, patients) -> dict[str, int]:
    if usable.all():
        return {}
    return {f"{name}_n": int(usable.sum()), f"{name}_patients": len(np.unique(patients[usable]))}
