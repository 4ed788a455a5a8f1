"""Reads what `python -m tfmisr.reader_study export` wrote, strictly: study.json, ratings.csv, preferences.csv."""

import csv
import dataclasses
import json
import math
import pathlib

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted

SIMULATED = "SIMULATED READERS"
# A study of 50 readers and 10,000 images has a ratings.csv of some 200 MB.
_LARGEST_TABLE, _LARGEST_STUDY = 2**30, 2**26
_CHOICES = {"left": 1, "right": -1, "none": 0}
_RATING = ("reader", "session", "position", "case", "arm", "question", "score", "repeat", "training", "active_ms")
_PREFERENCE = ("reader", "session", "position", "case", "arm_left", "arm_right", "choice", "repeat", "training")


@dataclasses.dataclass(frozen=True)
class Question:
    """A question, answered by 1 to `scale`; `margin` is its non-inferiority margin in points, None without."""

    name: str
    text: str
    scale: int
    anchors: tuple[str, ...]
    margin: float | None


@dataclasses.dataclass(frozen=True)
class Study:
    """What study.json says.

    Attributes:
        title: Of the study.
        hash: Of the frozen study.
        simulated: Whether any reader is no person.
        arms: Their names.
        reference: Index of the arm that the others may not be inferior to, or None.
        cases: Names of the judged cases, without those of the training.
        questions: With their margins.
        primary: Name of the question that the study was planned for, or None.
        seed: Of all draws.
        cautions: Sentences about the export that whoever reads the numbers must know.
        plan: What the study file says about the analysis in words.
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
    """The answers, one row each, as arrays of one length; names are indices into the lists of the study.

    Attributes:
        readers: Names of the readers, sorted.
        reader, case, arm, question: Indices.
        score: From 1.
        session, position: Where in the reader's order.
        active_ms: Reading time without breaks, nan where it is not known.
        too_fast: Whether it was below the study's minimum.
        repeat, training: Flags.
        versions: Names of the software versions that took the answers.
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
    """The answers to the pairwise question: `choice` is 1 for the left image, -1 for the right, 0 for none."""

    reader: np.ndarray
    case: np.ndarray
    left: np.ndarray
    right: np.ndarray
    choice: np.ndarray
    excluded: int


def read_study(path) -> Study:
    """Reads study.json.

    Raises:
        InputError: It is missing, larger than a study can be, or not as `export` writes it.
    """
    path = pathlib.Path(path)
    found = _json(path)
    try:
        planned = found.get("analysis") or {}
        arms = tuple(str(arm["name"]) for arm in found["arms"])
        study = Study(
            title=str(found["title"]),
            hash=str(found["hash"]),
            simulated=_simulated(found),
            arms=arms,
            reference=_reference(found["arms"], planned.get("reference")),
            cases=tuple(str(case["id"]) for case in found["cases"] if not case["training"]),
            questions=tuple(_question(q, planned.get("margins") or {}) for q in found["questions"]),
            primary=planned.get("primary"),
            seed=int(found.get("seed") or 0),
            cautions=tuple(_cautions(found)),
            plan=str(planned.get("plan") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"expected the study.json of `study export` at {path}; missing or odd: {error!r}") from error
    _check_study(study, path)
    return study


def read_ratings(path, study: Study) -> Ratings:
    """Reads ratings.csv.

    Raises:
        InputError: A column is missing, or a row names something the study does not have.
    """
    rows = _table(path, _RATING)
    if not rows:
        raise InputError(f"expected ratings in {path}, which has a header only; export again after readers answered")
    _same_study(rows, study, path)
    names = [q.name for q in study.questions]
    scales = [q.scale for q in study.questions]
    readers = tuple(sorted({row["reader"] for row in rows}))
    question = _indices(rows, "question", names, path)
    score = _numbers(rows, "score", path)
    wrong = np.flatnonzero((score < 1) | (score > np.array(scales)[question]))
    if len(wrong):
        row = rows[wrong[0]]
        raise InputError(f"expected a score on the scale in row {wrong[0] + 2} of {path}. Received: {row['score']!r}")
    return Ratings(
        readers=readers,
        reader=_indices(rows, "reader", readers, path),
        case=_indices(rows, "case", study.cases, path, training="training"),
        arm=_indices(rows, "arm", study.arms, path),
        question=question,
        score=score.astype(np.int64),
        session=_numbers(rows, "session", path),
        position=_numbers(rows, "position", path),
        active_ms=_numbers(rows, "active_ms", path, empty=math.nan),
        too_fast=_flags(rows, "too_fast", path),
        repeat=_flags(rows, "repeat", path),
        training=_flags(rows, "training", path),
        versions=tuple(sorted({row.get("software_version") or "unknown" for row in rows})),
    )


def read_preferences(path, study: Study, readers: tuple[str, ...]) -> Preferences | None:
    """Reads preferences.csv; None where there is none, or nobody answered.

    Raises:
        InputError: As `read_ratings`.
    """
    if not pathlib.Path(path).is_file():
        return None
    rows = _table(path, _PREFERENCE)
    _same_study(rows, study, path)
    kept = [row for row in rows if row["training"] != "1" and row["repeat"] != "1"]
    if not kept:
        return None
    readers = tuple(sorted({*readers, *(row["reader"] for row in kept)}))
    return Preferences(
        reader=_indices(kept, "reader", readers, path),
        case=_indices(kept, "case", study.cases, path),
        left=_indices(kept, "arm_left", study.arms, path),
        right=_indices(kept, "arm_right", study.arms, path),
        choice=np.array([1, -1, 0])[_indices(kept, "choice", list(_CHOICES), path)],
        excluded=len(rows) - len(kept),
    )


def _simulated(found):
    """Readers that are no people are marked in the list of readers; a whole made-up study is marked at its top."""
    readers = (found.get("export") or {}).get("readers") or []
    return bool(found.get("simulated")) or any(reader.get("simulated") for reader in readers)


def _cautions(found):
    """Yields what `export` and `build` noted that limits the numbers."""
    export = found.get("export") or {}
    if export.get("forced"):
        yield "The study was open when its answers were exported: these are not its final numbers."
    if broken := list(export.get("broken") or []):
        count = counted(len(broken), "finding")
        yield f"Something was changed by other means than this program ({count}): {broken[0]}."
    rows = export.get("readers") or []
    parts = [(reader["label"], reader.get("answered", 0), reader.get("trials", 0)) for reader in rows]
    late = [f"{label} ({answered} of {trials})" for label, answered, trials in parts if answered < trials]
    if late:
        yield f"Readers who have not finished: {', '.join(late)}. Who has no answer is in no number here."
    cases = sum(not case["training"] for case in found["cases"])
    if (patients := int(found.get("patients") or cases)) < cases:
        yield (
            f"The {cases} cases are of {counted(patients, 'patient')}: intervals and tests take cases as independent, "
            "which makes them too narrow and too small."
        )


def _reference(arms, name):
    """Returns the place of the named arm, or else of the ground truth."""
    for i, arm in enumerate(arms):
        if arm["name"] == name if name else arm.get("truth"):
            return i
    return None


def _question(found, margins):
    name, margin = str(found["key"]), margins.get(found["key"])
    anchors = tuple(map(str, found["anchors"]))
    return Question(name, str(found["text"]), len(anchors), anchors, None if margin is None else float(margin))


def _check_study(study, path):
    names = [q.name for q in study.questions]
    for what, found in (("arms", study.arms), ("cases", study.cases), ("questions", names)):
        if not found or len(set(found)) < len(found):
            raise InputError(f"expected `{what}` with names that differ in {path}. Received: {list(found)[:8]}")
    for q in study.questions:
        if q.margin is not None and not 0 < q.margin < 100:
            raise InputError(f"expected a margin above 0 for question {q.name} in {path}. Received: {q.margin}")
        if not 2 <= q.scale <= 100:
            raise InputError(f"expected 2 to 100 anchors of question {q.name} in {path}. Received: {q.scale}")


def _json(path):
    try:
        if path.stat().st_size > _LARGEST_STUDY:
            raise InputError(f"expected a study.json below {_LARGEST_STUDY >> 20} MiB at {path}")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"expected a study.json at {path}; run: python -m tfmisr.reader_study export") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON at {path}: {error}") from error


