"""The SQLite database of a study: schema, and transactions that are durable on disk when they end."""

import contextlib
import datetime
import os
import pathlib
import sqlite3
import threading
import typing
from collections.abc import Callable, Iterator

import tfmisr
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.reader_study import audit
from tfmisr.reader_study.frozen import Study

FILE = "study.db"
HEAD = "study.head"  # number and hash of the last row of the audit log, as text
COMMAND_LINE = "command line"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS readers (
    id INTEGER PRIMARY KEY, label TEXT NOT NULL UNIQUE, token_hash TEXT NOT NULL UNIQUE, simulated INTEGER NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS trials (
    id INTEGER PRIMARY KEY, reader INTEGER NOT NULL REFERENCES readers, position INTEGER NOT NULL,
    session INTEGER NOT NULL, "case" TEXT NOT NULL, arms TEXT NOT NULL, training INTEGER NOT NULL,
    repeat INTEGER NOT NULL, token TEXT NOT NULL UNIQUE, UNIQUE (reader, position)
);
CREATE TABLE IF NOT EXISTS panes (
    token TEXT PRIMARY KEY, trial INTEGER NOT NULL REFERENCES trials, place INTEGER NOT NULL, role TEXT NOT NULL,
    digest TEXT NOT NULL, UNIQUE (trial, place)
);
CREATE TABLE IF NOT EXISTS commits (
    trial INTEGER NOT NULL REFERENCES trials, version INTEGER NOT NULL, submission TEXT NOT NULL,
    answers TEXT NOT NULL, shown_at TEXT NOT NULL, first_input_at TEXT NOT NULL, committed_at TEXT NOT NULL,
    idle_ms INTEGER NOT NULL, active_ms INTEGER NOT NULL, too_fast INTEGER NOT NULL, window_center REAL NOT NULL,
    window_width REAL NOT NULL, software_version TEXT NOT NULL, PRIMARY KEY (trial, version)
);
CREATE TABLE IF NOT EXISTS displays (
    reader INTEGER NOT NULL REFERENCES readers, at TEXT NOT NULL, content TEXT NOT NULL
);
"""


def _keep_private(path: pathlib.Path) -> None:
    """Creates a file that only its owner can read; from one of an earlier release, takes the rights of others."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            path.with_name(name).chmod(path.with_name(name).stat().st_mode & 0o770)


class Database:
    """The database of a study, created on first use. Several threads and processes may use it at the same time.

    Args:
        study: The frozen study.
        now: Returns the current time with its time zone; UTC by default.

    Attributes:
        study: The frozen study.
        path: Path of the SQLite file.
        now: See above.
        lock: Serializes the threads of this process.
        connection: The open connection.

    Raises:
        InputError: The file is not a database, belongs to another study, or lacks answers that were stored.
    """

    def __init__(self, study: Study, now: Callable[[], datetime.datetime] | None = None):
        self.study = study
        self.path = study.folder / FILE
        self.now = now or (lambda: datetime.datetime.now(datetime.timezone.utc))
        self.lock = threading.RLock()
        _keep_private(self.path)
        try:
            self.connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path} cannot be opened: {error}") from error
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise InputError(f"{self.path} cannot be used as the database of a study: {error}") from error
        except InputError:
            self.connection.close()
            raise

    def _prepare(self):
        self.connection.execute("PRAGMA journal_mode = WAL")
        # With NORMAL a power failure can lose the last transactions: https://sqlite.org/pragma.html#pragma_synchronous
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.executescript(_SCHEMA + audit.SCHEMA)
        self._require_recorded_head()
        with self.write(COMMAND_LINE) as log:
            known = self.meta("study")
            if known is None:
                self.set("study", self.study.hash)
                log("created", {"study": self.study.hash, "software": tfmisr.__version__})
            elif known != self.study.hash:
                raise InputError(f"{self.path} belongs to another study than the study.json beside it")

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()

    @contextlib.contextmanager
    def write(self, actor: str) -> Iterator[Callable[[str, dict], None]]:
        """Runs a transaction, which is rolled back on any exception.

        Args:
            actor: Label of the reader, or `command line`, for the audit log.

        Yields:
            A function that appends an event and its details to the audit log within the transaction.
        """
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda event, details: audit.append(
                    self.connection, self.study.hash, self.time(), actor, event, details
                )
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
            self._after_commit()

    def _after_commit(self):
        """Records the head of the audit log beside the file, and copies what is in the WAL file into the file itself.

        The transaction is durable already: nothing here waits for other processes, and no failure is an error.
        """
        with contextlib.suppress(OSError, sqlite3.OperationalError):
            rows, digest = audit.head(self.connection, self.study.hash)
            write_text(self.path.with_name(HEAD), f"{rows} {digest}\n")
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _require_recorded_head(self):
        """Raises an error where the audit log ends before the recorded head: the WAL file held answers, and is gone."""
        try:
            rows, digest = self.path.with_name(HEAD).read_text(encoding="ascii").split()
        except (OSError, ValueError):  # of an earlier release, or of a killed process
            return
        found = self.rows("SELECT hash FROM audit WHERE seq = ?", int(rows) if rows.isdigit() else 0)
        if found != [(digest,)]:
            last = audit.head(self.connection, self.study.hash)[0]
            raise InputError(
                f"{self.path} has {last} rows of the audit log and {HEAD} records row {rows}, which it lacks: answers "
                f"are missing. {FILE}-wal was not copied with it, or is of another copy; copy a study with backup, or "
                f"delete {HEAD} to continue without them"
            )

    def execute(self, query: str, *values: typing.Any) -> sqlite3.Cursor:
        """Executes a statement with its parameters; call it within `write`."""
        return self.connection.execute(query, values)

    def rows(self, query: str, *values: typing.Any) -> list[tuple]:
        """Returns the rows of a query with its parameters."""
        with self.lock:
            return self.connection.execute(query, values).fetchall()

    def meta(self, key: str) -> str | None:
        """Returns a value of the table `meta`, or `None` without such a key."""
        rows = self.rows("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def set(self, key: str, value: str) -> None:
        """Sets a value of the table `meta`; call it within `write`."""
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def time(self, earlier_ms: float = 0.0) -> str:
        """Returns the current time, or the time `earlier_ms` milliseconds ago, in ISO 8601 format."""
        return (self.now() - datetime.timedelta(milliseconds=earlier_ms)).isoformat(timespec="milliseconds")
