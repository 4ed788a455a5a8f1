"""The ratings with their arms: the one place where the blinding ends, and an act that is written down (R-17)."""

import csv
import io
import json
import pathlib

import tfmisr
from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.reader_study import verification
from tfmisr.reader_study.database import COMMAND_LINE
from tfmisr.reader_study.rules import PREFERENCE
from tfmisr.reader_study.store import Store

_WHEN = (
    *("repeat", "training", "shown_at", "first_input_at", "committed_at", "idle_ms", "active_ms", "too_fast"),
    *("window_center", "window_width", "software_version"),
)
_WHERE = ("study_hash", "reader", "session", "position", "case")
RATINGS = (*_WHERE, "arm", "question", "score", *_WHEN)
PREFERENCES = (*_WHERE, "arm_left", "arm_right", "question", "choice", *_WHEN)


def export(store: Store, folder, force: bool = False) -> list[pathlib.Path]:
    """Writes `ratings.csv`, `preferences.csv` where there are preferences, and `study.json`, and returns their paths.

    Args:
        store: Of the study.
        folder: Made where it is not there yet; files of these names are replaced.
        force: Also while the study is open, or though something was changed.

    Raises:
        InputError: The study is open, or not as it was written.
    """
    folder = pathlib.Path(folder)
    _require_closed(store, force)
    broken = verification.broken(store)
    if broken and not force:
        raise InputError(f"something was changed by other means than this program: {broken[0]}; see verify, or --force")
    cli.require_writable(folder)
    # First the note, then the act.
    store.note(COMMAND_LINE, "unblinded", {"forced": force and not store.closed_at(), "broken": broken})
    tables = {"ratings.csv": (RATINGS, _ratings(store))}
    if store.study.plan.pairs:
        tables["preferences.csv"] = (PREFERENCES, _preferences(store))
    for name, (columns, rows) in tables.items():
        write_text(folder / name, _csv(columns, rows))
    write_text(folder / "study.json", json.dumps(_study(store, force, broken), indent=1) + "\n")
    return [folder / name for name in (*tables, "study.json")]


def _require_closed(store, force):
    if store.closed_at() or force:
        return
    rows = store.progress()
    unfinished = sum(row["answered"] < row["trials"] for row in rows)
    raise InputError(
        f"the study is open, and an export would end the blinding ({unfinished} of {len(rows)} readers have not "
        "finished); run close first, or give --force, which is written down"
    )


def _csv(columns, rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _ratings(store):
    for row, trial, answers in _answered(store):
        if len(trial.arms) == 1:
            for question in store.keys:
                yield {**row, "arm": trial.arms[0], "question": question, "score": answers[question]}


def _preferences(store):
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


def _answered(store):
    for number, label in store.readers():
        for trial, _, kept in store.commits(number):
            answers = kept.pop("answers")
            row = {
                "study_hash": store.study.hash,
                "reader": label,
                "session": trial.session,
                "position": trial.position,
                "case": trial.case,
                "repeat": int(trial.repeat),
                "training": int(trial.training),
                **kept,
            }
            yield row, trial, answers


def _study(store, force, broken) -> dict:
    rows, head = store.audit_head()
    displays = {label: store.displays(number) for number, label in store.readers()}
    return {
        **store.study.values,
        "export": {
            "at": store.database.time(),
            "forced": force and not store.closed_at(),
            "closed_at": store.closed_at(),
            "broken": broken,
            "software_version": tfmisr.__version__,
            "audit_rows": rows,
            "audit_head": head,
            "readers": [{**row, "displays": displays[row["label"]]} for row in store.progress()],
        },
    }
