"""Validation of a study's design: texts, numeric ranges, arms, and blinding."""

import itertools
import re
import typing

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError, hint

if typing.TYPE_CHECKING:
    from tfmisr.reader_study.design import Design

# The full-resolution image, as an arm's model and as a pane: its name in study files, and the one that frozen studies
# store and that study files of earlier releases have.
REFERENCE, STORED_REFERENCE = "reference", "truth"
PANES = ("lr", "rated", STORED_REFERENCE)
INTERPOLATIONS = ("smooth", "nearest")
# The interpolation whose images equal the pane `lr`, which has pixels as squares.
_AS_SQUARES = "nearest"
PREFERENCE = "preference"
CATEGORIES = 5


def stored_name(name: str) -> str:
    """Returns the name under which a frozen study stores a model or a pane: `truth` for `reference`."""
    return STORED_REFERENCE if name == REFERENCE else name


def check(design: "Design") -> None:
    """Checks a design.

    Raises:
        InputError: A value that no study can have.
    """
    _check_texts(design)
    _check_numbers(design)
    _check_arms(design)
    _check_blinding(design)


def _check_texts(design: "Design") -> None:
    for name in ("title", "instructions"):
        if not isinstance(getattr(design, name), str):
            raise InputError(f"{name} must be a string. Received: {getattr(design, name)!r}")
    for name in ("scale", "seed"):
        if type(getattr(design, name)) is not int:
            raise InputError(f"{name} must be a whole number. Received: {getattr(design, name)!r}")
    keys = [question.key for question in design.questions]
    for question in design.questions:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", question.key) or question.key == PREFERENCE:
            raise InputError(f"a question's key must be one lower-case word. Received: {question.key!r}")
        if len(question.anchors) != CATEGORIES:
            raise InputError(
                f"question {question.key} must have {CATEGORIES} anchors, for 1 to 5. Received: {len(question.anchors)}"
            )
    if len(set(keys)) < len(keys):
        raise InputError(f"questions must have different keys. Received: {', '.join(keys)}")


def _check_numbers(design: "Design") -> None:
    cases, order, reading = design.cases, design.order, design.reading
    if design.scale not in (2, 3, 4, 8):
        raise InputError(f"scale must be 2, 3, 4 or 8. Received: {design.scale}")
    if bool(cases.dataset) == bool(cases.files):
        raise InputError("[cases] must have either dataset or files")
    if cases.files and (cases.data_dir or cases.manual_dir):
        raise InputError("[cases] data_dir and manual_dir apply to dataset, not to files")
    _check_pattern(cases.patient_pattern)
    lower_bounds = {
        "seed": (design.seed, 0),
        "[cases] count": (cases.count, 2),
        "[cases] training": (cases.training, 0),
        "[order] min_distance": (order.min_distance, 1),
        "[order] repeat_distance": (order.repeat_distance, 1),
        "[order] washout_days": (order.washout_days, 0),
        "[reading] minimum_seconds": (reading.minimum_seconds, 0),
        "[reading] break_minutes": (reading.break_minutes, 0),
        "[degradation] blur_sigma": (design.degradation.blur_sigma, 0),
        "[degradation] noise_std": (design.degradation.noise_std, 0),
    }
    for name, (value, bound) in lower_bounds.items():
        if value < bound:
            raise InputError(f"{name} must be at least {bound}. Received: {value}")
    if order.min_distance > cases.count:
        raise InputError(
            f"[order] min_distance must be at most {cases.count}, the number of cases. Received: {order.min_distance}"
        )
    if not 0 <= order.repeats <= 0.5:
        raise InputError(f"[order] repeats must be in [0, 0.5]. Received: {order.repeats}")
    if not 1 <= order.sessions <= len(design.arms):
        raise InputError(
            f"[order] sessions must be 1 to {len(design.arms)}, the number of arms. Received: {order.sessions}"
        )
    display = design.display
    if "rated" not in display.panes or len(set(display.panes)) < len(display.panes) or set(display.panes) - set(PANES):
        raise InputError(f"[display] panes must be rated, and optionally lr and reference. Received: {display.panes}")
    if display.interpolation not in INTERPOLATIONS:
        raise InputError(f"[display] interpolation must be smooth or nearest. Received: {display.interpolation}")


def _check_pattern(pattern: str | None) -> None:
    try:
        groups = 1 if pattern is None else re.compile(pattern).groups
    except re.error as error:
        raise InputError(
            f"[cases] patient_pattern must be a regular expression ({error}). Received: {pattern}"
        ) from error
    if groups != 1:
        raise InputError(f"[cases] patient_pattern must have one group, as in '(.+)_[0-9]+'. Received: {pattern}")


def _check_arms(design: "Design") -> None:
    names = [arm.name for arm in design.arms]
    if len(names) < 2 or len({name.lower() for name in names}) < len(names) or not all(n.strip() for n in names):
        raise InputError(f"a study needs two or more arms with different names. Received: {', '.join(names)}")
    for pair in design.pairs:
        if pair[0] == pair[1]:
            raise InputError(f"[preference] pairs must be of two different arms. Received: {pair[0]} twice")
    analysis = design.analysis
    referenced = {*itertools.chain(*design.pairs), *({analysis.reference} - {None})}
    for name in sorted(referenced - set(names)):
        raise InputError(f"expected one of the arms {', '.join(names)}. Received: {name}{hint(name, names)}")
    keys = [question.key for question in design.questions]
    for key in sorted({*analysis.margins, *({analysis.primary} - {None})} - set(keys)):
        suggestion = hint(key, keys)
        raise InputError(f"[analysis]: expected one of the questions {', '.join(keys)}. Received: {key}{suggestion}")
    for key, margin in analysis.margins.items():
        if margin <= 0:
            raise InputError(f"[analysis] margins {key} must be above 0. Received: {margin}")


def _check_blinding(design: "Design") -> None:
    """Raises `InputError` if readers could recognize an arm: by its name in a text, or beside the pane `lr` (R-02)."""
    for arm in design.arms:
        if "lr" in design.display.panes and arm.model == _AS_SQUARES:
            raise InputError(same_as_pane(arm.name))
    texts = [design.title, design.instructions, *(q.text for q in design.questions)]
    texts += [question.key for question in design.questions]  # visible in the page's source
    texts += [anchor for question in design.questions for anchor in question.anchors]
    texts += [design.preference.text] if design.preference else []
    for arm in design.arms:
        pattern = rf"(?<!\w){re.escape(arm.name)}(?!\w)"
        for text in texts:
            if re.search(pattern, text, re.IGNORECASE):
                raise InputError(f"readers would see the arm's name {arm.name} in {text[:60]!r}; rename the arm")


def same_as_pane(arm: str) -> str:
    """Returns why a study with an arm that equals the low-resolution pane is refused."""
    return (
        f"arm {arm} looks exactly like the pane lr beside it (pixels as squares), so readers would recognize it; "
        "leave lr out of [display] panes, or leave the arm out"
    )


__getattr__ = renamed(__name__, TRUTH="STORED_REFERENCE")
