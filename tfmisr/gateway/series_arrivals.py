"""Which group an object belongs to that has arrived, and what follows where it comes late or once more (G-14)."""

import sqlite3
import time

from tfmisr.gateway import schema
from tfmisr.gateway.schema import COLLECTING, DERIVED, ORIGINAL, PASSED, PROCESSED, PROCESSING, Arrival

LATE = "it came after its series was complete"
DISCARDED = "discarded by the operator"


def join(db: sqlite3.Connection, number: int | None, arrival: Arrival) -> None:
    """Adds a new object to the group of its series, or records that it comes too late for it.

    A series that was processed, or is now, is not processed again: a second derived series of other slices would
    contradict the first. One that has no derived series, such as for a missing slice, is opened again.

    Args:
        db: The queue, in a transaction.
        number: Number of the object.
        arrival: The object; it has a series.
    """
    member, now = arrival.series, time.time()
    group = _find(db, arrival) or _create(db, arrival, now)
    if group["state"] in (PROCESSING, PROCESSED) or group["reason"] == DISCARDED:
        db.execute("UPDATE series SET late = late + 1 WHERE id = ?", (group["id"],))
        db.execute(f"UPDATE instances SET state = '{PASSED}', reason = ? WHERE id = ?", (LATE, number))
        detail = f"series {group['id']}: {LATE}"
        schema.insert_event(db, "late", number, arrival.digest, arrival.calling_ae, detail)
        return
    if group["state"] != COLLECTING:
        _reopen(db, group)
        detail = f"series {group['id']}: it has no derived series"
        schema.insert_event(db, "series opened again", number, arrival.digest, arrival.calling_ae, detail)
    db.execute(f"INSERT INTO series_instances VALUES (?, ?, '{ORIGINAL}')", (number, group["id"]))
    db.execute(f"UPDATE instances SET state = '{COLLECTING}', reason = '' WHERE id = ?", (number,))
    db.execute(
        "UPDATE series SET last_at = ?, expected = MAX(expected, ?), seconds = ?, result_to = ? WHERE id = ?",
        (now, member.expected, member.seconds, _merged(group, arrival), group["id"]),
    )


def _find(db: sqlite3.Connection, arrival: Arrival) -> sqlite3.Row | None:
    member = arrival.series
    return db.execute(
        "SELECT * FROM series WHERE series_uid = ? AND calling_ae = ? AND method = ? AND spacing = ? "
        "ORDER BY id DESC LIMIT 1",
        (member.uid, arrival.calling_ae, member.method, member.spacing),
    ).fetchone()


def _create(db: sqlite3.Connection, arrival: Arrival, now: float) -> sqlite3.Row:
    member = arrival.series
    number = db.execute(
        "INSERT INTO series (series_uid, calling_ae, method, spacing, seconds, expected, result_to, first_at, last_at, "
        f"state, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '{COLLECTING}', ?)",
        (member.uid, arrival.calling_ae, member.method, member.spacing, member.seconds, member.expected)
        + ("\t".join(arrival.result_to), now, now, now),
    ).lastrowid
    return db.execute("SELECT * FROM series WHERE id = ?", (number,)).fetchone()


def _reopen(db: sqlite3.Connection, group: sqlite3.Row) -> None:
    """From now on the time decides when it is complete: its number of images was reached, or is wrong."""
    db.execute(
        f"UPDATE series SET state = '{COLLECTING}', late = late + 1, attempts = 0, next_attempt = 0, reason = '' "
        "WHERE id = ?",
        (group["id"],),
    )
    db.execute(
        f"UPDATE instances SET state = '{COLLECTING}', reason = '' WHERE id IN "
        f"(SELECT instance FROM series_instances WHERE series = ? AND kind = '{ORIGINAL}')",
        (group["id"],),
    )


def _merged(group: sqlite3.Row, arrival: Arrival) -> str:
    names = [*filter(None, group["result_to"].split("\t")), *arrival.result_to]
    return "\t".join(dict.fromkeys(names))


def extend(db: sqlite3.Connection, number: int, arrival: Arrival) -> bool:
    """Handles an object that comes once more, where it or the rule that now applies to it is of a series.

    An object is in one group at most, and is either processed alone or with its series: what came first decides.

    Args:
        db: The queue, in a transaction.
        number: Number of the object that is here already.
        arrival: The same bytes once more.

    Returns:
        Whether nothing else is to be done for it.
    """
    row = db.execute(
        "SELECT s.*, m.kind FROM series_instances m JOIN series s ON s.id = m.series WHERE m.instance = ?", (number,)
    ).fetchone()
    if row and row["kind"] == DERIVED:
        return True  # this node made it
    if not row and not arrival.series:
        return False
    schema.insert_deliveries(db, number, ORIGINAL, arrival.original_to)
    if row:
        _extend_group(db, row, arrival)
        return True
    (known,) = db.execute("SELECT model, state, reason FROM instances WHERE id = ?", (number,))
    if not known["model"] and known["state"] == PASSED and known["reason"] != LATE:
        join(db, number, arrival)
    return True


def _extend_group(db: sqlite3.Connection, group: sqlite3.Row, arrival: Arrival) -> None:
    """Sends a derived series also to the destinations of the rule of another sender, or of a new configuration."""
    member = arrival.series
    if not member or (member.method, member.spacing) != (group["method"], group["spacing"]):
        return
    db.execute("UPDATE series SET result_to = ? WHERE id = ?", (_merged(group, arrival), group["id"]))
    if group["state"] == PROCESSED:
        made = f"SELECT instance FROM series_instances WHERE series = ? AND kind = '{DERIVED}'"
        for (image,) in db.execute(made, (group["id"],)).fetchall():
            schema.insert_deliveries(db, image, DERIVED, arrival.result_to)


def is_derived(db: sqlite3.Connection, number: int) -> bool:
    """Whether an object is an image of a derived series that this node made."""
    query = f"SELECT 1 FROM series_instances WHERE instance = ? AND kind = '{DERIVED}'"
    return bool(db.execute(query, (number,)).fetchone())
