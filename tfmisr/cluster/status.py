"""Counts and rate of a run, read from its ledger while it runs."""

import dataclasses
import pathlib
import sqlite3
import time

from tfmisr.cluster import ledger
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted

_RECENT = 60.0  # seconds
_LISTED = 20


@dataclasses.dataclass(frozen=True)
class Status:
    """Counts of the last start.

    Attributes:
        counts: Status to number of images.
        rate: Images per second, of the last minute; 0 if none was finished in it.
        seconds: Mean time of an image on its worker.
        unusable: (source, reason) of the first quarantined images.
    """

    counts: dict[str, int]
    rate: float
    seconds: float
    unusable: list[tuple[str, str]]

    def lines(self) -> list[str]:
        """Returns it as text."""
        total, pending = sum(self.counts.values()), self.counts.get("pending", 0)
        names = ("done", "failed", "quarantined", "pending")
        parts = ", ".join(f"{self.counts[name]:,} {name}" for name in names if self.counts.get(name))
        lines = [f"{counted(total, 'image')}: {parts or 'none listed'}"]
        if self.rate:
            left = f", {_duration(pending / self.rate)} left" if pending else ""
            lines.append(f"{self.rate:.3g} images/s in the last minute, {self.seconds:.3g} s an image{left}")
        elif pending:
            lines.append("none finished in the last minute")
        lines += [f"quarantined: {source}: {reason}" for source, reason in self.unusable]
        if (more := self.counts.get("quarantined", 0) - len(self.unusable)) > 0:
            lines.append(f"and {more:,} more quarantined")
        return lines


def _duration(seconds) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"


def read(path: pathlib.Path) -> Status:
    """Reads the counts from a ledger, which another process may be writing.

    Raises:
        InputError: There is no ledger.
    """
    if not path.is_file():
        raise InputError(f"expected the ledger of a run with --cluster or a manifest at {path}, found none")
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
        try:
            return _read(database)
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is not a ledger, or cannot be read now ({error})") from error


def _read(database) -> Status:
    start = database.execute("SELECT COALESCE(MAX(start), 0) FROM images").fetchone()[0]
    counts = dict(
        database.execute("SELECT status, COUNT(*) FROM images WHERE start = ? GROUP BY status", (start,)).fetchall()
    )
    began = database.execute("SELECT MAX(began) FROM starts").fetchone()[0] or 0.0
    now = time.time()
    since = max(now - _RECENT, began)
    query = "SELECT COUNT(*), AVG(seconds), MAX(finished) FROM images WHERE start = ? AND finished > ?"
    recent, seconds, _ = database.execute(query, (start, since)).fetchone()
    query = "SELECT source, error FROM images WHERE start = ? AND status = 'quarantined' ORDER BY target LIMIT ?"
    unusable = database.execute(query, (start, _LISTED)).fetchall()
    return Status(counts, recent / max(now - since, 1e-3), seconds or 0.0, unusable)


def of_folder(folder: str) -> Status:
    """Returns the status of an output folder, by path or URL.

    Raises:
        InputError: There is no ledger in it.
    """
    from tfmisr.cluster import stores

    folder = stores.local(folder)
    if not stores.is_url(folder):
        return read(pathlib.Path(folder) / ledger.NAME)
    from tfmisr.cluster import parts

    with parts.copy(folder) as path:
        return read(path)
