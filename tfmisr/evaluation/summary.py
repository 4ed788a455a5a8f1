"""Means over images, confidence intervals over patients and paired gains over bicubic, by model."""

import math

import numpy as np

from tfmisr import metrics
from tfmisr.evaluation.protocol import reference


def summarize(rows: list[dict], parameters: dict[str, int]) -> dict[str, dict]:
    """Returns means, 95 % bootstrap intervals over patients, and paired gains over bicubic, by model.

    An image on which a metric is infinite or undefined for any model, such as the PSNR of a blank image, is left
    out of that metric for all models that have it. Where images are left out, `<metric>_n` and `<metric>_patients`
    count the others; a metric without any image is nan. Metrics of agreement have the limits of agreement over patients
    as well, `<metric>_loa_low` and `<metric>_loa_high`.

    Args:
        rows: One dictionary per image and model: `id`, `patient`, `model`, and the metrics.
        parameters: Model to its number of parameters.
    """
    by_model = {m: [row for row in rows if row["model"] == m] for m in parameters}
    patients = np.array([row["patient"] for row in next(iter(by_model.values()))])
    names = [k for k in dict.fromkeys(k for row in rows for k in row) if k not in ("id", "patient", "model")]
    having = {name: {m: of_m for m, of_m in by_model.items() if name in of_m[0]} for name in names}
    usable = {name: _usable(name, having[name]) for name in names}
    summary = {}
    for model, model_rows in by_model.items():
        values = {"parameters": parameters[model], "n": len(model_rows), "patients": len(np.unique(patients))}
        for name in (name for name in names if model in having[name]):
            if name in _shares():
                values |= _share(name, model_rows, patients)
                continue
            compared = None if name.endswith("_hr") else having[name].get(reference(parameters))
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


def _share(name, rows, patients) -> dict[str, float]:
    """Returns the share of patients whose values add up to 0 or more, with its 95 % interval (Clopper-Pearson)."""
    from scipy import stats

    _, index = np.unique(patients, return_inverse=True)
    sums = np.bincount(index, [row[name] for row in rows])
    found = stats.binomtest(int((sums >= -1e-6).sum()), len(sums))
    low, high = found.proportion_ci(0.95)
    return {name: float(found.statistic), f"{name}_low": float(low), f"{name}_high": float(high)}


def _shares() -> set[str]:
    return {metric.name for metric in metrics.rows() if metric.share_of_patients}


def _agreements() -> set[str]:
    return {metric.name for metric in metrics.rows() if metric.agreement}


def _usable(name, by_model) -> np.ndarray:
    """Returns for each image whether the metric is finite for every model."""
    return np.all([[math.isfinite(row[name]) for row in rows] for rows in by_model.values()], axis=0)


def _counts(name, usable, patients) -> dict[str, int]:
    if usable.all():
        return {}
    return {f"{name}_n": int(usable.sum()), f"{name}_patients": len(np.unique(patients[usable]))}
