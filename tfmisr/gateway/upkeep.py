"""Upkeep of the queue: removes what every destination has (G-15), and times that a wrong clock has set."""

import time

from tfmisr.gateway import entries, schema
from tfmisr.gateway.queue import Queue


def remove_done(queue: Queue, age: float) -> list[str]:
    """Forgets objects that every destination has had for `age` seconds, and returns the names of their files."""
    limit = time.time() - age
    with queue.transaction() as db:
        ids = [row["id"] for row in db.execute(schema.DONE, (limit, limit))]
        files = []
        for number in ids:
            row = db.execute("SELECT file, result_file FROM instances WHERE id = ?", (number,)).fetchone()
            files += [name for name in row if name]
            db.execute("DELETE FROM deliveries WHERE instance = ?", (number,))
            db.execute("DELETE FROM instances WHERE id = ?", (number,))
        db.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM series_instances)")
        db.execute(
            "DELETE FROM events WHERE at < ? AND event <> ? AND instance NOT IN (SELECT id FROM instances)",
            (limit, entries.DISCARDED),
        )
    return files


def correct_times(queue: Queue, longest: float) -> None:
    """Sets times that only a clock which was ahead can have set to now, else nothing would be sent until they come.

    A device without a battery may start with a wrong date, and gets the right one from the network later.

    Args:
        queue: The queue.
        longest: Longest delay in seconds that the node itself sets.
    """
    now = time.time()
    latest = now + longest
    with queue.transaction() as db:
        count = 0
        for table in ("deliveries", "instances", "destinations", "commitments", "series"):
            count += db.execute(f"UPDATE {table} SET next_attempt = ? WHERE next_attempt > ?", (now, latest)).rowcount
        db.execute("UPDATE deliveries SET sent_at = ? WHERE sent_at > ?", (now, now))
        db.execute("UPDATE instances SET changed_at = ? WHERE changed_at > ?", (now, now))
        db.execute("UPDATE instances SET received_at = ? WHERE received_at > ?", (now, now))
        db.execute("UPDATE series SET first_at = MIN(first_at, ?), last_at = ? WHERE last_at > ?", (now, now, now))
    if count:
        queue.notify()
