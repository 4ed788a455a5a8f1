"""Tables of a classifier's results, for the report."""

from collections.abc import Callable

from tfmisr.evaluation.protocol import REFERENCE

_COLUMNS = (
    "arm",
    "AUC (95 %)",
    "DeLong's 95 %",
    "against bicubic (95 %)",
    "p (Holm)",
    "p (DeLong)",
    "Brier",
    "calibration",
    "shift (95 %)",
    "flipped",
    "to negative",
    "to positive",
    "verdict",
)


def sections(content: dict, create: Callable) -> list:
    """Returns a section for each label of a classifier.

    Args:
        content: What `observe.json` holds.
        create: `tfmisr.observers.report.Section`.
    """
    classifier = content.get("classifier")
    if not classifier:
        return []
    found = [
        create(_cell(f"{classifier['name']}: {label}"), _title(r), [(_COLUMNS, rows(r["arms"]))])
        for label, r in classifier["labels"].items()
    ]
    if left_out := classifier["left_out"]:
        reasons = "; ".join(f"{label}: {why}" for label, why in left_out.items())
        found.append(create("Labels without numbers", _cell(f"Too few patients. {reasons}."), []))
    return found


def rows(arms: dict[str, dict]) -> list[list[str]]:
    """Returns the rows of a label's table."""
    return [_row(arm, values) for arm, values in arms.items()]


def _row(arm, values):
    return [
        arm,
        f"{values['auc']:.3f} ({values['auc_low']:.3f} to {values['auc_high']:.3f})",
        f"{values['auc_delong_low']:.3f} to {values['auc_delong_high']:.3f}",
        "-" if arm == REFERENCE else signed(values, "difference"),
        *("-" if values.get(key) is None else f"{values[key]:.3f}" for key in ("p_holm", "p_delong")),
        f"{values['brier']:.4f}",
        f"{values['calibration']:+.3f}",
        signed(values, "shift"),
        *(f"{values[key]:.1%}" for key in ("flipped", "to_negative", "to_positive")),
        values["verdict"] or "-",
    ]


def signed(values: dict, name: str) -> str:
    """Returns a difference with its interval as text."""
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    return f"{values[name]:+.3f} ({low:+.3f} to {high:+.3f})"


def _title(result):
    counts = f"{result['positive']:,} images with and {result['negative']:,} without it"
    return f"{counts}, of {result['patients']:,} patients"


def _cell(text):
    return text.replace("|", "/")  # ends a cell of a Markdown table


def caption(classifier: dict) -> str:
    """Returns how a classifier's numbers were measured."""
    low, high = classifier["range"]
    height, width = classifier["size"]
    return (
        f"Classifier {classifier['name']}: images of all arms at {height}x{width} pixels, values {low:g} to {high:g}, "
        f"polarity {classifier['polarity']}; a decision is positive from {classifier['threshold']:g}. DeLong's "
        "intervals take images for independent. Calibration: mean probability minus prevalence. Shift: mean "
        "probability minus that in HR. Flipped: share of images whose decision is another than in HR."
    )
