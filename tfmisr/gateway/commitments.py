"""What is known of storage commitment (PS3.4 Annex J): who was asked for what, and what each destination answered.

An object that a destination must commit is kept until the report says so (G-15); see `schema.DONE`.
"""

import sqlite3
import time
import typing
from collections.abc import Iterable, Mapping

from tfmisr.gateway import schema
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import COMMITTED, FAILED, QUEUED, REQUESTED, RESULT, SENT

_KEPT_SECONDS = 30 * 86400.0  # of a request: a report that comes later is unknown
_REFERENCE = f"CASE d.kind WHEN '{RESULT}' THEN i.result_uid ELSE i.sop_instance_uid END"
_DUE = f"""
SELECT d.id, i.sop_class_uid, {_REFERENCE} AS sop_instance_uid
FROM deliveries d JOIN instances i ON i.id = d.instance LEFT JOIN commitments c ON c.delivery = d.id
WHERE d.destination = ? AND d.state = '{SENT}'
  AND (c.delivery IS NULL OR c.state = '{REQUESTED}' AND c.next_attempt <= ?)
ORDER BY d.id LIMIT ?
"""
_REPORTED = f"""
SELECT d.id, d.instance, c.state FROM deliveries d JOIN instances i ON i.id = d.instance
JOIN commitments c ON c.delivery = d.id
WHERE d.destination = ? AND d.state = '{SENT}' AND i.sop_class_uid = ? AND {_REFERENCE} = ?
"""


class Reference(typing.NamedTuple):
    """SOP Class UID and SOP Instance UID of a stored object."""

    sop_class_uid: str
    sop_instance_uid: str


def begin(queue: Queue, destinations: Iterable[str]) -> None:
    """Records which destinations must commit what they have stored, before anything is removed.

    Args:
        queue: The queue.
        destinations: Their names; what others have stored needs no commitment.
    """
    with queue.transaction() as db:
        db.execute("DELETE FROM commitment_destinations")
        db.executemany("INSERT INTO commitment_destinations VALUES (?)", [(name,) for name in destinations])
        db.execute("DELETE FROM commitment_requests WHERE at < ?", (time.time() - _KEPT_SECONDS,))


def due(queue: Queue, destination: str, limit: int) -> dict[int, Reference]:
    """Returns what a destination has stored and is to be asked for now, by number of the delivery."""
    rows = queue.rows(_DUE, destination, time.time(), limit)
    return {row["id"]: Reference(row["sop_class_uid"], row["sop_instance_uid"]) for row in rows}


def request(queue: Queue, destination: str, transaction: str, deliveries: Iterable[int], seconds: float) -> None:
    """Records a request before it is sent, since its report may come at once.

    Args:
        queue: The queue.
        destination: Whom it goes to.
        transaction: Its Transaction UID (0008,1195).
        deliveries: Numbers of what it asks for.
        seconds: Time without a report after which it is asked for again.
    """
    now = time.time()
    with queue.transaction() as db:
        db.execute("INSERT INTO commitment_requests VALUES (?, ?, ?)", (transaction, destination, now))
        for number in deliveries:
            db.execute(
                f"INSERT INTO commitments (delivery, state, attempts, next_attempt) VALUES (?, '{REQUESTED}', 1, ?) "
                "ON CONFLICT (delivery) DO UPDATE SET attempts = attempts + 1, next_attempt = excluded.next_attempt, "
                "reason = CASE reason WHEN '' THEN 'no report in time' ELSE reason END",
                (number, now + seconds),
            )


def postpone(queue: Queue, deliveries: Iterable[int], reason: str, seconds: float) -> None:
    """Records why a request was not accepted, or that it was now (an empty reason), and when to send it again."""
    with queue.transaction() as db:
        for number in deliveries:
            db.execute(
                f"UPDATE commitments SET reason = ?, next_attempt = ? WHERE delivery = ? AND state = '{REQUESTED}'",
                (reason, time.time() + seconds, number),
            )


