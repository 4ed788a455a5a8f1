"""Sections of a printed model card: uncertainty, applicability, task, measurements; and its tables in Markdown."""

from collections.abc import Mapping

_CALIBRATION = ("dataset", "split", "patients", "images", "delta", "confidence", "k", "beta_interval", "date")


def uncertainty_section(fields: Mapping) -> str:
    """Returns what the half-widths promise, by level; empty without."""
    found = fields.get("uncertainty")
    if not found:
        return ""
    if not found.get("levels"):
        text = "The model has an uncertainty head that is not calibrated: it gives no half-widths."
        return f"## Uncertainty\n\n{text} See `python -m tfmisr.calibrate --help`."
    calibration = found["calibration"]
    lines = [
        [str(alpha), cell(level["multiplier"]), cell(level.get("factors"))] for alpha, level in found["levels"].items()
    ]
    shown = {key: calibration[key] for key in _CALIBRATION if calibration.get(key) is not None}
    promise = (
        f"For a new patient like those of the calibration, with probability at least {1 - calibration['delta']:.3g}, "
        "at least 1 - alpha of the pixels of the images lie within result +- half-width (`python -m tfmisr.upscale "
        "--uncertainty`)."
    )
    return f"## Uncertainty\n\n{promise}\n\n{rows(['alpha', 'multiplier', 'factors'], lines)}\n\n{table(shown)}"


def applicability_section(fields: Mapping) -> str:
    """Returns which images the model is for; empty where its card does not say."""
    found = fields.get("applicability")
    if not found:
        return ""
    text = (
        "The header and the pixels of each image are compared with those of the calibration: p up to 0.05 is unusual; "
        "p up to 0.01, or another kind of examination, is out of scope and refused without --force."
    )
    if found["statistics"] is None:
        text = (
            "Trained on too few patients to compare pixels. The header of each image is compared: another kind of "
            "examination is out of scope and refused without --force; an image without a header is not tested."
        )
    return f"## Applicability\n\n{text}\n\n{table(found['declared'])}"


def task_section(fields: Mapping) -> str:
    """Returns what the model is worth for detecting things, against bicubic interpolation; empty where not measured."""
    found = fields.get("task")
    if not found:
        return ""
    columns = list(dict.fromkeys(key for row in found["table"] for key in row))
    lines = [[cell(row.get(key)) for key in columns] for row in found["table"]]
    text = f"AUC of a model observer, by `python -m tfmisr.observe`, protocol {found['hash']}."
    return f"## Detectability\n\n{text}\n\n{rows(columns, lines)}"


def measurements_section(fields: Mapping) -> str:
    """Returns how the model changes measured values; empty where that is not known."""
    found = (fields.get("measurements") or {}).get("ct_bias_hu")
    return f"## Mean bias of CT numbers, in HU\n\n{table(found)}" if found else ""


def table(fields: Mapping) -> str:
    """Returns fields and their values."""
    return rows(["field", "value"], [[key, cell(value)] for key, value in fields.items()])


def rows(header: list[str], lines: list[list[str]]) -> str:
    """Returns a table with a header."""
    all_lines = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in all_lines)


def cell(value: object) -> str:
    """Returns a value on one line, without characters that end a cell of a table."""
    if isinstance(value, float):
        value = f"{value:.6g}"
    elif isinstance(value, list):
        value = ", ".join(map(cell, value))
    elif isinstance(value, dict):
        value = ", ".join(f"{key} {cell(each)}" for key, each in value.items())
    text = "none" if value is None else str(value)
    return " ".join(text.replace("|", "\\|").split())
