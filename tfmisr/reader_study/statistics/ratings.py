"""Reads an export of `python -m tfmisr.reader_study export` strictly: study.json, ratings.csv, preferences.csv."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.reader_study.statistics.columns import Rows, flags, indices, numbers, read_json, read_table

SIMULATED = "SIMULATED READERS"
_CHOICES = {"left": 1, "right": -1, "none": 0}
_RATING = ("reader", "session", "position", "case", "arm", "question", "score", "repeat", "training", "active_ms")
_PREFERENCE = ("reader", "session", "position", "case", "arm_left", "arm_right", "choice", "repeat", "training")


@dataclasses.dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        name: Key of the question.
        text: The question as the reader sees it.
        scale: Number of categories; answers are 1 to `scale`.
        anchors: Verbal anchors of the categories.
        margin: Non-inferiority margin in points of the scale, or `None`.
    """

    name: str
    text: str
    scale: int
    anchors: tuple[str, ...]
    margin: float | None


@dataclasses.dataclass(frozen=True)
class Study:
    """The content of study.json that the analysis needs.

    Attributes:
        title: Title of the study.
        hash: Hash of the frozen study.
        simulated: Whether any reader is simulated.
        arms: Names of the arms.
        reference: Index of the reference arm, or `None`.
        cases: Names of the analyzed cases, without those of the training block.
        questions: The questions with their margins.
        primary: Name of the question of the primary endpoint, or `None`.
        seed: Seed of all resampling.
        cautions: Sentences about limitations of the export, for the head of the report.
        plan: Analysis plan of the study file in prose.
    """

    title: str
    hash: str
    simulated: bool
    arms: tuple[str, ...]
    reference: int | None
    cases: tuple[str, ...]
    questions: tuple[Question, ...]
    primary: str | None
    seed: int
    cautions: tuple[str, ...] = ()
    plan: str = ""


@dataclasses.dataclass(frozen=True)
class Ratings:
    """The ratings as columns: arrays (n,) of the same length.

    Attributes:
        readers: Labels of the readers, sorted.
        reader: Index into `readers`.
        case: Index into `Study.cases`; -1 for cases of the training block.
        arm: Index into `Study.arms`.
        question: Index into `Study.questions`.
        score: Score, from 1.
        session: Session, from 1.
        position: Position in the reader's order, from 1.
        active_ms: Reading time without idle time, in milliseconds; nan if unknown.
        too_fast: Whether the reading time was below the study's minimum.
        repeat: Whether the trial was a repeat.
        training: Whether the trial belonged to the training block.
        versions: Software versions that recorded the answers.
    """

    readers: tuple[str, ...]
    reader: np.ndarray
    case: np.ndarray
    arm: np.ndarray
    question: np.ndarray
    score: np.ndarray
    session: np.ndarray
    position: np.ndarray
    active_ms: np.ndarray
    too_fast: np.ndarray
    repeat: np.ndarray
    training: np.ndarray
    versions: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Preferences:
    """The paired comparisons as columns: arrays (n,) of the same length.

    Attributes:
        reader: Index of the reader.
        case: Index of the case.
        left: Index of the arm on the left.
        right: Index of the arm on the right.
        choice: 1: left preferred, -1: right preferred, 0: none.
        excluded: Number of rows that were left out: training and repeats.
    """

    reader: np.ndarray
    case: np.ndarray
    left: np.ndarray
    right: np.ndarray
    choice: np.ndarray
    excluded: int


