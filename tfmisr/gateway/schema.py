"""Tables of the queue, and the states of an object and of its deliveries (G-11)."""

import dataclasses
import re
import sqlite3
import time
from collections.abc import Iterable

VERSION = 1

# States of an object. RECEIVED: to be processed. PASSED: nothing to process, by rule or because the image is refused.
RECEIVED, PROCESSING, PROCESSED, PASSED = "received", "processing", "processed", "passed"
# Waits for the other objects of its series; is part of a series that was processed, or of a derived one.
COLLECTING, GROUPED = "collecting", "grouped"
# States of a delivery.
QUEUED, RETRY, SENT = "queued", "retry", "sent"
# Of both: quarantined after a number of attempts.
FAILED = "failed"
# States of a storage commitment, beside FAILED.
REQUESTED, COMMITTED = "requested", "committed"

# Kinds of deliveries. An image of a derived series is an object of its own: no other object's result.
ORIGINAL, RESULT, DERIVED = "original", "result", "derived"

TABLES = """
CREATE TABLE IF NOT EXISTS instances (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_instance_uid TEXT NOT NULL UNIQUE,
    sop_class_uid TEXT NOT NULL,
    transfer_syntax TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    file TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    received_at REAL NOT NULL,
    model TEXT NOT NULL,
    scale INTEGER NOT NULL,
    result_to TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    result_file TEXT NOT NULL DEFAULT '',
    result_uid TEXT NOT NULL DEFAULT '',
    result_digest TEXT NOT NULL DEFAULT '',
    result_syntax TEXT NOT NULL DEFAULT '',
    changed_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS instances_state ON instances (state, next_attempt);
CREATE INDEX IF NOT EXISTS instances_file ON instances (file);
CREATE INDEX IF NOT EXISTS instances_result ON instances (result_uid) WHERE result_uid <> '';
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    instance INTEGER NOT NULL REFERENCES instances (id),
    kind TEXT NOT NULL,
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    sent_at REAL,
    UNIQUE (instance, kind, destination)
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (destination, state, next_attempt);
CREATE INDEX IF NOT EXISTS deliveries_instance ON deliveries (instance);
CREATE TABLE IF NOT EXISTS destinations (
    name TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    next_attempt REAL NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS conflicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_instance_uid TEXT NOT NULL,
    digest TEXT NOT NULL,
    kept_digest TEXT NOT NULL,
    file TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    received_at REAL NOT NULL,
    UNIQUE (sop_instance_uid, digest)
);
CREATE TABLE IF NOT EXISTS events (
    at REAL NOT NULL,
    instance INTEGER NOT NULL,
    digest TEXT NOT NULL,
    event TEXT NOT NULL,
    peer TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_at ON events (at);
CREATE TABLE IF NOT EXISTS commitment_destinations (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS commitment_requests (
    uid TEXT PRIMARY KEY,
    destination TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS commitments (
    delivery INTEGER PRIMARY KEY REFERENCES deliveries (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    series_uid TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    method TEXT NOT NULL,
    spacing TEXT NOT NULL,
    seconds REAL NOT NULL,
    expected INTEGER NOT NULL,
    result_to TEXT NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    late INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    changed_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS series_uid ON series (series_uid, calling_ae);
CREATE INDEX IF NOT EXISTS series_state ON series (state, next_attempt);
CREATE TABLE IF NOT EXISTS series_instances (
    instance INTEGER PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    series INTEGER NOT NULL REFERENCES series (id),
    kind TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS series_instances_series ON series_instances (series, kind);
"""
TABLE_NAMES = frozenset(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", TABLES))
# What can be sent to a destination now: the object, its result once the object is there, and the images of a derived
# series once all objects of its source are there (G-14).
DUE = f"""
WITH held AS (
    SELECT m.series FROM deliveries o JOIN series_instances m ON m.instance = o.instance AND m.kind = '{ORIGINAL}'
    WHERE o.destination = ?1 AND o.kind = '{ORIGINAL}' AND o.state <> '{SENT}')
SELECT d.id, d.instance, d.kind, d.attempts, i.sop_class_uid, i.received_at,
       CASE d.kind WHEN '{RESULT}' THEN i.result_syntax ELSE i.transfer_syntax END AS transfer_syntax,
       CASE d.kind WHEN '{RESULT}' THEN i.result_file ELSE i.file END AS file
FROM deliveries d JOIN instances i ON i.id = d.instance
WHERE d.destination = ?1 AND d.state IN ('{QUEUED}', '{RETRY}') AND d.next_attempt <= ?2
  AND (d.kind = '{ORIGINAL}' OR NOT EXISTS (
       SELECT 1 FROM deliveries o WHERE o.instance = d.instance AND o.destination = d.destination
       AND o.kind = '{ORIGINAL}' AND o.state <> '{SENT}'))
  AND (d.kind <> '{DERIVED}' OR NOT EXISTS (
       SELECT 1 FROM series_instances r
       WHERE r.instance = d.instance AND r.kind = '{DERIVED}' AND r.series IN (SELECT series FROM held)))
ORDER BY d.id LIMIT ?3
"""
# What every destination has had for a time, and has committed where it must (G-15).
DONE = f"""
SELECT id FROM instances i WHERE state IN ('{PROCESSED}', '{PASSED}', '{GROUPED}') AND changed_at < ?
  AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.instance = i.id AND (d.state <> '{SENT}' OR d.sent_at >= ?))
  AND NOT EXISTS (
       SELECT 1 FROM deliveries d JOIN commitment_destinations n ON n.name = d.destination
       LEFT JOIN commitments c ON c.delivery = d.id
       WHERE d.instance = i.id AND COALESCE(c.state, '') <> '{COMMITTED}')
LIMIT 1000
"""


@dataclasses.dataclass(frozen=True)
class Member:
    """What an object says about its series, where a rule names a volume method.

    Attributes:
        uid: Series Instance UID (0020,000E).
        method: Interpolation, or path of a `.tflite` file.
        spacing: Distance of the new slices: `iso`, or mm.
        seconds: Time without a new image after which the series is complete.
        expected: Number of images with which it is complete; 0 for unknown.
    """

    uid: str
    method: str
    spacing: str
    seconds: float
    expected: int


@dataclasses.dataclass(frozen=True)
class Arrival:
    """An object that has arrived and is on the disk.

    Attributes:
        sop_instance_uid: SOP Instance UID (0008,0018).
        sop_class_uid: SOP Class UID (0008,0016).
        transfer_syntax: Transfer Syntax UID (0002,0010).
        digest: SHA-256 of the data set as received.
        size: Bytes of the file.
        file: Name in the spool.
        calling_ae: AE title of the sender.
        model: Model that processes it; empty for none.
        scale: Upsampling factor of an interpolation, else 0.
        original_to: Destinations of the object itself.
        result_to: Destinations of the result.
        reason: Why there is nothing to process, if there is not.
        series: Its series, where that is processed as a volume; the object has no model of its own then.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    digest: str
    size: int
    file: str
    calling_ae: str
    model: str
    scale: int
    original_to: tuple[str, ...]
    result_to: tuple[str, ...]
    reason: str
    series: Member | None = None


@dataclasses.dataclass(frozen=True)
class Delivery:
    """An object or result that is to be sent.

    Attributes:
        id: Number of the delivery.
        instance: Number of the object.
        kind: `original`, `result` or `derived`.
        attempts: Attempts so far.
        sop_class_uid: SOP Class UID of what is sent; that of a result is that of its source (D-07).
        transfer_syntax: Its Transfer Syntax UID.
        file: Its name in the spool.
        received_at: When the object arrived, in seconds since 1970.
    """

    id: int
    instance: int
    kind: str
    attempts: int
    sop_class_uid: str
    transfer_syntax: str
    file: str
    received_at: float


@dataclasses.dataclass(frozen=True)
class Task:
    """An object that is to be processed.

    Attributes:
        id: Number of the object.
        file: Its name in the spool.
        model: Model that processes it.
        scale: Upsampling factor of an interpolation, else 0.
        attempts: This attempt, from 1.
    """

    id: int
    file: str
    model: str
    scale: int
    attempts: int


def insert_event(db: sqlite3.Connection, event: str, instance: int | None, digest: str, peer: str, detail: str) -> None:
    """Adds a line to the audit trail."""
    values = (time.time(), instance, digest, event, peer, detail)
    db.execute("INSERT INTO events (at, instance, digest, event, peer, detail) VALUES (?, ?, ?, ?, ?, ?)", values)


def insert_deliveries(db: sqlite3.Connection, instance: int | None, kind: str, destinations: Iterable[str]) -> None:
    """Queues an object or its result for destinations, once for each."""
    for name in destinations:
        db.execute(
            f"INSERT OR IGNORE INTO deliveries (instance, kind, destination, state) VALUES (?, ?, ?, '{QUEUED}')",
            (instance, kind, name),
        )
