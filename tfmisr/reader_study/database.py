"""The SQLite file of a study: its tables, and transactions that are on the disk when they end."""

import contextlib
import datetime
import sqlite3
import threading
from collections.abc import Callable, Iterator

import tfmisr
from tfmisr.edge.errors import InputError
from tfmisr.reader_study import audit
from tfmisr.reader_study.frozen import Study

FILE = "study.db"
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


class Database:
    """The database of a study, made where there is none yet. May be used from several threads and processes.

    Args:
        study: The frozen study.
        now: Returns the present time with its zone.

    Raises:
        InputError: The file is no database, or belongs to another study.
    """

    def __init__(self, study: Study, now: Callable[[], datetime.datetime] | None = None):
        self.study = study
        self.path = study.folder / FILE
        self.now = now or (lambda: datetime.datetime.now(datetime.timezone.utc))
        self.lock = threading.RLock()
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
        # With NORMAL, the default of many, a power cut takes the last commits.
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.executescript(_SCHEMA + audit.SCHEMA)
        with self.write(COMMAND_LINE) as say:
            known = self.meta("study")
            if known is None:
                self.set("study", self.study.hash)
                say("created", {"study": self.study.hash, "software": tfmisr.__version__})
            elif known != self.study.hash:
                raise InputError(f"{self.path} belongs to another study than the study.json beside it")

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()

    @contextlib.contextmanager
    def write(self, actor: str) -> Iterator[Callable[[str, dict], None]]:
        """A transaction; gives a function that adds an event and its details to the audit log."""
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

    def execute(self, query: str, *values) -> sqlite3.Cursor:
        """Runs a statement within `write`."""
        return self.connection.execute(query, values)

    def rows(self, query: str, *values) -> list[tuple]:
        """Returns what a query finds."""
        with self.lock:
            return self.connection.execute(query, values).fetchall()

    def meta(self, key: str) -> str | None:
        """Returns one of the few single values, or `None`."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", key)
        return found[0][0] if found else None

    def set(self, key: str, value: str) -> None:
        """Sets one of them, within `write`."""
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def time(self, earlier_ms: float = 0.0) -> str:
        """Returns the time so many milliseconds ago in ISO format."""
        return (self.now() - datetime.timedelta(milliseconds=earlier_ms)).isoformat(timespec="milliseconds")
