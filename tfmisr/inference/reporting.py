"""Makes the report on one upscaled file from what its examination found (T-50)."""

import dataclasses
import datetime
import pathlib
import re
import typing

import tfmisr
from tfmisr.cluster import stores
from tfmisr.edge import report as reports
from tfmisr.edge.text import three_digits
from tfmisr.inference.examination import IN_SCOPE, NOT_TESTED, Checks, Examination, describe

if typing.TYPE_CHECKING:
    from tfmisr.edge.derived.half_width_map import HalfWidthStatement

APPLIES, NOT_APPLICABLE, NOT_VERIFIED, NONE = GUARANTEES = ("applies", "not applicable", "not verified", "none")
_LONGEST = 200  # characters of the reasons in Derivation Description, which holds 1,024 in all


def guarantee(examination: Examination) -> str:
    """Returns whether the statement on the half-widths holds for the file: one of `GUARANTEES`.

    It is a statement on images like those of the calibration: not applicable where a verdict says otherwise, not
    verified where none was reached, and none where there is no half-width.
    """
    if not examination.half_widths:
        return NONE
    if examination.outcome in ("", NOT_TESTED):
        return NOT_VERIFIED
    return APPLIES if examination.outcome == IN_SCOPE else NOT_APPLICABLE


def make(
    examination: Examination, source: pathlib.Path, result: pathlib.Path, half_width: pathlib.Path | None
) -> reports.Report:
    """Returns the report.

    Args:
        examination: Of the file, after its last frame.
        source: The input.
        result: The file that was written.
        half_width: The file of its half-widths, if one was written.
    """
    from tfmisr.edge import images

    frame, upscaler = examination.frame, examination.checks.upscaler
    height, width = frame.size
    content = {
        "report_version": reports.VERSION,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "input": {
            "sha256": stores.sha256(source),
            "format": images.detect_format(source),
            "height": height // examination.scale,
            "width": width // examination.scale,
            "frames": examination.count,
            "header": reports.describe_header(examination.header),
        },
        "output": {
            "sha256": stores.sha256(result),
            "height": height,
            "width": width,
            "half_width_sha256": None if half_width is None else stores.sha256(half_width),
        },
        "model": reports.describe_model(upscaler.card, upscaler.name, upscaler.weights_sha256, examination.scale),
        "described_frame": examination.index + 1,
        "applicability": _applicability(examination),
        "guarantee": {"state": guarantee(examination), "statement": statement(examination)},
        "consistency": frame.agreement and dataclasses.asdict(frame.agreement) | {"correction": upscaler.consistency},
        "half_width": _half_width(examination),
        "energy_beyond_nyquist": frame.energy_beyond_nyquist,
        "versions": reports.versions(tfmisr.__version__),
    }
    return reports.Report(reports.finite(content), frame)


def statement(examination: Examination) -> str | None:
    """Returns what the half-widths promise, in a sentence; `None` without."""
    return examination.checks.half_width.statement if examination.half_widths else None


def dicom_statement(checks: Checks) -> "HalfWidthStatement":
    """Returns what the half-widths promise, for DICOM."""
    from tfmisr.edge.derived.half_width_map import HalfWidthStatement

    half_width = checks.half_width
    calibration, head = half_width.calibration, checks.upscaler.card["uncertainty"]["head"]
    delta, patients = calibration["delta"], calibration["patients"]
    return HalfWidthStatement(half_width.alpha, delta, half_width.multiplier, patients, head["weights_sha256"])


def summary(examination: Examination) -> str:
    """Returns the part of a log line on applicability and half-widths; empty for a model without them."""
    parts = []
    if examination.outcome:
        verdict = examination.verdict
        tested = "" if verdict is None or verdict.p_value is None else f" (p {verdict.p_value:.2g})"
        parts.append(examination.outcome + tested if verdict else f"applicability {NOT_TESTED}")
    if half_widths := examination.half_widths:
        parts.append(f"half-width {three_digits(half_widths.mean)} {examination.unit} on average")
    return "".join(f"; {part}" for part in parts)


def warning(examination: Examination) -> str:
    """Returns a sentence where the file is unlike the images that the model is made for; empty where it is not."""
    if (outcome := examination.outcome) in ("", IN_SCOPE):
        return ""
    name = examination.checks.upscaler.name
    if outcome == NOT_TESTED:
        text = f"{examination.source}: whether {name} is made for it was not tested ({_untested(examination)})"
        return "; ".join([text, *(examination.verdict.header_mismatches if examination.verdict else ())])
    void = " the guarantee of its half-widths is not applicable" if examination.half_widths else ""
    text = f"{examination.source} is {outcome} for {name} ({describe(examination.verdict)})"
    other = f"; --model {examination.alternative} is made for it" if examination.alternative else ""
    return text + (f";{void}" if void else "") + other


def described(examination: Examination) -> str:
    """Returns `Product.applicability`: why no guarantee is known to apply to the image; empty for one in scope."""
    if examination.outcome in ("", IN_SCOPE, NOT_TESTED):
        return NOT_TESTED if guarantee(examination) == NOT_VERIFIED else ""
    forced = ", forced" if examination.is_forced else ""
    reasons = re.sub(r"[^ -\[\]-}]", "_", describe(examination.verdict))
    if len(reasons) > _LONGEST:
        reasons = reasons[:_LONGEST].rpartition("; ")[0] + "; and more"
    return f"{examination.outcome}{forced} ({reasons})"


def _applicability(examination) -> dict:
    verdict = examination.verdict
    return {
        "outcome": examination.outcome or NOT_TESTED,
        "p_value": verdict and verdict.p_value,
        "deviations": list(verdict.deviations) if verdict else [],
        "header_mismatches": list(verdict.header_mismatches) if verdict else [],
        "not_stated": list(verdict.not_stated) if verdict else [],
        "forced": examination.is_forced,
        "untested": _untested(examination),
    }


def _untested(examination) -> str:
    """Returns why there is no verdict; empty where there is one."""
    if examination.outcome == NOT_TESTED:
        applicability = examination.checks.applicability
        if applicability is not None and applicability.reference is None:
            return "it was trained on too few patients: the header alone is compared"
        return examination.checks.untested or "images in color and below 32 x 32 pixels are not"
    return "" if examination.outcome else "the model has no description of the images that it is made for"


def _half_width(examination) -> dict | None:
    found = examination.frame.half_widths
    if found is None:
        return None
    fields = dataclasses.asdict(found)
    shares = [{"at_most": limit, "share": share} for limit, share in found.shares]
    return {"unit": examination.unit, "level": examination.checks.half_width.alpha, **fields, "shares": shares}
