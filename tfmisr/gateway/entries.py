"""Entries of the quarantine by the names that `quarantine list` prints, and what `quarantine discard` does with them.

What is discarded is forgotten; the audit trail keeps who it was for, the digest and why it was in quarantine.
"""

import contextlib
import sqlite3
import time
import typing

from tfmisr.edge.errors import InputError
from tfmisr.gateway import schema, series, series_arrivals
from tfmisr.gateway.config import Config
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import FAILED, ORIGINAL, PASSED, SENT
from tfmisr.gateway.spool import Spool

DISCARDED = "discarded"  # event of the audit trail, kept also when the object is gone
_DELIVERY = """
SELECT d.id, d.instance, d.kind, d.destination, d.state, i.digest, {reason} AS reason
FROM deliveries d JOIN instances i ON i.id = d.instance {join} WHERE d.id = ?
"""
_COMMITMENT = f"JOIN commitments c ON c.delivery = d.id AND c.state = '{FAILED}'"
_PROCESSING = (
    f"SELECT id AS instance, digest, reason, '' AS destination FROM instances WHERE id = ? AND state = '{FAILED}'"
)
_CONFLICT = (
    "SELECT id, 0 AS instance, digest, file, calling_ae AS destination, '' AS reason FROM conflicts WHERE id = ?"
)


_SERIES = (
    "SELECT id, (SELECT MIN(instance) FROM series_instances WHERE series = s.id) AS instance, '' AS digest, reason, "
    f"'' AS destination FROM series s WHERE id = ? AND state = '{FAILED}'"
)


class Entry(typing.NamedTuple):
    """An entry: its name, the kind that the name begins with, and its row."""

    name: str
    kind: str
    row: sqlite3.Row


def find(db: sqlite3.Connection, settings: Config, name: str) -> Entry:
    """Returns the entry of a name.

    Raises:
        InputError: There is none in quarantine.
    """
    kind, _, number = name.partition(":")
    queries = {
        "delivery": _DELIVERY.format(reason="d.reason", join=""),
        "commitment": _DELIVERY.format(reason="c.reason", join=_COMMITMENT),
        "processing": _PROCESSING,
        "conflict": _CONFLICT,
        "series": _SERIES,
    }
    row = db.execute(queries[kind], (number,)).fetchone() if kind in queries else None
    names = [each.name for each in settings.destinations]
    if row is not None and kind == "delivery" and row["state"] != FAILED:
        row = row if row["state"] != SENT and row["destination"] not in names else None
    if row is None:
        raise InputError(f"expected a name that `quarantine list` prints. Received: {name}")
    return Entry(name, kind, row)


def forget(db: sqlite3.Connection, entry: Entry) -> None:
    """Removes a delivery for ever, and with an original the result, which would wait for it (G-14).

    The object and its file stay for `keep_hours` from now, where no other destination lacks it.
    """
    row = entry.row
    if row["kind"] == ORIGINAL:
        both = row["instance"], row["destination"]
        db.execute("DELETE FROM deliveries WHERE instance = ? AND destination = ?", both)
    else:
        db.execute("DELETE FROM deliveries WHERE id = ?", (row["id"],))
    ((names,),) = db.execute("SELECT result_to FROM instances WHERE id = ?", (row["instance"],))
    rest = "\t".join(name for name in names.split("\t") if name != row["destination"])
    db.execute("UPDATE instances SET result_to = ?, changed_at = ? WHERE id = ?", (rest, time.time(), row["instance"]))


def discard(queue: Queue, settings: Config, names: list[str], unsent_originals: bool = False) -> int:
    """Gives entries up for ever: all of them, or on an error none. Returns their number.

    Args:
        queue: The queue.
        settings: The configuration.
        names: Names of entries.
        unsent_originals: Also originals that their destination does not have.

    Raises:
        InputError: There is no such entry, or it is such an original.
    """
    files = []
    with queue.transaction() as db:
        for name in names:
            entry = find(db, settings, name)
            files += _discard(db, entry, unsent_originals)
            row = entry.row
            detail = f"{name} {row['reason']}".strip()
            schema.insert_event(db, DISCARDED, row["instance"], row["digest"], row["destination"], detail)
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            (Spool(settings.node.spool).folder / file).unlink()
    return len(names)


def _discard(db: sqlite3.Connection, entry: Entry, unsent_originals: bool) -> list[str]:
    """Discards an entry, and returns files that nothing else needs."""
    row = entry.row
    if entry.kind == "conflict":
        db.execute("DELETE FROM conflicts WHERE id = ?", (row["id"],))
        return [row["file"]]
    if entry.kind == "processing":
        query = f"UPDATE instances SET state = '{PASSED}', reason = ?, result_to = '', changed_at = ? WHERE id = ?"
        db.execute(query, ("discarded by the operator", time.time(), row["instance"]))
        return []
    if entry.kind == "series":
        series.conclude(db, row["id"], PASSED, series_arrivals.DISCARDED, time.time())
        return []
    if row["kind"] == ORIGINAL and not unsent_originals:
        raise InputError(
            f"{entry.name} is an original that {row['destination']} does not have: send it with `quarantine release`, "
            "or give it up for ever with --including_unsent_originals. Nothing was discarded"
        )
    forget(db, entry)
    return []