def report(
    queue: Queue, names: Iterable[str], transaction: str, stored: Iterable[Reference], failed: Mapping[Reference, str]
) -> str:
    """Records a report.

    Args:
        queue: The queue.
        names: Destinations that the peer may be.
        transaction: Transaction UID of the report.
        stored: What is committed.
        failed: What is not, with the reason.

    Returns:
        Name of the destination, or an empty string where none of them was asked under this UID.
    """
    with queue.transaction() as db:
        found = db.execute("SELECT destination FROM commitment_requests WHERE uid = ?", (transaction,)).fetchone()
        if found is None or found[0] not in names:
            return ""
        for reference in stored:
            if reference not in failed:  # one that contradicts itself is no promise
                _conclude(db, found[0], reference, COMMITTED, "")
        for reference, reason in failed.items():
            _conclude(db, found[0], reference, FAILED, reason)
    return found[0]


def _conclude(db: sqlite3.Connection, destination: str, reference: Reference, state: str, reason: str) -> None:
    for row in db.execute(_REPORTED, (destination, *reference)).fetchall():
        if row["state"] == COMMITTED:
            continue  # a report that failed and was late
        db.execute("UPDATE commitments SET state = ?, reason = ? WHERE delivery = ?", (state, reason, row["id"]))
        event = "committed" if state == COMMITTED else "not committed"
        schema.insert_event(db, event, row["instance"], "", destination, reason)


class Counts(typing.NamedTuple):
    """What a destination has stored of the objects in the spool, by state, and since when the oldest waits."""

    requested: int
    committed: int
    failed: int
    waiting: int
    oldest: float


def counts(queue: Queue) -> dict[str, Counts]:
    """Returns the counts of each destination that must commit.

    `waiting` is stored and not yet asked for; `oldest` is the time in seconds since the oldest object that is not
    committed was stored, 0 where there is none.
    """
    found = {}
    for (name,) in queue.rows("SELECT name FROM commitment_destinations ORDER BY name"):
        rows = queue.rows(
            "SELECT c.state, COUNT(*), MIN(d.sent_at) FROM deliveries d LEFT JOIN commitments c ON c.delivery = d.id "
            f"WHERE d.destination = ? AND d.state = '{SENT}' GROUP BY 1",
            name,
        )
        numbers, since = {row[0]: row[1] for row in rows}, [row[2] for row in rows if row[0] != COMMITTED]
        states = (numbers.get(state, 0) for state in (REQUESTED, COMMITTED, FAILED, None))
        found[name] = Counts(*states, max(time.time() - min(since), 0.0) if since else 0.0)
    return found


def status(queue: Queue, destination: str) -> str:
    """Returns a destination's part of the status; an empty string where nothing needs its commitment."""
    if not queue.rows("SELECT 1 FROM commitment_destinations WHERE name = ?", destination):
        return ""
    rows = queue.rows(
        "SELECT c.state, COUNT(*), MAX(c.reason) FROM deliveries d LEFT JOIN commitments c ON c.delivery = d.id "
        f"WHERE d.destination = ? AND d.state = '{SENT}' GROUP BY 1",
        destination,
    )
    found = {row[0]: row[1:] for row in map(tuple, rows)}
    counts = {state: found.get(state, (0, ""))[0] for state in (COMMITTED, REQUESTED, None, FAILED)}
    text = f"committed {counts[COMMITTED]}, asked {counts[REQUESTED]}, to ask {counts[None]}, not {counts[FAILED]}"
    reasons = [found[state][1] for state in (REQUESTED, FAILED) if state in found and found[state][1]]
    return f"; storage commitment: {text}{' (' + '; '.join(reasons) + ')' if reasons else ''}"


def quarantine(queue: Queue) -> list[str]:
    """Returns a line for each object that a destination did not commit."""
    rows = queue.rows(
        "SELECT d.id, d.kind, d.instance, d.destination, c.reason FROM commitments c JOIN deliveries d "
        f"ON d.id = c.delivery WHERE c.state = '{FAILED}' ORDER BY d.id"
    )
    text = "commitment:{}  {} of object {} was not committed by {}: {}"
    return [text.format(*row) for row in map(tuple, rows)]


def release(db: sqlite3.Connection, delivery: str) -> int:
    """Has an object that was not committed sent and asked for again; 0 if there is none of this number."""
    count = db.execute(f"DELETE FROM commitments WHERE delivery = ? AND state = '{FAILED}'", (delivery,)).rowcount
    if count:
        db.execute(
            f"UPDATE deliveries SET state = '{QUEUED}', attempts = 0, next_attempt = 0 WHERE id = ?", (delivery,)
        )
    return count