def read_study(path: str | os.PathLike) -> Study:
    """Reads study.json.

    Raises:
        InputError: The file is missing, too large, or not as `export` writes it.
    """
    path = pathlib.Path(path)
    values = read_json(path)
    try:
        analysis = values.get("analysis") or {}
        arms = tuple(str(arm["name"]) for arm in values["arms"])
        study = Study(
            title=str(values["title"]),
            hash=str(values["hash"]),
            simulated=_is_simulated(values),
            arms=arms,
            reference=_reference(values["arms"], analysis.get("reference")),
            cases=tuple(str(case["id"]) for case in values["cases"] if not case["training"]),
            questions=tuple(_question(q, analysis.get("margins") or {}) for q in values["questions"]),
            primary=analysis.get("primary"),
            seed=int(values.get("seed") or 0),
            cautions=tuple(_cautions(values)),
            plan=str(analysis.get("plan") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"expected the study.json of an export at {path}; missing or invalid: {error!r}") from error
    _check_study(study, path)
    return study


def read_ratings(path: str | os.PathLike, study: Study) -> Ratings:
    """Reads ratings.csv.

    Args:
        path: The file.
        study: The study that the ratings belong to.

    Raises:
        InputError: A column is missing, or a row has a name that is not in the study or a score off the scale.
    """
    rows = read_table(path, _RATING)
    if not rows:
        raise InputError(f"expected ratings in {path}, which has a header only; export again after readers answered")
    _check_same_study(rows, study, path)
    names = [q.name for q in study.questions]
    scales = [q.scale for q in study.questions]
    readers = tuple(sorted({row["reader"] for row in rows}))
    question = indices(rows, "question", names, path)
    score = numbers(rows, "score", path)
    off_scale = np.flatnonzero((score < 1) | (score > np.array(scales)[question]))
    if len(off_scale):
        text = rows[off_scale[0]]["score"]
        raise InputError(f"expected a score on the scale in row {off_scale[0] + 2} of {path}. Received: {text!r}")
    return Ratings(
        readers=readers,
        reader=indices(rows, "reader", readers, path),
        case=indices(rows, "case", study.cases, path, training="training"),
        arm=indices(rows, "arm", study.arms, path),
        question=question,
        score=score.astype(np.int64),
        session=numbers(rows, "session", path),
        position=numbers(rows, "position", path),
        active_ms=numbers(rows, "active_ms", path, empty=math.nan),
        too_fast=flags(rows, "too_fast", path),
        repeat=flags(rows, "repeat", path),
        training=flags(rows, "training", path),
        versions=tuple(sorted({row.get("software_version") or "unknown" for row in rows})),
    )


def read_preferences(path: str | os.PathLike, study: Study, readers: tuple[str, ...]) -> Preferences | None:
    """Reads preferences.csv; returns `None` if there is no such file or no answer.

    Args:
        path: The file.
        study: The study that the preferences belong to.
        readers: Labels of the readers of the ratings.

    Raises:
        InputError: As for `read_ratings`.
    """
    if not pathlib.Path(path).is_file():
        return None
    rows = read_table(path, _PREFERENCE)
    _check_same_study(rows, study, path)
    kept = [row for row in rows if row["training"] != "1" and row["repeat"] != "1"]
    if not kept:
        return None
    readers = tuple(sorted({*readers, *(row["reader"] for row in kept)}))
    return Preferences(
        reader=indices(kept, "reader", readers, path),
        case=indices(kept, "case", study.cases, path),
        left=indices(kept, "arm_left", study.arms, path),
        right=indices(kept, "arm_right", study.arms, path),
        choice=np.array([1, -1, 0])[indices(kept, "choice", list(_CHOICES), path)],
        excluded=len(rows) - len(kept),
    )


def _is_simulated(values: dict) -> bool:
    """A built study marks single readers as simulated, `simulate export` the whole study."""
    readers = (values.get("export") or {}).get("readers") or []
    return bool(values.get("simulated")) or any(reader.get("simulated") for reader in readers)


def _cautions(values: dict) -> Iterator[str]:
    """Yields the limitations that `export` and `build` recorded."""
    export = values.get("export") or {}
    if export.get("forced"):
        yield "The study was open when its answers were exported: these are not its final numbers."
    if errors := list(export.get("broken") or []):
        count = counted(len(errors), "finding")
        yield f"The study was changed by other means than this program ({count}): {errors[0]}."
    rows = export.get("readers") or []
    parts = [(reader["label"], reader.get("answered", 0), reader.get("trials", 0)) for reader in rows]
    unfinished = [f"{label} ({answered} of {trials})" for label, answered, trials in parts if answered < trials]
    if unfinished:
        yield f"Readers who have not finished: {', '.join(unfinished)}. Readers without answers are not included."
    cases = sum(not case["training"] for case in values["cases"])
    if (patients := int(values.get("patients") or cases)) < cases:
        yield (
            f"The {cases} cases are of {counted(patients, 'patient')}: intervals and tests assume independent cases, "
            "so intervals are too narrow and p values too small."
        )


def _reference(arms: list[dict], name: str | None) -> int | None:
    """Returns the index of the named arm, else of the one that is the full-resolution image."""
    for i, arm in enumerate(arms):
        if arm["name"] == name if name else arm.get("truth"):
            return i
    return None


def _question(values: dict, margins: dict) -> Question:
    name, margin = str(values["key"]), margins.get(values["key"])
    anchors = tuple(map(str, values["anchors"]))
    return Question(name, str(values["text"]), len(anchors), anchors, None if margin is None else float(margin))


def _check_study(study: Study, path: pathlib.Path) -> None:
    question_names = [q.name for q in study.questions]
    for key, names in (("arms", study.arms), ("cases", study.cases), ("questions", question_names)):
        if not names or len(set(names)) < len(names):
            raise InputError(f"expected `{key}` with different names in {path}. Received: {list(names)[:8]}")
    for q in study.questions:
        if q.margin is not None and not 0 < q.margin < 100:
            raise InputError(f"expected a margin above 0 for question {q.name} in {path}. Received: {q.margin}")
        if not 2 <= q.scale <= 100:
            raise InputError(f"expected 2 to 100 anchors of question {q.name} in {path}. Received: {q.scale}")


def _check_same_study(rows: Rows, study: Study, path: str | os.PathLike) -> None:
    others = {row["study_hash"] for row in rows if "study_hash" in row} - {study.hash}
    if others:
        raise InputError(
            f"expected answers of study {study.hash[:12]} only in {path}; answers of different studies are not pooled. "
            f"Received: {min(others)[:12]!r}"
        )
