"""What a study must keep to be one: its words, its numbers, its arms, and its blinding."""

import itertools
import re

from tfmisr.edge.errors import InputError, hint

PANES = ("lr", "rated", "truth")
INTERPOLATIONS = ("smooth", "nearest")
TRUTH = "truth"
PREFERENCE = "preference"
CATEGORIES = 5


def check(design) -> None:
    """Checks a `tfmisr.reader_study.design.Design`.

    Raises:
        InputError: Something that no study can have.
    """
    _check_texts(design)
    _check_numbers(design)
    _check_arms(design)
    _check_blinding(design)


def _check_texts(design):
    for name in ("title", "instructions"):
        if not isinstance(getattr(design, name), str):
            raise InputError(f"{name} must be text. Received: {getattr(design, name)!r}")
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
        raise InputError(f"each question needs its own key. Received: {', '.join(keys)}")


def _check_numbers(design):
    cases, order, reading = design.cases, design.order, design.reading
    if design.scale not in (2, 3, 4, 8):
        raise InputError(f"scale must be 2, 3, 4 or 8. Received: {design.scale}")
    if bool(cases.dataset) == bool(cases.files):
        raise InputError("[cases] must have either dataset or files")
    if cases.files and (cases.data_dir or cases.manual_dir):
        raise InputError("[cases] data_dir and manual_dir go with dataset, not with files")
    _check_pattern(cases.patient_pattern)
    at_least = {
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
    for name, (value, least) in at_least.items():
        if value < least:
            raise InputError(f"{name} must be at least {least}. Received: {value}")
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
        raise InputError(f"[display] panes must hold rated, and lr and truth if wanted. Received: {display.panes}")
    if display.interpolation not in INTERPOLATIONS:
        raise InputError(f"[display] interpolation must be smooth or nearest. Received: {display.interpolation}")


def _check_pattern(pattern):
    try:
        groups = 1 if pattern is None else re.compile(pattern).groups
    except re.error as error:
        raise InputError(
            f"[cases] patient_pattern must be a regular expression ({error}). Received: {pattern}"
        ) from error
    if groups != 1:
        raise InputError(f"[cases] patient_pattern must have one group, as in '(.+)_[0-9]+'. Received: {pattern}")


def _check_arms(design):
    names = [arm.name for arm in design.arms]
    if len(names) < 2 or len({name.lower() for name in names}) < len(names) or not all(n.strip() for n in names):
        raise InputError(f"a study needs two arms or more, each with its own name. Received: {', '.join(names)}")
    for pair in design.pairs:
        if pair[0] == pair[1]:
            raise InputError(f"[preference] pairs must be of two arms. Received: {pair[0]} twice")
    analysis = design.analysis
    said = {*itertools.chain(*design.pairs), *({analysis.reference} - {None})}
    for name in sorted(said - set(names)):
        raise InputError(f"expected one of the arms {', '.join(names)}. Received: {name}{hint(name, names)}")
    keys = [question.key for question in design.questions]
    for key in sorted({*analysis.margins, *({analysis.primary} - {None})} - set(keys)):
        close = hint(key, keys)
        raise InputError(f"[analysis]: expected one of the questions {', '.join(keys)}. Received: {key}{close}")
    for key, margin in analysis.margins.items():
        if margin <= 0:
            raise InputError(f"[analysis] margins {key} must be above 0. Received: {margin}")


def _check_blinding(design):
    """Raises where a text for readers holds an arm's name (R-02)."""
    texts = [design.title, design.instructions, *(q.text for q in design.questions)]
    texts += [question.key for question in design.questions]  # the page's source holds it
    texts += [anchor for question in design.questions for anchor in question.anchors]
    texts += [design.preference.text] if design.preference else []
    for arm in design.arms:
        pattern = rf"(?<!\w){re.escape(arm.name)}(?!\w)"
        for text in texts:
            if re.search(pattern, text, re.IGNORECASE):
                raise InputError(f"readers would see the arm's name {arm.name} in {text[:60]!r}; rename the arm")
