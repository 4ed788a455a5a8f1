"""Integrity verification: compares audit log, orders, answers, display checks and pixels with one another (R-15)."""

import json

from tfmisr.edge.deprecation import renamed
from tfmisr.reader_study import audit, ordering
from tfmisr.reader_study.store import LOGGED_COLUMNS, Store


def integrity_errors(store: Store, expected_hash: str | None = None) -> list[str]:
    """Returns one line for each part of the study that was changed by other means than this program.

    Args:
        store: Store of the study.
        expected_hash: A hash that was once the last one of the audit log, kept elsewhere.
    """
    database = store.database
    with database.lock:
        errors = audit.integrity_errors(database.connection, store.study.hash)
        try:
            rows = audit.rows(database.connection)
            errors += _readers(store, rows) + _orders(store) + _answers(store, rows) + _displays(store, rows)
            errors += _closing(store, rows)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            errors.append(f"the database has content that this program does not write: {error!r}")
        if expected_hash and not database.rows("SELECT 1 FROM audit WHERE hash = ?", expected_hash):
            errors.append(f"the audit log does not contain {expected_hash}: it was truncated, or it is another log")
    return errors + [f"pixels {name} were changed" for name in store.study.changed_pixels()]


def _of_event(rows: list[dict], event: str) -> list[dict]:
    return [row for row in rows if row["event"] == event]


def _closing(store: Store, rows: list[dict]) -> list[str]:
    logged = [row["details"]["closed_at"] for row in _of_event(rows, "closed")]
    at = store.closed_at()
    if at and not logged:
        return ["the study was closed, but not by this program"]
    return ["the study was reopened, or its closing time was changed"] if logged and at != logged[-1] else []


def _readers(store: Store, rows: list[dict]) -> list[str]:
    logged = {(row["details"]["label"], row["details"]["simulated"]) for row in _of_event(rows, "reader")}
    labels = {label for label, _ in logged ^ {(row["label"], row["simulated"]) for row in store.progress()}}
    return [f"reader {label} was added, removed, renamed or flagged as simulated or not" for label in sorted(labels)]


def _orders(store: Store) -> list[str]:
    errors = []
    for number, label in store.readers():
        trials = store.trials(number)
        stored_order = [ordering.Trial(t.case, t.arms, t.session, t.training, t.repeat) for t in trials]
        if stored_order != ordering.order(store.study.plan, label):
            errors.append(f"the order of {label} was changed")
            continue
        for trial in trials:
            digests = store.database.rows("SELECT role, digest FROM panes WHERE trial = ? ORDER BY place", trial.id)
            if digests != store.study.panes(trial.case, trial.arms):
                errors.append(f"the images of {label}'s trial {trial.position} were changed")
    return errors


def _answers(store: Store, rows: list[dict]) -> list[str]:
    logged = {}
    for row in _of_event(rows, "answer"):
        details = dict(row["details"])
        logged[row["actor"], details.pop("position"), details.pop("version")] = details
    query = f"SELECT label, position, version, {', '.join(LOGGED_COLUMNS)} FROM commits "
    query += "JOIN trials ON trials.id = trial JOIN readers ON readers.id = reader"
    stored = {}
    for row in store.database.rows(query):
        # Neither a log nor a row of an earlier release has the columns that were added later: NULL.
        columns = dict(zip(LOGGED_COLUMNS, row[3:], strict=True))
        stored[row[:3]] = {name: value for name, value in columns.items() if value is not None}
    different = sorted(key for key in logged.keys() | stored.keys() if logged.get(key) != stored.get(key))
    return [f"the answer of {label} to trial {position} was changed" for label, position, _ in different]


def _displays(store: Store, rows: list[dict]) -> list[str]:
    logged = sorted((row["actor"], json.dumps(row["details"], sort_keys=True)) for row in _of_event(rows, "display"))
    query = "SELECT label, content FROM displays JOIN readers ON readers.id = reader"
    return [] if logged == sorted(store.database.rows(query)) else ["a display check was changed"]


__getattr__ = renamed(__name__, broken="integrity_errors")
