"""The running node: receiver, processors, senders, monitoring, and their orderly end (G-18)."""

import contextlib
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
import typing
import warnings
from collections.abc import Iterator

from tfmisr.edge.errors import InputError
from tfmisr.gateway import backoff, commitments, incoming, monitoring, operating, schema, series, upkeep
from tfmisr.gateway.committer import Committer
from tfmisr.gateway.config import Config
from tfmisr.gateway.metrics import Metrics, QueueMetrics
from tfmisr.gateway.processor import PROCESSING_CAP, Processor
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.receiver import Receiver
from tfmisr.gateway.sender import Sender
from tfmisr.gateway.series_processor import SeriesProcessor
from tfmisr.gateway.spool import Spool
from tfmisr.gateway.stow import StowSender

if typing.TYPE_CHECKING:
    from tfmisr.gateway.dicomweb.service import Service

_LOG = logging.getLogger("tfmisr.gateway")
SECONDS_TO_FINISH, SECONDS_TO_JOIN = 5.0, 3.0  # for objects that are arriving, and for those being sent
_SECONDS_BETWEEN_ROUNDS = 1.0
_ROUNDS_BETWEEN_REMOVALS = 60


def run(settings: Config) -> int:
    """Runs the node until SIGTERM or Ctrl-C, and returns the exit status.

    Raises:
        InputError: Another node uses the spool, or a port is in use.
        OSError: The spool cannot be written.
    """
    _log_to_stderr()
    spool = Spool(settings.node.spool, settings.node.reserve_mb * 1e6)
    spool.create()
    with spool.locked():
        node = Node(settings, spool)
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        node.start()
        node.serve_until(stopping)
        node.stop()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0)  # threads of pynetdicom that wait for a silent peer would delay the end


def _log_uncaught(arguments: threading.ExceptHookArgs) -> None:
    """Logs the type of an error that ended a thread: its text, and pynetdicom's, may quote a data set."""
    _LOG.error("thread %s ended by %s", arguments.thread and arguments.thread.name, arguments.exc_type.__name__)


