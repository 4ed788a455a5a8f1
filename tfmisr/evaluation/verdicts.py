"""What an evaluation's numbers allow to be said: which images do not count, and whether a model beats bicubic."""

import math

from tfmisr.edge.text import counted

# Fewer patients than this decide nothing: a verdict says so instead.
FEW_PATIENTS = 5
_NO_DB = "reproduced exactly, as blank images are (infinite PSNR)"


def left_out(summary: dict[str, dict]) -> tuple[str, ...]:
    """Returns a sentence for each group of measures that some images are left out of, with the reason."""
    from tfmisr import metrics

    found = next(iter(summary.values()))
    total, groups = found["n"], {}
    for key in (k for k in found if k.endswith("_n") and not k.endswith("_hr_n")):
        name = key.removesuffix("_n")
        # A window of Hounsfield units has no PSNR for either reason; both are named.
        reason = _NO_DB if name in ("psnr", "psnr_centre") else metrics.UNDEFINED.get(name, "it is not defined there")
        groups.setdefault((total - found[key], reason), []).append(name)
    return tuple(
        f"{count} of {counted(total, 'image')} left out of {' and '.join(names)}: {reason}"
        for (count, reason), names in groups.items()
    )


def few(summary: dict[str, dict]) -> tuple[str, ...]:
    """Returns a sentence where there are too few patients for any claim."""
    patients = next(iter(summary.values()))["patients"]
    if patients >= FEW_PATIENTS:
        return ()
    return (f"{counted(patients, 'patient')}: too few to judge a model by (at least {FEW_PATIENTS} are needed)",)


def verdict(summary: dict[str, dict], model: str) -> str:
    """Returns one line: by how much `model` beats bicubic, that it does not, or that the images cannot tell."""
    found = summary[model]
    gain, low, high = (found.get(f"psnr_gain{end}", math.nan) for end in ("", "_low", "_high"))
    images, patients = found.get("psnr_n", found["n"]), found.get("psnr_patients", found["patients"])
    count = f"{counted(images, 'image')} of {counted(patients, 'patient')}"
    if not images:
        return f"{model} and bicubic cannot be compared in dB: no image has a PSNR, as blank ones have none"
    if patients < FEW_PATIENTS:
        return f"too few to judge: {model} against bicubic {gain:+.2f} dB on {count}, at least {FEW_PATIENTS} needed"
    # An interval that leaves 0 out is not written as one that begins there.
    digits = 4 if low * high > 0 and min(abs(low), abs(high)) < 0.005 else 2
    interval = f" (95 % interval {low:+.{digits}f} to {high:+.{digits}f})" if math.isfinite(low) else ""
    if gain > 0 and not low <= 0:
        return f"{model} beats bicubic by {gain:.{digits}f} dB{interval} on {count}"
    if gain < 0 and not high >= 0:
        return f"{model} is worse than bicubic by {-gain:.{digits}f} dB{interval} on {count}"
    return f"{model} and bicubic cannot be told apart: {gain:+.2f} dB{interval} on {count}"
