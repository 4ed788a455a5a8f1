"""The ledger of an output folder: a row per image with what became of it, in SQLite (https://sqlite.org).

It is `.tfmisr/ledger.sqlite` in a folder. In an object store, which cannot hold a database that is written to, it is
Parquet: each command adds parts to `.tfmisr/parts/` and merges them into `.tfmisr/ledger.parquet` at its end. Only the
command writes it, workers do not. It is made for millions of rows: all that is held in memory is one page of them.
"""

import contextlib
import dataclasses
import pathlib
import sqlite3
import time
import typing
from collections.abc import Iterable, Iterator

from tfmisr.cluster.manifest import Row
from tfmisr.edge.errors import InputError

FOLDER = ".tfmisr"
NAME = f"{FOLDER}/ledger.sqlite"
PAGE = 5_000
SECONDS_BETWEEN_COMMITS = 1.0

# Status of a row: `pending`; `done`; `failed`: refused; `quarantined`: failed in all tries.
_COLUMNS = {
    "target": "TEXT PRIMARY KEY",
    "source": "TEXT NOT NULL",
    "options": "TEXT NOT NULL",
    "start": "INTEGER NOT NULL",  # number of the command's start that listed it last
    "status": "TEXT NOT NULL DEFAULT 'pending'",
    "seconds": "REAL",
    "size": "INTEGER",  # of the result, bytes
    "error": "TEXT",
    "tries": "INTEGER",
    "finished": "REAL",  # seconds since 1970
    "identity": "TEXT",  # of model and options
    "stamp": "TEXT",  # size and time of the source
    "sha256": "TEXT",  # of the source
    "series": "TEXT",  # digest, where images share an intensity scale
}
KEPT = tuple(_COLUMNS)
_LIST = (
    "INSERT INTO images (source, target, options, start) VALUES (?, ?, ?, ?) ON CONFLICT (target) DO UPDATE "
    "SET source = excluded.source, options = excluded.options, start = excluded.start WHERE start <> excluded.start"
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row; see the columns in the source of this module."""

    target: str
    source: str
    options: str
    status: str
    size: int | None
    identity: str | None
    stamp: str | None
    sha256: str | None
    series: str | None


_ENTRY = ", ".join(field.name for field in dataclasses.fields(Entry))


class Ledger:
    """A ledger, open for one command; close it, or use it as a context manager.

    Args:
        path: The SQLite file; its folder is created.

    Raises:
        InputError: It is not a ledger, or another command has been writing to it for a minute.
    """

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._committed = 0.0
        with self._explained(path):
            columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
            self._execute("PRAGMA synchronous = NORMAL")
            self._execute("PRAGMA cache_size = -65536")  # 64 MiB
            self._execute(f"CREATE TABLE IF NOT EXISTS images ({columns}) WITHOUT ROWID")
            self._execute("CREATE INDEX IF NOT EXISTS by_series ON images (series) WHERE series IS NOT NULL")
            self._execute("CREATE TABLE IF NOT EXISTS starts (number INTEGER PRIMARY KEY, began REAL, listed INTEGER)")
            self.start = self._execute("SELECT COALESCE(MAX(number), 0) FROM starts").fetchone()[0]

    @contextlib.contextmanager
    def _explained(self, path):
        try:
            yield
        except sqlite3.OperationalError as error:
            self._database.close()
            raise InputError(f"{path} cannot be used ({error}); is another command writing to the folder?") from error
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise InputError(f"{path} is not a ledger ({error}); remove it, and all images are made again") from error

    @property
    def untouched(self) -> bool:
        """Whether no image was finished in any start."""
        return self._execute("SELECT 1 FROM images WHERE finished IS NOT NULL LIMIT 1").fetchone() is None

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commits and closes."""
        self.commit()
        self._database.close()

    def _execute(self, *arguments) -> sqlite3.Cursor:
        return self._database.execute(*arguments)

    def commit(self) -> None:
        """Commits what has been recorded."""
        if self._database.in_transaction:
            self._execute("COMMIT")
        self._committed = time.monotonic()

    def _write(self, statement: str, rows: Iterable[tuple]) -> int:
        """Executes a statement for all rows and returns how many it changed."""
        if not self._database.in_transaction:
            self._execute("BEGIN IMMEDIATE")
        count = self._database.executemany(statement, rows).rowcount
        if time.monotonic() - self._committed > SECONDS_BETWEEN_COMMITS:
            self.commit()
        return count

    def begin(self, rows: Iterable[Row]) -> int:
        """Begins a start: adds its images, or finds them as they were left, and returns their number.

        Raises:
            InputError: Two images would be written to one target.
        """
        self.commit()
        self._execute("BEGIN IMMEDIATE")
        try:
            count = self._add(rows)
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self.commit()
        return count

    def _add(self, rows) -> int:
        """Adds all images in one transaction, so that a wrong row leaves no trace of the others."""
        self._execute("INSERT INTO starts (began) VALUES (?)", (time.time(),))
        self.start = self._execute("SELECT MAX(number) FROM starts").fetchone()[0]
        count = 0
        for page in pages(rows):
            try:
                added = self._database.executemany(_LIST, [(*row, self.start) for row in page]).rowcount
            except UnicodeEncodeError as error:
                raise InputError("a ledger needs file names in valid UTF-8; rename those that are not") from error
            if added < len(page):
                self._raise_duplicate(page)
            count += len(page)
        self._execute("UPDATE starts SET listed = ? WHERE number = ?", (count, self.start))
        return count

    def _raise_duplicate(self, page) -> typing.NoReturn:
        """Names the first two sources of one target; the table holds the one that was listed first."""
        query = "SELECT source FROM images WHERE target = ?"
        first = {row.target: self._execute(query, (row.target,)).fetchone()[0] for row in page}
        seen = set()
        for row in page:
            if row.source != first[row.target] or row.target in seen:
                both = f"{first[row.target]} and {row.source}"
                raise InputError(f"{both} would both be written to {row.target}; upscale them separately")
            seen.add(row.target)
        raise InputError("an image is listed twice; list it once")

    def entries(self, status: str | None = None) -> Iterator[Entry]:
        """Yields the rows of this start in the order of their targets, a page at a time.

        Args:
            status: Only rows that have this status when their page is read.
        """
        last = ""
        condition = "" if status is None else "AND status = ?"
        query = f"SELECT {_ENTRY} FROM images WHERE target > ? AND start = ? {condition} ORDER BY target LIMIT {PAGE}"
        while page := self._execute(query, (last, self.start, *([status] if status else []))).fetchall():
            for values in page:
                yield Entry(*values)
            last = page[-1][0]

    def sources_of(self, series: str) -> Iterator[str]:
        """Yields the sources of this start that belong to a series, in the order of their targets."""
        query = "SELECT source FROM images WHERE start = ? AND series = ? ORDER BY target"
        for (source,) in self._execute(query, (self.start, series)):
            yield source

    def set_stamps(self, changes: Iterable[tuple[str, str]]) -> None:
        """Sets stamps: pairs (stamp, target) of sources whose time changed and whose content did not."""
        self._write("UPDATE images SET stamp = ? WHERE target = ?", changes)

    def set_pending(self, targets: Iterable[str]) -> None:
        """Marks images to be made."""
        statement = "UPDATE images SET status = 'pending', error = NULL, series = NULL WHERE target = ?"
        self._write(statement, ((target,) for target in targets))

    def set_series(self, changes: Iterable[tuple[str | None, str]]) -> None:
        """Sets the series of images: pairs (digest or `None`, target)."""
        self._write("UPDATE images SET series = ? WHERE target = ?", changes)

    def record(self, target: str, status: str, **fields: typing.Any) -> None:
        """Records what became of an image.

        Args:
            target: Its target.
            status: `done`, `failed` or `quarantined`.
            **fields: Columns: seconds, size, error, tries, identity, stamp, sha256.
        """
        fields = {"error": None, **fields, "status": status, "finished": time.time()}
        unknown = fields.keys() - _COLUMNS.keys()
        if unknown:
            raise ValueError(f"no such columns: {unknown}")
        names = ", ".join(f"{name} = ?" for name in fields)
        self._write(f"UPDATE images SET {names} WHERE target = ?", [(*fields.values(), target)])

    def unusable(self) -> tuple[int, list[str]]:
        """Returns how many images of this start failed or are quarantined, and the first three sources."""
        where = "FROM images WHERE start = ? AND status IN ('failed', 'quarantined')"
        count = self._execute(f"SELECT COUNT(*) {where}", (self.start,)).fetchone()[0]
        first = self._execute(f"SELECT source {where} ORDER BY target LIMIT 3", (self.start,)).fetchall()
        return count, [source for (source,) in first]

    def rows(self, condition: str = "1", *values: typing.Any) -> Iterator[tuple]:
        """Yields complete rows, in the order of `KEPT`."""
        yield from self._execute(f"SELECT {', '.join(KEPT)} FROM images WHERE {condition}", values)

    def restore(self, rows: Iterable[tuple]) -> None:
        """Adds complete rows of earlier starts; the later of two rows of one image counts."""
        marks, names = ", ".join("?" * len(KEPT)), ", ".join(KEPT)
        updates = ", ".join(f"{name} = excluded.{name}" for name in KEPT)
        self._write(
            f"INSERT INTO images ({names}) VALUES ({marks}) ON CONFLICT (target) DO UPDATE SET {updates} "
            "WHERE COALESCE(excluded.finished, 0) >= COALESCE(finished, 0)",
            rows,
        )
        number = self._execute("SELECT COALESCE(MAX(start), 0) FROM images").fetchone()[0]
        self._execute("INSERT OR IGNORE INTO starts (number, began) VALUES (?, 0)", (number,))
        self.start = max(self.start, number)
        self.commit()


def pages(rows: Iterable, size: int = PAGE) -> Iterator[list]:
    """Yields lists of up to `size` rows."""
    page = []
    for row in rows:
        page.append(row)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
