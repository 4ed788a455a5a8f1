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

from tfmisr.gateway import header, spool
from tfmisr.gateway.dicomweb import metadata, tables
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import ORIGINAL, RESULT

_VERSION = 3
_TABLES = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    instance INTEGER NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    study TEXT NOT NULL,
    series TEXT NOT NULL,
    uid TEXT NOT NULL,
    modality TEXT NOT NULL,
    attributes TEXT NOT NULL,
    UNIQUE (instance, kind)
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
# A result that came from another node before it was made here is in the spool twice.
_FIRST = "id = (SELECT MIN(id) FROM entries same WHERE same.uid = entries.uid)"
_KEYWORDS = tuple(dict.fromkeys(name for level in tables.LEVELS for name in tables.keywords(level)))
_BATCH = 200  # files of a transaction, and entries in memory at once
_EMPTY = "-"  # no Modality


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
    """An indexed file.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID.
        attributes: Attributes by tag as in DICOM JSON.
    """

    study: str
    series: str
    attributes: dict


class Catalog:
    """The index.

    Args:
        folder: The spool.
        queue: The queue.
    """

    def __init__(self, folder: pathlib.Path, queue: Queue) -> None:
        self._folder, self._queue = folder, queue
        self._path = folder / "catalog.db"
        self._lock = threading.Lock()
        self._unreadable: set[str] = set()  # digests
        self._db = self._open()

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _mending(self) -> Iterator[None]:
        """Holds the lock; after an error of a broken or deleted index, the next call finds a new one."""
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                # Other types are no fault of the file, unless it was deleted or replaced.
                if type(error) is sqlite3.DatabaseError or _number(self._path) != self._file:
                    broken = self._db
                    self._path.unlink(missing_ok=True)
                    self._db = self._open()
                    broken.close()
                raise

    def _open(self) -> sqlite3.Connection:
        db = _open(self._path)
        self._file = _number(self._path)
        return db

    def synchronize(self) -> int:
        """Indexes what is new, forgets what the spool no longer holds, and returns how many files cannot be indexed.

        Raises:
            sqlite3.Error: The queue or the index cannot be used.
        """
        with self._mending():
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
        with self._mending():
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
            content = found.to_json_dict(suppress_invalid_tags=True)
            modality = (content.get("00080060", {}).get("Value") or [_EMPTY])[0]
            if not all(uids):
                raise ValueError("an empty UID")
        except FileNotFoundError:  # removed meanwhile, or lost
            return
        except Exception:  # noqa: BLE001
            self._unreadable.add(held.digest)
            return
        values = (held.instance, held.kind, held.digest, *uids, modality, metadata.dump(content))
        self._db.execute(
            "INSERT OR REPLACE INTO entries (instance, kind, digest, study, series, uid, modality, attributes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    def entries(self, study: str = "", series: str = "") -> Iterator[Entry]:
        """Yields what is indexed, each instance once, in the order in which it was; a few are in memory at once.

        Args:
            study: Study Instance UID; empty for any.
            series: Series Instance UID; empty for any.
        """
        last = 0
        query = (
            f"SELECT id, study, series, attributes FROM entries WHERE {{}} AND id > ? AND {_FIRST} "
            f"ORDER BY id LIMIT {_BATCH}"
        )
        while rows := self._rows(query, {"study": study, "series": series}, last):
            for _, of_study, of_series, text in rows:
                yield Entry(of_study, of_series, json.loads(text))
            last = rows[-1][0]

    def counts(self, study: str = "") -> dict[str, tuple[list[str], int, int]]:
        """Returns Study Instance UID to modalities, number of series, and number of instances."""
        query = f"SELECT study, modality, COUNT(*) FROM entries WHERE {{}} AND {_FIRST} GROUP BY 1, 2 ORDER BY 2"
        found: dict[str, tuple[list[str], int, int]] = {}
        for name, modality, instances in self._rows(query, {"study": study}):
            modalities, series, others = found.get(name, ([], 0, 0))
            found[name] = [*modalities, *([modality] if modality != _EMPTY else [])], series, others + instances
        for name, _ in self.series(study):
            if name in found:  # others were indexed in this moment
                modalities, series, instances = found[name]
                found[name] = modalities, series + 1, instances
        return found

    def series(self, study: str = "") -> dict[tuple[str, str], int]:
        """Returns (Study Instance UID, Series Instance UID) to number of instances."""
        query = f"SELECT study, series, COUNT(*) FROM entries WHERE {{}} AND {_FIRST} GROUP BY 1, 2"
        return {(name, uid): count for name, uid, count in self._rows(query, {"study": study})}

    def held(self, study: str, series: str = "", uid: str = "") -> list[Held]:
        """Returns the files of a study, series or instance that the spool still holds, in the order of arrival."""
        query = f"SELECT instance, kind FROM entries WHERE {{}} AND {_FIRST}"
        wanted = {tuple(row) for row in self._rows(query, {"study": study, "series": series, "uid": uid})}
        rows = [row for row in self._queue.rows(_HELD) if (row["instance"], row["kind"]) in wanted]
        return [Held(**dict(row)) for row in sorted(rows, key=lambda row: (row["instance"], row["kind"]))]

    def _rows(self, query: str, conditions: dict[str, str], *values: object) -> list[tuple]:
        given = {name: value for name, value in conditions.items() if value}
        where = " AND ".join(f"{name} = ?" for name in given) or "1"
        with self._mending():
            return self._db.execute(query.format(where), (*given.values(), *values)).fetchall()


def _number(path: pathlib.Path) -> int:
    """Returns the number of a file in its file system; 0 where there is none."""
    return path.stat().st_ino if path.is_file() else 0


def _open(path: pathlib.Path) -> sqlite3.Connection:
    """Opens the index; one of another version, or that is broken, is made again."""
    with contextlib.suppress(sqlite3.DatabaseError):
        db = _connect(path)
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
                if db.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok":  # the power may have failed
                    return db
        except sqlite3.DatabaseError:
            pass
        db.close()
    path.unlink(missing_ok=True)
    db = _connect(path)
    db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={_VERSION}; COMMIT;")
    return db


def _connect(path: pathlib.Path) -> sqlite3.Connection:
    spool.make_private(path)
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA secure_delete=ON")
        db.execute("PRAGMA synchronous=OFF")  # it can be made again
    except sqlite3.DatabaseError:
        db.close()
        raise
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
