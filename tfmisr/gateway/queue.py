"""The queue on the disk: SQLite in WAL mode with full synchronization, so that a committed row survives a power cut.

`synchronous=FULL` flushes the log at each commit (https://www.sqlite.org/pragma.html#pragma_synchronous). One
connection and one lock serve all threads of the node; the commands of other processes have connections of their own.
"""

import contextlib
import pathlib
import sqlite3
import threading
import time
from collections.abc import Iterator

from tfmisr.edge.errors import InputError
from tfmisr.gateway import routes, schema, series_arrivals, spool
from tfmisr.gateway.schema import (
    DUE,
    FAILED,
    ORIGINAL,
    PASSED,
    PROCESSED,
    PROCESSING,
    RECEIVED,
    RESULT,
    RETRY,
    SENT,
    Arrival,
    Delivery,
    Task,
)

NEW, DUPLICATE, CONFLICT = "new", "duplicate", "conflict"


class Queue:
    """The queue of one node.

    Args:
        path: The database; created with its tables if it does not exist.

    Attributes:
        version: Number of changes by this process that may have made something due.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition()
        self.version = 0
        spool.make_private(path)
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare(path)
        except InputError:
            self._connection.close()
            raise

    def _prepare(self, path: pathlib.Path) -> None:
        """Sets the connection up and creates the tables of a new database."""
        try:
            for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._connection.execute(f"PRAGMA {setting}")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"the queue {path} cannot be read ({error}); restore it, or move the spool away"
            ) from error
        if version not in (0, schema.VERSION):
            raise InputError(f"expected a queue of version {schema.VERSION} at {path}, found {version}")
        if not schema.TABLE_NAMES.issubset(name for (name,) in self.rows("SELECT name FROM sqlite_master")):
            # new, or of an earlier release
            self._connection.executescript(f"BEGIN; {schema.TABLES} PRAGMA user_version={schema.VERSION}; COMMIT;")

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection in a transaction, which is on the disk when the block ends without an error."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Returns the rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def notify(self) -> None:
        """Wakes the threads that wait for something to do."""
        with self._changed:
            self.version += 1
            self._changed.notify_all()

    def wait(self, version: int, seconds: float) -> None:
        """Waits until something may be due.

        Args:
            version: Value of `version` before the caller looked for something to do.
            seconds: Longest time; commands of other processes and times of attempts notify nobody.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.version != version, seconds)

    def record(self, event: str, instance: int = 0, digest: str = "", peer: str = "", detail: str = "") -> None:
        """Adds a line to the audit trail: who did what to which bytes; no identifier of a patient."""
        with self.transaction() as db:
            schema.insert_event(db, event, instance, digest, peer, detail)

    def known(self, uid: str) -> str:
        """Returns the digest of an object or result with this SOP Instance UID; empty if there is none."""
        found = self.rows("SELECT digest FROM instances WHERE sop_instance_uid = ?", uid)
        found = found or self.rows("SELECT result_digest FROM instances WHERE result_uid = ? AND result_uid <> ''", uid)
        return found[0][0] if found else ""

    def replace_lost_file(self, arrival: Arrival, folder: pathlib.Path) -> bool:
        """Gives an object that is in the queue this file if its own has vanished from the spool; false if it has not.

        Raises:
            sqlite3.Error: It could not be written.
        """
        with self.transaction() as db:
            row = db.execute(
                "SELECT id, file FROM instances WHERE sop_instance_uid = ?", (arrival.sop_instance_uid,)
            ).fetchone()
            if row is None or (folder / row["file"]).is_file():
                return False
            db.execute("UPDATE instances SET file = ? WHERE id = ?", (arrival.file, row["id"]))
            schema.insert_event(db, "file replaced", row["id"], arrival.digest, arrival.calling_ae, "")
        return True

    def has_file(self, file: str) -> bool:
        """Whether an object of the queue has this file."""
        return bool(self.rows("SELECT 1 FROM instances WHERE file = ?", file))

    def add(self, arrival: Arrival) -> str:
        """Adds an object, or to one that came before the destinations that it was not for until now.

        Returns:
            `NEW` if it was added, `DUPLICATE` if the same bytes are in the queue, `CONFLICT` if other bytes are.

        Raises:
            sqlite3.Error: It could not be written.
        """
        with self.transaction() as db:
            if known := self.known(arrival.sop_instance_uid):
                if known == arrival.digest:
                    schema.insert_event(db, "duplicate", 0, arrival.digest, arrival.calling_ae, "")
                    routes.extend(db, arrival)
                return DUPLICATE if known == arrival.digest else CONFLICT
            now = time.time()
            state = RECEIVED if arrival.model else PASSED
            number = db.execute(
                "INSERT INTO instances (sop_instance_uid, sop_class_uid, transfer_syntax, digest, size, file, "
                "calling_ae, received_at, model, scale, result_to, state, reason, changed_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (arrival.sop_instance_uid, arrival.sop_class_uid, arrival.transfer_syntax, arrival.digest)
                + (arrival.size, arrival.file, arrival.calling_ae, now, arrival.model, arrival.scale)
                + ("\t".join(arrival.result_to), state, arrival.reason, now),
            ).lastrowid
            schema.insert_deliveries(db, number, ORIGINAL, arrival.original_to)
            schema.insert_event(db, "received", number, arrival.digest, arrival.calling_ae, arrival.reason)
            if arrival.series:
                series_arrivals.join(db, number, arrival)
        self.notify()
        return NEW

    def add_conflict(self, arrival: Arrival) -> bool:
        """Records an object that came with the UID of another one; false if these bytes were recorded before."""
        with self.transaction() as db:
            kept = self.known(arrival.sop_instance_uid)
            added = db.execute(
                "INSERT OR IGNORE INTO conflicts (sop_instance_uid, digest, kept_digest, file, calling_ae, received_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (arrival.sop_instance_uid, arrival.digest, kept, arrival.file, arrival.calling_ae, time.time()),
            ).rowcount
            schema.insert_event(db, "conflict", 0, arrival.digest, arrival.calling_ae, f"kept {kept}")
        return bool(added)

    def is_conflict(self, arrival: Arrival) -> bool:
        """Whether these bytes are in quarantine."""
        query = "SELECT 1 FROM conflicts WHERE sop_instance_uid = ? AND digest = ?"
        return bool(self.rows(query, arrival.sop_instance_uid, arrival.digest))

    def claim(self) -> Task | None:
        """Returns the next object to process and counts the attempt; `None` if there is none."""
        with self.transaction() as db:
            row = db.execute(
                "SELECT id, file, model, scale, attempts + 1 AS attempts FROM instances "
                f"WHERE state = '{RECEIVED}' AND next_attempt <= ? ORDER BY id LIMIT 1",
                (time.time(),),
            ).fetchone()
            if row is None:
                return None
            db.execute(
                f"UPDATE instances SET state = '{PROCESSING}', attempts = ? WHERE id = ?", (row["attempts"], row["id"])
            )
        return Task(**dict(row))

    def processed(self, task: Task, file: str, uid: str, syntax: str, digest: str) -> None:
        """Records a result and queues it for its destinations."""
        with self.transaction() as db:
            db.execute(
                f"UPDATE instances SET state = '{PROCESSED}', result_file = ?, result_uid = ?, result_syntax = ?, "
                "result_digest = ?, changed_at = ? WHERE id = ?",
                (file, uid, syntax, digest, time.time(), task.id),
            )
            ((names,),) = db.execute("SELECT result_to FROM instances WHERE id = ?", (task.id,))
            schema.insert_deliveries(db, task.id, RESULT, filter(None, names.split("\t")))
            schema.insert_event(db, "processed", task.id, digest, "", task.model)
        self.notify()

    def finish(self, task: Task, state: str, reason: str, delay: float = 0.0, uncount: bool = False) -> None:
        """Records the end of an attempt without a result.

        Args:
            task: The object.
            state: `passed` (refused: the original only), `failed` or `received` (to be tried again).
            reason: Reason without patient data.
            delay: Seconds until the next attempt.
            uncount: The attempt was interrupted by the node itself and does not count.
        """
        with self.transaction() as db:
            db.execute(
                "UPDATE instances SET state = ?, reason = ?, next_attempt = ?, attempts = ?, changed_at = ? "
                "WHERE id = ?",
                (state, reason, time.time() + delay, task.attempts - uncount, time.time(), task.id),
            )
            schema.insert_event(db, "interrupted" if uncount else f"processing: {state}", task.id, "", "", reason)
        self.notify()

    def recover(self, attempts: int, table: str = "instances") -> int:
        """Puts back what the end of the last process interrupted, and returns the number.

        Args:
            attempts: Attempts after which an entry is quarantined: it may have been what ended the process.
            table: `instances`, the objects, or `series`, the groups of a volume method.
        """
        with self.transaction() as db:
            return db.execute(
                f"UPDATE {table} SET state = CASE WHEN attempts < ? THEN '{RECEIVED}' ELSE '{FAILED}' END, "
                f"reason = 'the node ended while it was processed', changed_at = ? WHERE state = '{PROCESSING}'",
                (attempts, time.time()),
            ).rowcount

    def due(self, destination: str, limit: int) -> list[Delivery]:
        """Returns what can be sent now, the object before its result (G-14)."""
        return [Delivery(**dict(row)) for row in self.rows(DUE, destination, time.time(), limit)]

    def sent(self, delivery: Delivery, destination: str, detail: str) -> None:
        """Records that a destination has stored what was sent."""
        with self.transaction() as db:
            db.execute(
                f"UPDATE deliveries SET state = '{SENT}', sent_at = ?, reason = ?, attempts = ? WHERE id = ?",
                (time.time(), detail, delivery.attempts + 1, delivery.id),
            )
            db.execute("DELETE FROM destinations WHERE name = ?", (destination,))
            schema.insert_event(db, f"sent {delivery.kind}", delivery.instance, "", destination, detail)
        self.notify()

    def not_sent(self, delivery: Delivery, destination: str, reason: str, delay: float | None) -> None:
        """Records that a destination has refused what was sent.

        Args:
            delivery: What was sent.
            destination: Its name.
            reason: Status, without patient data.
            delay: Seconds until the next attempt; `None` quarantines it.
        """
        state = FAILED if delay is None else RETRY
        with self.transaction() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, reason = ?, attempts = ?, next_attempt = ? WHERE id = ?",
                (state, reason, delivery.attempts + 1, time.time() + (delay or 0), delivery.id),
            )
            schema.insert_event(db, f"{state} {delivery.kind}", delivery.instance, "", destination, reason)

    def defer(self, delivery: Delivery, reason: str, delay: float) -> None:
        """Postpones a delivery by `delay` seconds without counting an attempt."""
        with self.transaction() as db:
            db.execute(
                f"UPDATE deliveries SET state = '{RETRY}', reason = ?, next_attempt = ? WHERE id = ?",
                (reason, time.time() + delay, delivery.id),
            )
