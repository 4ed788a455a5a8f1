"""Is everything as it was written? Audit log, orders, answers, display checks and pixels against one another (R-15)."""

import json

from tfmisr.reader_study import audit, ordering
from tfmisr.reader_study.store import KEPT, Store


def broken(store: Store, noted: str | None = None) -> list[str]:
    """Returns one line for each thing that was changed.

    Args:
        store: Of the study.
        noted: A hash of the audit log that was noted elsewhere.
    """
    database = store.database
    with database.lock:
        found = audit.broken(database.connection, store.study.hash)
        try:
            rows = audit.rows(database.connection)
            found += _readers(store, rows) + _orders(store) + _answers(store, rows) + _displays(store, rows)
            found += _closing(store, rows)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found.append(f"the database holds what this program does not write: {error!r}")
        if noted and not database.rows("SELECT 1 FROM audit WHERE hash = ?", noted):
            found.append(f"the audit log does not hold {noted}: its end was cut off, or it is another log")
    return found + [f"pixels {name} were changed" for name in store.study.changed_pixels()]


def _of(rows, event):
    return [row for row in rows if row["event"] == event]


def _closing(store, rows):
    logged = [row["details"]["closed_at"] for row in _of(rows, "closed")]
    at = store.closed_at()
    if at and not logged:
        return ["the study was closed, but not by this program"]
    return ["the study was opened again or closed at another time"] if logged and at != logged[-1] else []


def _readers(store, rows):
    logged = {(row["details"]["label"], row["details"]["simulated"]) for row in _of(rows, "reader")}
    labels = {label for label, _ in logged ^ {(row["label"], row["simulated"]) for row in store.progress()}}
    return [f"reader {label} was renamed, added, removed or made a simulated one or none" for label in sorted(labels)]


def _orders(store):
    found = []
    for number, label in store.readers():
        trials = store.trials(number)
        plain = [ordering.Trial(t.case, t.arms, t.session, t.training, t.repeat) for t in trials]
        if plain != ordering.order(store.study.plan, label):
            found.append(f"the order of {label} was changed")
            continue
        for trial in trials:
            digests = store.database.rows("SELECT role, digest FROM panes WHERE trial = ? ORDER BY place", trial.id)
            if digests != store.study.panes(trial.case, trial.arms):
                found.append(f"the images of {label}'s trial {trial.position} were changed")
    return found


def _answers(store, rows):
    logged = {}
    for row in _of(rows, "answer"):
        details = dict(row["details"])
        logged[row["actor"], details.pop("position"), details.pop("version")] = details
    query = f"SELECT label, position, version, {', '.join(KEPT)} FROM commits "
    query += "JOIN trials ON trials.id = trial JOIN readers ON readers.id = reader"
    kept = {row[:3]: dict(zip(KEPT, row[3:], strict=True)) for row in store.database.rows(query)}
    different = sorted(key for key in logged.keys() | kept.keys() if logged.get(key) != kept.get(key))
    return [f"the answer of {label} to trial {position} was changed" for label, position, _ in different]


def _displays(store, rows):
    logged = sorted((row["actor"], json.dumps(row["details"], sort_keys=True)) for row in _of(rows, "display"))
    query = "SELECT label, content FROM displays JOIN readers ON readers.id = reader"
    return [] if logged == sorted(store.database.rows(query)) else ["a display check was changed"]
