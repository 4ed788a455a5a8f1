"""Series that wait until they are complete, because a rule names a volume method for them (G-14).

The objects of a series are sent on at once, each for itself. Beside that they are grouped here, by Series Instance UID,
calling AE, method and spacing. A group is complete with the expected number of images, or when none has come for a
time; one job then makes the derived series of it. Each step is one transaction, so the end of the node at any moment
leaves a group that waits, or one whose job begins again, or one that is done.
"""

import dataclasses
import sqlite3
import time
from collections.abc import Iterable, Mapping

from tfmisr.edge.errors import InputError
from tfmisr.gateway import schema
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import (
    COLLECTING,
    DERIVED,
    GROUPED,
    ORIGINAL,
    PASSED,
    PROCESSED,
    PROCESSING,
    RECEIVED,
)

_OPEN = f"""
SELECT s.id, s.expected, s.seconds, s.late, COUNT(*) AS images FROM series s
JOIN series_instances m ON m.series = s.id AND m.kind = '{ORIGINAL}'
WHERE s.state = '{COLLECTING}' GROUP BY s.id ORDER BY s.id
"""
_FILES = f"""
SELECT i.file FROM series_instances m JOIN instances i ON i.id = m.instance
WHERE m.series = ? AND m.kind = '{ORIGINAL}' ORDER BY i.id
"""


@dataclasses.dataclass(frozen=True)
class SeriesTask:
    """A complete series that is to be processed.

    Attributes:
        id: Number of the group.
        method: Interpolation, or path of a `.tflite` file.
        spacing: Distance of the new slices: `iso`, or mm.
        attempts: This attempt, from 1.
        expected: Number of images that it should have; 0 for unknown.
        files: Names of its objects in the spool.
    """

    id: int
    method: str
    spacing: str
    attempts: int
    expected: int
    files: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class DerivedImage:
    """An image of a derived series that is on the disk.

    Attributes:
        file: Name in the spool.
        uid: SOP Instance UID.
        sop_class: SOP Class UID.
        syntax: Transfer Syntax UID.
        digest: SHA-256 of its data set.
        size: Bytes of the file.
    """

    file: str
    uid: str
    sop_class: str
    syntax: str
    digest: str
    size: int


def collecting(queue: Queue) -> list[sqlite3.Row]:
    """Returns `id`, `expected`, `seconds`, `late` and `images` of each group that waits to be complete."""
    return queue.rows(_OPEN)


def claim(queue: Queue, complete: Mapping[int, tuple[int, str]]) -> SeriesTask | None:
    """Returns the next group to process and counts the attempt; `None` if there is none.

    From here on nothing is added to the group: an object that comes later is late.

    Args:
        queue: The queue.
        complete: Number of a group that waits to how many images it has, and why it is complete. One to which an image
            was added since is left alone.
    """
    with queue.transaction() as db:
        row = db.execute(
            f"SELECT id FROM series WHERE state = '{RECEIVED}' AND next_attempt <= ? ORDER BY id LIMIT 1",
            (time.time(),),
        ).fetchone()
        found = row["id"] if row else _first_complete(db, complete)
        if found is None:
            return None
        db.execute(f"UPDATE series SET state = '{PROCESSING}', attempts = attempts + 1 WHERE id = ?", (found,))
        row = db.execute("SELECT id, method, spacing, attempts, expected FROM series WHERE id = ?", (found,)).fetchone()
        files = tuple(name for (name,) in db.execute(_FILES, (found,)))
    return SeriesTask(**dict(row), files=files)


def _first_complete(db: sqlite3.Connection, complete: Mapping[int, tuple[int, str]]) -> int | None:
    for number, (images, reason) in complete.items():
        row = db.execute(f"SELECT state FROM series WHERE id = ? AND state = '{COLLECTING}'", (number,)).fetchone()
        if row and len(db.execute(_FILES, (number,)).fetchall()) == images:
            _event(db, "series complete", number, f"{images} images, {reason}")
            return number
    return None