def _log_to_stderr() -> None:
    """Logs the node's own lines only: those of the DICOM libraries quote Attribute values, which may name a patient."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=logging.WARNING)
    _LOG.setLevel(logging.INFO)
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).disabled = True
        for other in list(logging.root.manager.loggerDict):
            if other.startswith(f"{name}."):
                logging.getLogger(other).disabled = True
    warnings.simplefilter("ignore")
    threading.excepthook = _log_uncaught


@contextlib.contextmanager
def _naming_address(address: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot listen on {address} port {port}: {error.strerror}; choose another") from error


def _web(settings: Config, parts: tuple, receiver: Receiver) -> "Service | None":
    """Returns the DICOMweb service, where there is one: h11 is imported for it alone.

    Without it nothing would remove from an index that an earlier configuration had what the spool no longer holds.
    """
    if settings.dicomweb is None:
        for name in ("catalog.db", "catalog.db-journal"):
            (settings.node.spool / name).unlink(missing_ok=True)
        return None
    from tfmisr.gateway.dicomweb.service import Service

    return Service(settings, *parts, receiver.store)


class Node:
    """All parts of the node.

    Args:
        settings: The configuration.
        spool: The spool, created and locked.
    """

    def __init__(self, settings: Config, spool: Spool) -> None:
        self._settings, self._spool = settings, spool
        spool.check_complete()
        self._queue = Queue(spool.database)
        self._metrics = Metrics()
        self._recover()
        incoming.install(spool.incoming)
        parts = (spool, self._queue, self._metrics)
        self._receiver = Receiver(settings, *parts)
        self._web = _web(settings, parts, self._receiver)
        self._senders = [
            (StowSender if each.stow_path else Sender)(settings, each, *parts) for each in settings.destinations
        ]
        committing = [each for each in settings.destinations if each.storage_commitment]
        commitments.begin(self._queue, [each.name for each in committing])
        self._senders += [Committer(settings, each, self._queue) for each in committing]
        waiting = self._queue.rows(f"SELECT 1 FROM instances WHERE state = '{schema.RECEIVED}' LIMIT 1")
        count = settings.processing.processes if waiting or any(rule.model for rule in settings.rules) else 0
        self._processors = [Processor(settings, *parts) for _ in range(count)]
        if series.is_waiting(self._queue) or any(rule.volume for rule in settings.rules):
            self._processors.append(SeriesProcessor(settings, *parts))
        self._metrics.registry.register(QueueMetrics(self._queue, spool, lambda: self._receiver.associations))

    def _recover(self) -> None:
        """Takes up what the last process left: nothing acknowledged is lost, nothing else is kept (G-02)."""
        again = self._queue.recover(self._settings.processing.attempts)
        series.recover(self._queue, self._settings.processing.attempts)
        known = [
            name
            for query in ("SELECT file FROM instances", "SELECT file FROM conflicts")
            for (name,) in self._queue.rows(query)
        ]
        # The result of an object that was being processed may be complete, and is then used.
        known += [f"results/{number}.dcm" for (number,) in self._queue.rows("SELECT id FROM instances")]
        swept = self._spool.sweep(known)
        for name, count in operating.waiting_for_nobody(self._queue, self._settings).items():
            _LOG.error("%d deliveries wait for destination %s, which the configuration lacks", count, name)
        _LOG.info("queue opened: %d objects to process again, %d unfinished files removed", again, swept)

    def start(self) -> None:
        """Starts all parts; C-ECHO is answered while the models load (G-21)."""
        node = self._settings.node
        with _naming_address(node.address, node.port):
            port = self._receiver.start()
        _LOG.info("%s listens on %s port %d", node.ae_title, node.address, port)
        if self._web:
            web = self._settings.dicomweb
            with _naming_address(web.address, web.port):
                port = self._web.start()
            _LOG.info("DICOMweb at %s port %d, path %s/studies", web.address, port, web.path)
        for part in (*self._senders, *self._processors):
            part.start()
        if http := self._settings.monitoring:
            with _naming_address(http.address, http.port):
                port = monitoring.start(http, self.conditions, self._metrics.text)
            _LOG.info("monitoring listens on %s port %d", http.address, port)

    def conditions(self) -> dict[str, bool]:
        """Returns the conditions of readiness by name."""
        web = {"dicomweb_alive": self._web.is_alive()} if self._web else {}
        return web | {
            "queue_writable": self._is_writable(),
            "disk_has_space": self._spool.has_space,
            "models_loaded": all(processor.ready for processor in self._processors),
            "senders_alive": all(sender.is_alive() for sender in self._senders),
            "destinations_known": not operating.waiting_for_nobody(self._queue, self._settings),
        }

    def _is_writable(self) -> bool:
        try:
            with self._queue.transaction() as db:
                db.execute(f"PRAGMA user_version={schema.VERSION}")  # writes a page
            return True
        except (OSError, sqlite3.Error):
            return False

    def serve_until(self, stopping: threading.Event) -> None:
        """Removes files of broken connections and objects that are done, until it is stopped."""
        rounds = 0
        while not stopping.wait(_SECONDS_BETWEEN_ROUNDS):
            rounds += 1
            try:
                incoming.discard_abandoned()
                if rounds % _ROUNDS_BETWEEN_REMOVALS == 1:
                    upkeep.correct_times(self._queue, self._longest_delay())
                    self.remove_done()
                    if self._web:
                        self._web.forget()
            except (OSError, sqlite3.Error) as error:
                _LOG.error("removing files: %s", type(error).__name__)

    def _longest_delay(self) -> float:
        targets = self._settings.destinations
        delays = [backoff.longest(each.retry_seconds, each.retry_cap_seconds) for each in targets]
        return max(*delays, backoff.longest(0.0, PROCESSING_CAP))

    def remove_done(self) -> None:
        """Removes objects that every destination has had for `keep_hours` (G-15); never one that is unsent."""
        while files := upkeep.remove_done(self._queue, self._settings.node.keep_hours * 3600):
            for name in files:
                (self._spool.folder / name).unlink(missing_ok=True)
            _LOG.info("%d files removed, which every destination has", len(files))

    def stop(self) -> None:
        """Stops accepting, finishes objects that are arriving or being sent, and closes the queue."""
        _LOG.info("stopping")
        for sender in self._senders:
            sender.stop()
        end = time.monotonic() + SECONDS_TO_FINISH
        if self._web:
            self._web.close()
        self._receiver.stop(SECONDS_TO_FINISH)
        if self._web:
            self._web.finish(end - time.monotonic())
        for processor in self._processors:
            processor.stop()
        end = time.monotonic() + SECONDS_TO_JOIN
        for part in (*self._senders, *self._processors):
            part.join(max(end - time.monotonic(), 0.0))
        self._queue.close()
        _LOG.info("stopped")
