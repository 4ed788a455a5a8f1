"""Exponential backoff with a cap and jitter, and the state of destinations that cannot be reached (G-12, G-13)."""

import random
import time

from tfmisr.gateway.queue import Queue

JITTER = 0.2  # of the delay, so that many nodes do not come back at the same moment


def delay(failures: int, first: float, cap: float) -> float:
    """Returns the seconds to wait after a number of failures in a row.

    Args:
        failures: At least 1.
        first: Seconds after the first failure.
        cap: Largest number of seconds, before the jitter.
    """
    return min(first * 2.0 ** min(failures - 1, 40), cap) * random.uniform(1 - JITTER, 1 + JITTER)


def longest(first: float, cap: float) -> float:
    """Returns the longest delay of an object, with the addition for the one that a destination did not take."""
    return cap * (1 + JITTER) + first


def remaining(queue: Queue, destination: str) -> float:
    """Returns the seconds until a destination is tried again; 0 or less for now."""
    found = queue.rows("SELECT next_attempt FROM destinations WHERE name = ?", destination)
    return found[0][0] - time.time() if found else 0.0


def failed(queue: Queue, destination: str, reason: str, first: float, cap: float) -> float:
    """Records that a destination could not be reached or is out of resources; returns the seconds to wait.

    Args:
        queue: The queue.
        destination: Its name.
        reason: Reason without patient data.
        first: As of `delay`.
        cap: As of `delay`.
    """
    with queue.transaction() as db:
        row = db.execute("SELECT failures FROM destinations WHERE name = ?", (destination,)).fetchone()
        failures = (row["failures"] if row else 0) + 1
        seconds = delay(failures, first, cap)
        db.execute(
            "INSERT OR REPLACE INTO destinations (name, failures, next_attempt, reason) VALUES (?, ?, ?, ?)",
            (destination, failures, time.time() + seconds, reason),
        )
    return seconds


def reset(queue: Queue, destination: str) -> None:
    """Records that a destination can be reached."""
    if queue.rows("SELECT 1 FROM destinations WHERE name = ?", destination):
        with queue.transaction() as db:
            db.execute("DELETE FROM destinations WHERE name = ?", (destination,))