def processed(queue: Queue, task: SeriesTask, images: Iterable[DerivedImage], remarks: str = "") -> None:
    """Records a derived series and queues each of its images for the destinations of the rule.

    Args:
        queue: The queue.
        task: The group.
        images: The derived series.
        remarks: What the job has to say, without patient data.

    Raises:
        InputError: One of them came from elsewhere before, as from another gateway: nothing is recorded.
    """
    images, now = list(images), time.time()
    with queue.transaction() as db:
        if any(queue.known(image.uid) for image in images):
            raise InputError("an image of the derived series has been received before, from whoever made it first")
        group = db.execute("SELECT * FROM series WHERE id = ?", (task.id,)).fetchone()
        for image in images:
            number = _insert_result(db, group, image, now)
            schema.insert_deliveries(db, number, DERIVED, _names(group))
        conclude(db, task.id, PROCESSED, "", now)
        _event(
            db,
            "series processed",
            task.id,
            f"{len(images)} images by {task.method}" + (f"; {remarks}" if remarks else ""),
        )
    queue.notify()


def _insert_result(db: sqlite3.Connection, group: sqlite3.Row, image: DerivedImage, now: float) -> int | None:
    """Adds an image of a derived series as an object of its own, without a sender."""
    number = db.execute(
        "INSERT INTO instances (sop_instance_uid, sop_class_uid, transfer_syntax, digest, size, file, calling_ae, "
        "received_at, model, scale, result_to, state, changed_at) "
        f"VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, 0, '', '{GROUPED}', ?)",
        (image.uid, image.sop_class, image.syntax, image.digest, image.size, image.file, group["last_at"])
        + (group["method"], now),
    ).lastrowid
    db.execute(f"INSERT INTO series_instances VALUES (?, ?, '{DERIVED}')", (number, group["id"]))
    return number


def finish(queue: Queue, task: SeriesTask, state: str, reason: str, delay: float = 0.0, uncount: bool = False) -> None:
    """Records the end of an attempt without a result.

    Args:
        queue: The queue.
        task: The group.
        state: `passed` (refused: the originals only), `failed` or `received` (to be tried again).
        reason: Reason without patient data.
        delay: Seconds until the next attempt.
        uncount: The attempt was interrupted by the node itself and does not count.
    """
    now = time.time()
    with queue.transaction() as db:
        db.execute(
            "UPDATE series SET state = ?, reason = ?, next_attempt = ?, attempts = ?, changed_at = ? WHERE id = ?",
            (state, reason, now + delay, task.attempts - uncount, now, task.id),
        )
        if state == PASSED:
            conclude(db, task.id, PASSED, reason, now)
        _event(db, "series interrupted" if uncount else f"series: {state}", task.id, reason)
    queue.notify()


def conclude(db: sqlite3.Connection, number: int, state: str, reason: str, now: float) -> None:
    """Sets the group and its objects to an end, from which on the objects may be removed (G-15)."""
    db.execute("UPDATE series SET state = ?, reason = ?, changed_at = ? WHERE id = ?", (state, reason, now, number))
    db.execute(
        "UPDATE instances SET state = ?, reason = ?, changed_at = ? WHERE id IN "
        f"(SELECT instance FROM series_instances WHERE series = ? AND kind = '{ORIGINAL}')",
        (GROUPED if state == PROCESSED else state, reason, now, number),
    )


def recover(queue: Queue, attempts: int) -> int:
    """Puts groups back whose job the end of the last process interrupted, and returns their number.

    Args:
        queue: The queue.
        attempts: Attempts after which a group is quarantined: it may have been what ended the process.
    """
    return queue.recover(attempts, "series")


def is_waiting(queue: Queue) -> bool:
    """Whether a group is not done yet, of this configuration or of an earlier one."""
    return bool(queue.rows(f"SELECT 1 FROM series WHERE state NOT IN ('{PROCESSED}', '{PASSED}') LIMIT 1"))


def _names(group: sqlite3.Row) -> list[str]:
    return [name for name in group["result_to"].split("\t") if name]


def _event(db: sqlite3.Connection, event: str, number: int, detail: str) -> None:
    """Adds a line to the audit trail under the first object of the group: it is kept as long as that is."""
    row = db.execute(
        f"SELECT MIN(instance) FROM series_instances WHERE series = ? AND kind = '{ORIGINAL}'", (number,)
    ).fetchone()
    schema.insert_event(db, event, row[0] or 0, "", "", f"series {number}: {detail}" if detail else f"series {number}")
