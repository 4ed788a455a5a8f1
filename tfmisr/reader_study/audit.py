"""The audit log: an append-only table whose rows form a SHA-256 hash chain (R-15).

Anyone who can write to the database can also recompute the hashes. Keep the last hash elsewhere: `close`, `export` and
`verify` print it, and `verify --head` checks that it is still part of the log.
"""

import hashlib
import json
import sqlite3

from tfmisr.edge.deprecation import renamed

SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, event TEXT NOT NULL, details TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""


def append(database: sqlite3.Connection, start: str, at: str, actor: str, event: str, details: dict) -> None:
    """Appends a row, within the caller's transaction.

    Args:
        database: Connection to a database with the table of `SCHEMA`.
        start: First value of the hash chain: the study's hash.
        at: Time in ISO 8601 format.
        actor: Label of a reader, or `command line`.
        event: Kind of event, one word.
        details: JSON-serializable details of the event.
    """
    seq, previous = head(database, start)
    text = json.dumps(details, sort_keys=True)
    row = (seq + 1, at, actor, event, text)
    database.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", (*row, _hash(previous, row)))


def head(database: sqlite3.Connection, start: str) -> tuple[int, str]:
    """Returns the number of rows and the last hash; 0 and `start` without rows."""
    last = database.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return (last[0], last[1]) if last else (0, start)


def rows(database: sqlite3.Connection) -> list[dict]:
    """Returns all rows as dictionaries with the keys seq, at, actor, event and details (decoded)."""
    values = database.execute("SELECT seq, at, actor, event, details FROM audit ORDER BY seq").fetchall()
    keys = ("seq", "at", "actor", "event", "details")
    return [dict(zip(keys, (*row[:4], json.loads(row[4])), strict=True)) for row in values]


def integrity_errors(database: sqlite3.Connection, start: str) -> list[str]:
    """Returns one line for each row that is missing or whose hash does not match.

    Args:
        database: Connection to a database with the table of `SCHEMA`.
        start: First value of the hash chain: the study's hash.
    """
    previous, expected, errors = start, 1, []
    for *row, stored_hash in database.execute("SELECT seq, at, actor, event, details, hash FROM audit ORDER BY seq"):
        if row[0] != expected:
            errors.append(f"audit row {expected} is missing")
        elif _hash(previous, row) != stored_hash:
            errors.append(f"audit row {row[0]} was changed")
        # Continue from the stored hash, so that one change is reported once.
        previous, expected = stored_hash, row[0] + 1
    return errors


def _hash(previous: str, row: list | tuple) -> str:
    return hashlib.sha256(json.dumps([previous, *row]).encode()).hexdigest()


__getattr__ = renamed(__name__, broken="integrity_errors")