def _table(path, columns):
    path = pathlib.Path(path)
    try:
        if path.stat().st_size > _LARGEST_TABLE:
            raise InputError(f"expected a table below {_LARGEST_TABLE >> 20} MiB at {path}")
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"expected columns {', '.join(missing)} in {path}; export the study again")
            rows = list(reader)
    except FileNotFoundError as error:
        raise InputError(f"expected a table at {path}; run: python -m tfmisr.reader_study export") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a table in UTF-8 at {path}: {error}") from error
    broken = next((i for i, row in enumerate(rows) if None in row or None in row.values()), None)
    if broken is not None:
        raise InputError(f"expected as many values as columns in row {broken + 2} of {path}")
    return rows


def _same_study(rows, study, path):
    others = {row["study_hash"] for row in rows if "study_hash" in row} - {study.hash}
    if others:
        raise InputError(
            f"expected answers of study {study.hash[:12]} only in {path}; answers of different studies are not pooled. "
            f"Received: {sorted(others)[0][:12]!r}"
        )


def _indices(rows, column, names, path, training=None):
    """Returns each value's place among the names; in training rows, where allowed, an unknown name is -1."""
    places = {name: i for i, name in enumerate(names)}
    result = np.array([places.get(row[column], -1) for row in rows], np.int64)
    for i in np.flatnonzero(result < 0):
        if training is None or rows[i][training] != "1":
            raise InputError(f"expected a known {column} in row {i + 2} of {path}. Received: {rows[i][column]!r}")
    return result


def _numbers(rows, column, path, empty=None):
    """Returns a column; of whole numbers, or where something stands for an empty field, of any finite ones."""
    result = np.empty(len(rows))
    for i, row in enumerate(rows):
        text = row[column]
        if not text and empty is not None:
            result[i] = empty
            continue
        try:
            result[i] = float(text)
        except ValueError:
            result[i] = math.nan
        if not math.isfinite(result[i]) or (empty is None and not result[i].is_integer()):
            kind = "whole number" if empty is None else "number"
            raise InputError(f"expected a {kind} in column {column}, row {i + 2} of {path}. Received: {text!r}")
    return result


def _flags(rows, column, path):
    texts = [row.get(column, "0") for row in rows]
    wrong = next((i for i, text in enumerate(texts) if text not in ("0", "1", "")), None)
    if wrong is not None:
        raise InputError(f"expected 0 or 1 in column {column}, row {wrong + 2} of {path}. Received: {texts[wrong]!r}")
    return np.array([text == "1" for text in texts])
