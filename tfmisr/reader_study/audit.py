"""The audit log: rows that are only ever added, each with the hash of all before it (R-15).

Whoever can write the database can also compute hashes, so keep the last hash somewhere else: `export` and `verify`
tell it, and `verify --head` says whether it is still part of the log.
"""

import hashlib
import json
import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, event TEXT NOT NULL, details TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""


def append(database: sqlite3.Connection, start: str, at: str, actor: str, event: str, details: dict) -> None:
    """Adds a row, within the caller's transaction.

    Args:
        database: Has the table of `SCHEMA`.
        start: What the chain begins with: the study's hash.
        at: Time in ISO format.
        actor: Label of a reader, `admin` or `command line`.
        event: One word.
        details: What happened; JSON values.
    """
    seq, previous = head(database, start)
    text = json.dumps(details, sort_keys=True)
    row = (seq + 1, at, actor, event, text)
    database.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", (*row, _hash(previous, row)))


def head(database: sqlite3.Connection, start: str) -> tuple[int, str]:
    """Returns the number of rows and the last hash, `start` where there is no row."""
    found = database.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return (found[0], found[1]) if found else (0, start)


def rows(database: sqlite3.Connection) -> list[dict]:
    """Returns all rows, details decoded."""
    found = database.execute("SELECT seq, at, actor, event, details FROM audit ORDER BY seq").fetchall()
    keys = ("seq", "at", "actor", "event", "details")
    return [dict(zip(keys, (*row[:4], json.loads(row[4])), strict=True)) for row in found]


def broken(database: sqlite3.Connection, start: str) -> list[str]:
    """Returns one line for each row that is not what was written, the row after a missing one among them."""
    previous, expected, found = start, 1, []
    for *row, own in database.execute("SELECT seq, at, actor, event, details, hash FROM audit ORDER BY seq"):
        if row[0] != expected:
            found.append(f"audit row {expected} is missing")
        elif _hash(previous, row) != own:
            found.append(f"audit row {row[0]} was changed")
        # From what stands there, so that one change is told once.
        previous, expected = own, row[0] + 1
    return found


def _hash(previous, row) -> str:
    return hashlib.sha256(json.dumps([previous, *row]).encode()).hexdigest()
