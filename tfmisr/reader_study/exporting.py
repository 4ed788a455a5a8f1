"""Exports the ratings with their arms: the only step that ends the blinding; the audit log records it (R-17)."""

import json
import os
import pathlib
from collections.abc import Iterator

import tfmisr
from tfmisr import cli
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.reader_study import verification
from tfmisr.reader_study.csv_export import PREFERENCE_COLUMNS, RATING_COLUMNS, csv_text
from tfmisr.reader_study.database import COMMAND_LINE
from tfmisr.reader_study.rules import PREFERENCE
from tfmisr.reader_study.store import Store, Trial


def export(store: Store, folder: str | os.PathLike, force: bool = False) -> list[pathlib.Path]:
    """Writes `ratings.csv`, `preferences.csv` if the study has paired comparisons, and `study.json`.

    Args:
        store: Store of the study.
        folder: Output folder; existing files with these names are replaced.
        force: Whether to export although the study is open or failed the integrity check.

    Returns:
        The paths of the files.

    Raises:
        InputError: The study is open, or was changed by other means than this program.
    """
    folder = pathlib.Path(folder)
    _require_closed(store, force)
    errors = verification.integrity_errors(store)
    if errors and not force:
        raise InputError(f"the study was changed by other means than this program: {errors[0]}; see verify, or --force")
    cli.require_writable(folder)
    # Recorded first: no interruption leaves an export without its row of the audit log.
    store.log_event(COMMAND_LINE, "unblinded", {"forced": force and not store.closed_at(), "broken": errors})
    tables = {"ratings.csv": (RATING_COLUMNS, _ratings(store))}
    if store.study.plan.pairs:
        tables["preferences.csv"] = (PREFERENCE_COLUMNS, _preferences(store))
    for name, (columns, rows) in tables.items():
        write_text(folder / name, csv_text(columns, rows))
    write_text(folder / "study.json", json.dumps(_study(store, force, errors), indent=1) + "\n")
    return [folder / name for name in (*tables, "study.json")]


def _require_closed(store: Store, force: bool) -> None:
    if store.closed_at() or force:
        return
    rows = store.progress()
    unfinished = sum(row["answered"] < row["trials"] for row in rows)
    raise InputError(
        f"the study is open, and an export would end the blinding ({unfinished} of {len(rows)} readers have not "
        "finished); run close first, or use --force, which is recorded in the audit log"
    )


def _ratings(store: Store) -> Iterator[dict]:
    for row, trial, answers in _answered(store):
        if len(trial.arms) == 1:
            for question in store.keys:
                yield {**row, "arm": trial.arms[0], "question": question, "score": answers[question]}


def _preferences(store: Store) -> Iterator[dict]:
    for row, trial, answers in _answered(store):
        if len(trial.arms) == 2:
            left, right = trial.arms
            yield {
                **row,
                "arm_left": left,
                "arm_right": right,
                "question": PREFERENCE,
                "choice": answers[PREFERENCE],
            }


def _answered(store: Store) -> Iterator[tuple[dict, Trial, dict]]:
    """Yields for each answered trial the columns of both tables, the trial and its answers."""
    for number, label in store.readers():
        for trial, _, columns in store.commits(number):
            answers = columns.pop("answers")
            row = {
                "study_hash": store.study.hash,
                "reader": label,
                "session": trial.session,
                "position": trial.position,
                "case": trial.case,
                "repeat": int(trial.repeat),
                "training": int(trial.training),
                **columns,
            }
            yield row, trial, answers


def _study(store: Store, force: bool, errors: list[str]) -> dict:
    """Returns study.json with how, when and in which state it was exported."""
    rows, head = store.audit_head()
    displays = {label: store.displays(number) for number, label in store.readers()}
    return {
        **store.study.values,
        "export": {
            "at": store.database.time(),
            "forced": force and not store.closed_at(),
            "closed_at": store.closed_at(),
            "broken": errors,
            "software_version": tfmisr.__version__,
            "audit_rows": rows,
            "audit_head": head,
            "readers": [{**row, "displays": displays[row["label"]]} for row in store.progress()],
        },
    }


__getattr__ = renamed(
    __name__,
    RATINGS="tfmisr.reader_study.csv_export.RATING_COLUMNS",
    PREFERENCES="tfmisr.reader_study.csv_export.PREFERENCE_COLUMNS",
)
