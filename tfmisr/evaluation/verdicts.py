"""Conclusions of an evaluation: which images were left out, and whether a model beats the interpolation."""

import math

from tfmisr import metrics
from tfmisr.edge.text import counted
from tfmisr.evaluation.protocol import reference

# With fewer patients than this no conclusion is drawn.
FEW_PATIENTS = 5
# A network that starts as the interpolation is never so far below it by too short a training alone.
_DIVERGED_PSNR = 3.0  # dB
DIVERGED = "; its training has diverged or was much too short: compare history.csv, or try a lower --learning_rate"


def left_out(summary: dict[str, dict]) -> tuple[str, ...]:
    """Returns a sentence for each group of metrics that some images are left out of, with the reason."""
    values = {key: value for of_model in summary.values() for key, value in of_model.items()}
    total, groups = values["n"], {}
    for key in (k for k in values if k.endswith("_n") and not k.endswith("_hr_n")):
        name = key.removesuffix("_n")
        reason = metrics.get(name.removesuffix("_center")).undefined
        groups.setdefault((total - values[key], reason), []).append(name)
    return tuple(
        f"{count} of {counted(total, 'image')} left out of {' and '.join(names)}: {reason}"
        for (count, reason), names in groups.items()
    )


def few(summary: dict[str, dict]) -> tuple[str, ...]:
    """Returns a sentence where there are too few patients for any claim."""
    patients = next(iter(summary.values()))["patients"]
    if patients >= FEW_PATIENTS:
        return ()
    return (f"{counted(patients, 'patient')}: too few to evaluate a model (at least {FEW_PATIENTS} are needed)",)


def verdict(summary: dict[str, dict], model: str) -> str:
    """Returns one line: the gain of `model` over bicubic, or spline for planes; or that it is not significant."""
    values, base = summary[model], reference(summary)
    gain, low, high = (values.get(f"psnr_gain{end}", math.nan) for end in ("", "_low", "_high"))
    images, patients = values.get("psnr_n", values["n"]), values.get("psnr_patients", values["patients"])
    count = f"{counted(images, 'image')} of {counted(patients, 'patient')}"
    if not images:
        return f"{model} and {base} cannot be compared in dB: no image has a PSNR, as blank ones have none"
    if patients < FEW_PATIENTS:
        few_patients = f"at least {FEW_PATIENTS} needed"
        return f"too few patients to compare: {model} against {base} {gain:+.2f} dB on {count}, {few_patients}"
    # An interval that excludes 0 must not be rounded to one that begins or ends at 0.
    digits = 4 if low * high > 0 and min(abs(low), abs(high)) < 0.005 else 2
    interval = f" (95 % interval {low:+.{digits}f} to {high:+.{digits}f})" if math.isfinite(low) else ""
    if gain > 0 and not low <= 0:
        return f"{model} beats {base} by {gain:.{digits}f} dB{interval} on {count}"
    if gain < 0 and not high >= 0:
        worse = f"{model} is worse than {base} by {-gain:.{digits}f} dB{interval} on {count}"
        return worse + (DIVERGED if gain < -_DIVERGED_PSNR else "")
    return f"{model} and {base} cannot be told apart: {gain:+.2f} dB{interval} on {count}"
