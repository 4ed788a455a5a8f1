"""Submits jobs, tries failed ones again, and quarantines an input that fails each time."""

import collections
import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import queue
import secrets
import typing
from collections.abc import Iterable, Iterator

from tfmisr.edge.files import DISK_FULL

if typing.TYPE_CHECKING:
    from tfmisr.cluster.connection import Connection

Job = tuple[str, typing.Any]  # key and JSON-able payload

_FATAL = (*DISK_FULL, errno.EROFS)  # the next input would fail as well
_SECONDS_BETWEEN_CHECKS = 1.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one job; it does not depend on the worker.

    Attributes:
        key: Key of the job.
        value: What the function returned, after JSON (tuples are lists); `None` after an error.
        error: Why there is no value, in one line; `None` without error.
        seconds: Time of the last try.
        tries: How often it was tried.
        quarantined: Whether another try might have succeeded, but all that were allowed failed: a crash, lack of
            memory, a time-out. A refused input (`InputError`) is not tried again.
    """

    key: str
    value: typing.Any = None
    error: str | None = None
    seconds: float = 0.0
    tries: int = 1
    quarantined: bool = False


@dataclasses.dataclass
class _Pending:
    key: str
    payload: str
    tries: int = 0


def run(
    client: "Connection", function: str, jobs: Iterable[Job], *, retries: int = 2, timeout: float | None = None
) -> Iterator[Outcome]:
    """Calls a function for each job and yields an outcome for each, in order of completion.

    Args:
        client: From `tfmisr.cluster.connect`.
        function: Import path `module:name` of a function of one argument, the payload. It must be importable on the
            workers, and idempotent: a job is repeated when its worker is lost.
        jobs: Pairs of a unique key and a payload of strings, numbers, booleans, `None`, lists and dictionaries.
            Consumed as workers take them: a generator of millions needs no memory. Keys stay here; workers, logs and
            Dask's dashboard receive a hash of them.
        retries: How often a job that crashed, hung or lacked memory is tried again, in the last try with nothing else
            running.
        timeout: Seconds for one job, or `None`. The first job of a process includes the loading of a network.

    Raises:
        InputError: The scheduler is lost.
        OSError: A disk is full or read-only.
    """
    yield from _Run(client, function, retries, timeout).outcomes(iter(jobs))


class _Run:
    def __init__(self, client, function, retries, timeout) -> None:
        self.client, self.function, self.retries, self.timeout = client, function, retries, timeout
        self.running: dict[object, _Pending] = {}  # future to job
        self.done: queue.SimpleQueue = queue.SimpleQueue()
        self.again: collections.deque[_Pending] = collections.deque()
        self.last: collections.deque[_Pending] = collections.deque()
        self.secret = secrets.token_bytes(16)

    def outcomes(self, jobs) -> Iterator[Outcome]:
        fresh = (_Pending(key, json.dumps(payload)) for key, payload in jobs)
        try:
            while self._fill(fresh):
                for future, reply in self._completed():
                    if outcome := self._settle(self.running.pop(future), reply):
                        yield outcome
        finally:
            self.client.cancel(list(self.running))

    def _fill(self, fresh) -> bool:
        """Submits as many jobs as the workers can hold, and returns whether any is running."""
        while len(self.running) < self.client.window():
            job = self.again.popleft() if self.again else next(fresh, None)
            if job is None:
                break
            self._submit(job)
        if not self.running and self.last:
            self._submit(self.last.popleft())  # alone
        return bool(self.running)

    def _submit(self, job) -> None:
        name = self.function.rpartition(":")[2]
        digest = hashlib.blake2b(f"{job.tries} {job.key}".encode(errors="surrogateescape"), key=self.secret)
        future = self.client.submit(f"{name}-{digest.hexdigest()[:32]}", self.function, job.payload, self.timeout)
        self.running[future] = job
        future.add_done_callback(self.done.put)

    def _completed(self) -> list[tuple[object, dict]]:
        """Waits for at least one future, and returns all that are done with their replies."""
        while True:
            with contextlib.suppress(queue.Empty):
                futures = [self.done.get(timeout=_SECONDS_BETWEEN_CHECKS)]
                break
            self.client.check()
        while not self.done.empty():
            futures.append(self.done.get())
        return list(zip(futures, self.client.replies(futures), strict=True))

    def _settle(self, job, reply) -> Outcome | None:
        job.tries += 1
        error, seconds = reply.get("error"), reply.get("seconds", 0.0)
        if error is None:
            return Outcome(job.key, reply["value"], None, seconds, job.tries)
        if reply["errno"] in _FATAL:
            raise OSError(reply["errno"], os.strerror(reply["errno"]))
        if reply["final"] or job.tries > self.retries:
            return Outcome(job.key, None, error, seconds, job.tries, not reply["final"])
        (self.last if job.tries == self.retries else self.again).append(job)
        return None
