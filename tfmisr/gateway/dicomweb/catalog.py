"""An index of the Attributes of the files in the spool, for Search: a cache, made from the files when it is asked for.

It is a database of its own (`catalog.db`): the queue holds no Attribute of a patient, and receiving does not wait for
an index. What the queue forgets is removed from it, and the pages are overwritten (`secure_delete`).
"""

import contextlib
import dataclasses
import json
import pathlib
import sqlite3
import threading
from collections.abc import Iterator

from tfmisr.gateway import header
from tfmisr.gateway.dicomweb import tables
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import ORIGINAL, RESULT

_VERSION = 1
_TABLES = """
CREATE TABLE entries (
    instance INTEGER NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    study TEXT NOT NULL,
    series TEXT NOT NULL,
    uid TEXT NOT NULL,
    attributes TEXT NOT NULL,
    PRIMARY KEY (instance, kind)
);
CREATE INDEX entries_study ON entries (study, series, uid);
CREATE INDEX entries_uid ON entries (uid);
"""
# What the spool holds: each object, and its result once it is complete.
_HELD = f"""
SELECT id AS instance, '{ORIGINAL}' AS kind, digest, file, transfer_syntax AS syntax FROM instances
UNION ALL
SELECT id, '{RESULT}', result_digest, result_file, result_syntax FROM instances WHERE result_uid <> ''
"""
_KEYWORDS = tuple(dict.fromkeys(name for level in tables.LEVELS for name in tables.keywords(level)))
_BATCH = 200  # files of a transaction


@dataclasses.dataclass(frozen=True)
class Held:
    """A file that the spool holds.

    Attributes:
        instance: Number of the object.
        kind: `original` or `result`.
        digest: SHA-256 of its data set.
        file: Its name in the spool.
        syntax: Its Transfer Syntax UID.
    """

    instance: int
    kind: str
    digest: str
    file: str
    syntax: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """An indexed file: number of the object, `original` or `result`, and Attributes by tag as in DICOM JSON."""

    instance: int
    kind: str
    attributes: dict


class Catalog:
    """The index.

    Args:
        folder: The spool.
        queue: The queue.
    """

    def __init__(self, folder: pathlib.Path, queue: Queue) -> None:
        self._folder, self._queue = folder, queue
        self._lock = threading.Lock()
        self._unreadable: set[str] = set()  # digests
        self._db = _open(folder / "catalog.db")

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._db.close()

    def synchronize(self) -> int:
        """Indexes what is new, forgets what the spool no longer holds, and returns how many files cannot be indexed.

        Raises:
            sqlite3.Error: The queue or the index cannot be used.
        """
        with self._lock:
            held = {(row["instance"], row["kind"], row["digest"]): row for row in self._queue.rows(_HELD)}
            known = {tuple(row) for row in self._db.execute("SELECT instance, kind, digest FROM entries")}
            self._forget(known - held.keys())
            new = [Held(**dict(held[key])) for key in sorted(held.keys() - known)]
            new = [each for each in new if each.digest not in self._unreadable]
            for start in range(0, len(new), _BATCH):
                with _transaction(self._db):
                    for each in new[start : start + _BATCH]:
                        self._index(each)
            self._unreadable &= {digest for _, _, digest in held}
            return sum(digest in self._unreadable for _, _, digest in held)

    def forget(self) -> None:
        """Removes what the spool no longer holds.

        Raises:
            sqlite3.Error: As of `synchronize`.
        """
        with self._lock:
            held = {(row["instance"], row["kind"], row["digest"]) for row in self._queue.rows(_HELD)}
            known = {tuple(row) for row in self._db.execute("SELECT instance, kind, digest FROM entries")}
            self._forget(known - held)

    def _forget(self, gone: set[tuple]) -> None:
        with _transaction(self._db):
            self._db.executemany(
                "DELETE FROM entries WHERE instance = ? AND kind = ?", [(number, kind) for number, kind, _ in gone]
            )

    def _index(self, held: Held) -> None:
        try:
            found = header.parse(self._folder / held.file, held.syntax, _KEYWORDS)
            uids = [str(found[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
            content = json.dumps(found.to_json_dict(suppress_invalid_tags=True))
            if not all(uids):
                raise ValueError("an empty UID")
        except FileNotFoundError:  # removed meanwhile, or lost
            return
        except Exception:  # noqa: BLE001
            self._unreadable.add(held.digest)
            return
        values = (held.instance, held.kind, held.digest, *uids, content)
        self._db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def entries(self, study: str = "", series: str = "", uid: str = "") -> list[Entry]:
        """Returns what is indexed, in the order of arrival.

        Args:
            study: Study Instance UID; empty for any.
            series: Series Instance UID; empty for any.
            uid: SOP Instance UID; empty for any.
        """
        given = {name: value for name, value in (("study", study), ("series", series), ("uid", uid)) if value}
        where = " AND ".join(f"{name} = ?" for name in given) or "1"
        with self._lock:
            rows = self._db.execute(
                f"SELECT instance, kind, attributes FROM entries WHERE {where} ORDER BY instance, kind",
                tuple(given.values()),
            ).fetchall()
        return [Entry(number, kind, json.loads(text)) for number, kind, text in rows]

    def held(self, entries: list[Entry]) -> list[Held]:
        """Returns the files of entries, as far as the spool still holds them."""
        wanted = {(each.instance, each.kind): number for number, each in enumerate(entries)}
        rows = [row for row in self._queue.rows(_HELD) if (row["instance"], row["kind"]) in wanted]
        rows.sort(key=lambda row: wanted[row["instance"], row["kind"]])
        return [Held(**dict(row)) for row in rows]


def _open(path: pathlib.Path) -> sqlite3.Connection:
    """Opens the index; one of another version, or that is broken, is made again."""
    with contextlib.suppress(sqlite3.DatabaseError):
        db = _connect(path)
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
                db.execute("SELECT COUNT(*) FROM entries").fetchone()
                return db
        except sqlite3.DatabaseError:
            pass
        db.close()
    path.unlink(missing_ok=True)
    db = _connect(path)
    db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={_VERSION}; COMMIT;")
    return db


def _connect(path: pathlib.Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA secure_delete=ON")
    db.execute("PRAGMA synchronous=OFF")  # it can be made again
    return db


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
