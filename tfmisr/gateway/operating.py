"""What an operator asks and does while the node runs or is stopped: status, retry, quarantine."""

import time

from tfmisr.edge.errors import InputError
from tfmisr.gateway import commitments, series_reports
from tfmisr.gateway.config import Config
from tfmisr.gateway.metrics import oldest
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import FAILED, PASSED, PROCESSING, QUEUED, RECEIVED, REQUESTED, RETRY, SENT
from tfmisr.gateway.spool import Spool


def open_queue(settings: Config) -> Queue:
    """Opens the queue of a node that has been started before.

    Raises:
        InputError: There is none.
    """
    path = Spool(settings.node.spool).database
    if not path.is_file():
        raise InputError(f"expected the queue of a gateway at {path}, found none: the gateway was never started")
    return Queue(path)


def status(queue: Queue, settings: Config) -> str:
    """Returns what is in the queue, as text."""
    counts = {row[0]: row[1] for row in queue.rows("SELECT state, COUNT(*) FROM instances GROUP BY 1")}
    waiting = counts.get(RECEIVED, 0) + counts.get(PROCESSING, 0)
    lines = [
        f"objects in the spool: {sum(counts.values())}; to process: {waiting}; "
        f"original only: {counts.get(PASSED, 0)}; processing quarantined: {counts.get(FAILED, 0)}"
    ]
    lines += series_reports.status(queue)
    names = [destination.name for destination in settings.destinations]
    names += [row[0] for row in queue.rows("SELECT DISTINCT destination FROM deliveries") if row[0] not in names]
    lines += [_of_destination(queue, name) for name in names]
    conflicts, used = queue.rows("SELECT COUNT(*) FROM conflicts")[0][0], Spool(settings.node.spool).quarantined / 1e6
    text = f"{conflicts} ({used:.1f} of {settings.node.quarantine_mb:g} MB)"
    lines.append(f"same UID with other bytes: {text}; oldest unsent object: {oldest(queue):.0f} s")
    return "\n".join(lines)


def _of_destination(queue: Queue, name: str) -> str:
    rows = queue.rows("SELECT state, COUNT(*) FROM deliveries WHERE destination = ? GROUP BY 1", name)
    counts = {row[0]: row[1] for row in rows}
    waiting = counts.get(QUEUED, 0) + counts.get(RETRY, 0)
    line = f"{name}: sent {counts.get(SENT, 0)}, waiting {waiting}, quarantined {counts.get(FAILED, 0)}"
    for row in queue.rows("SELECT failures, next_attempt, reason FROM destinations WHERE name = ?", name):
        seconds = max(row["next_attempt"] - time.time(), 0)
        line += f"; {row['reason']}, {row['failures']} failures in a row, next attempt in {seconds:.0f} s"
    return line + commitments.status(queue, name)


def waiting_for_nobody(queue: Queue, settings: Config) -> dict[str, int]:
    """Returns the number of unsent deliveries by destination, of those that the configuration lacks."""
    names = [destination.name for destination in settings.destinations]
    rows = queue.rows(f"SELECT destination, COUNT(*) FROM deliveries WHERE state <> '{SENT}' GROUP BY 1")
    return {name: count for name, count in rows if name not in names}


def retry(queue: Queue) -> int:
    """Makes everything that waits for a further attempt due now, and returns its number."""
    with queue.transaction() as db:
        db.execute("DELETE FROM destinations")
        count = db.execute(f"UPDATE deliveries SET next_attempt = 0 WHERE state = '{RETRY}'").rowcount
        count += db.execute(
            f"UPDATE instances SET next_attempt = 0 WHERE state = '{RECEIVED}' AND next_attempt > 0"
        ).rowcount
        count += db.execute(
            f"UPDATE series SET next_attempt = 0 WHERE state = '{RECEIVED}' AND next_attempt > 0"
        ).rowcount
        count += db.execute(
            f"UPDATE commitments SET next_attempt = 0 WHERE state = '{REQUESTED}' AND reason <> ''"
        ).rowcount
    return count


def quarantine(queue: Queue, settings: Config) -> list[str]:
    """Returns a line for each quarantined delivery, processing and conflict, its name first.

    Deliveries that wait for a destination which the configuration lacks are among them.
    """
    lines = []
    for name in waiting_for_nobody(queue, settings):
        query = "SELECT * FROM deliveries WHERE destination = ? AND state IN (?, ?) ORDER BY id"
        lines += [
            f"delivery:{row['id']}  {row['kind']} of object {row['instance']}: {name} is no destination"
            for row in queue.rows(query, name, QUEUED, RETRY)
        ]
    for row in queue.rows(f"SELECT * FROM deliveries WHERE state = '{FAILED}' ORDER BY id"):
        text = f"{row['kind']} of object {row['instance']} to {row['destination']}, {row['attempts']} attempts"
        lines.append(f"delivery:{row['id']}  {text}: {row['reason']}")
    lines += [
        f"processing:{row['id']}  object {row['id']}, {row['attempts']} attempts: {row['reason']}"
        for row in queue.rows(f"SELECT * FROM instances WHERE state = '{FAILED}' ORDER BY id")
    ]
    lines += series_reports.quarantine(queue) + commitments.quarantine(queue)
    for row in queue.rows("SELECT * FROM conflicts ORDER BY id"):
        text = f"sha256 {row['digest'][:12]}, not {row['kept_digest'][:12]}, from {row['calling_ae']}"
        lines.append(f"conflict:{row['id']}  same UID with other bytes ({text}): {row['file']}")
    return lines


def release(queue: Queue, names: list[str]) -> int:
    """Takes deliveries and processing out of quarantine, with all their attempts again, and returns their number.

    Raises:
        InputError: There is no such entry, or it is a conflict.
    """
    with queue.transaction() as db:
        for name in names:
            kind, _, number = name.partition(":")
            if kind == "conflict":
                raise InputError(
                    f"{name} cannot be released: two objects cannot have one UID, and its sender knows that it was "
                    "refused; correct it there"
                )
            tables = {"delivery": ("deliveries", QUEUED), "processing": ("instances", RECEIVED)}
            table, state = (tables | {"series": ("series", RECEIVED)}).get(kind, ("", ""))
            changed = (kind == "commitment" and commitments.release(db, number)) or (
                table
                and db.execute(
                    f"UPDATE {table} SET state = ?, attempts = 0, next_attempt = 0 WHERE id = ? AND state = '{FAILED}'",
                    (state, number),
                ).rowcount
            )
            if not changed:
                raise InputError(
                    "expected a name that `quarantine list` prints, with --destination where its own is none. "
                    f"Received: {name}"
                )
            db.execute(
                "INSERT INTO events (at, instance, digest, event, peer, detail) VALUES (?, 0, '', 'released', '', ?)",
                (time.time(), name),
            )
    return len(names)


def audit(queue: Queue) -> list[str]:
    """Returns the audit trail, oldest first: time, object, event, peer, digest, detail."""
    lines = []
    for row in queue.rows("SELECT * FROM events ORDER BY at, rowid"):
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["at"]))
        number = f"object {row['instance']}" if row["instance"] else "-"
        lines.append("\t".join((when, number, row["event"], row["peer"], row["digest"][:16], row["detail"])))
    return lines
