"""The Storage SCU: one thread for each destination sends what is due, from the files as they are (G-11 to G-14)."""

import contextlib
import logging
import sqlite3
import threading
import time

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from tfmisr.gateway import backoff, outgoing, services, tls
from tfmisr.gateway.config import Config, Destination
from tfmisr.gateway.metrics import Metrics
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import Delivery
from tfmisr.gateway.spool import Spool

_LOG = logging.getLogger("tfmisr.gateway")
BATCH = 64  # deliveries for one association
_NOT_ACCEPTED = "its SOP Class or Transfer Syntax is not accepted"
_IDLE_SECONDS, _LINGER_SECONDS = 0.5, 0.2
_LONGEST_FAULT_SECONDS = 30.0


class Unreachable(Exception):
    """No association, no response or no resources: the object waits without limit, and all others with it.

    Attributes:
        delivery: The object that was being sent, if there was one.
    """

    def __init__(self, reason: str, delivery: Delivery | None = None) -> None:
        super().__init__(reason)
        self.delivery = delivery


class _NotAccepted(Exception):
    """The destination accepts none of the presentation contexts: the fault of the objects."""


class Sender(threading.Thread):
    """Sends to one destination until it is stopped.

    Args:
        settings: The configuration.
        destination: The destination.
        spool: The spool.
        queue: The queue.
        metrics: Counters.
    """

    def __init__(
        self, settings: Config, destination: Destination, spool: Spool, queue: Queue, metrics: Metrics
    ) -> None:
        super().__init__(name=f"sender {destination.name}", daemon=True)
        self._settings, self._destination = settings, destination
        self._spool, self._queue, self._metrics = spool, queue, metrics
        self._stopping = threading.Event()
        self._message = 0

    def stop(self) -> None:
        """Makes the thread end after the object that it is sending."""
        self._stopping.set()
        self._queue.notify()

    def run(self) -> None:
        """Sends what is due; waits while there is nothing or the destination cannot be reached."""
        faults = 0
        while not self._stopping.is_set():
            version = self._queue.version
            try:
                done, faults = self._send_due(), 0
            except Exception as error:  # noqa: BLE001
                fault = "the disk or queue reports" if isinstance(error, OSError | sqlite3.Error) else "failed with"
                _LOG.error("%s: sending: %s %s", self._destination.name, fault, type(error).__name__)
                done, faults = False, faults + 1
                # What was sent and could not be recorded, as on a full disk, is sent again: not twice a second.
                self._stopping.wait(min(_IDLE_SECONDS * 2.0**faults, _LONGEST_FAULT_SECONDS))
            if not done and not self._stopping.is_set():
                self._queue.wait(version, _IDLE_SECONDS)

    def _due(self) -> list[Delivery]:
        if self._stopping.is_set() or backoff.remaining(self._queue, self._destination.name) > 0:
            return []
        return _fitting(self._queue.due(self._destination.name, BATCH))

    def _send_due(self) -> bool:
        """Sends what is due; false if there was nothing to do."""
        batch = self._due()
        if not batch:
            return False
        try:
            pairs = _pairs(batch)
            with self._association(pairs) as association:
                while batch and association.is_established and pairs >= _pairs(batch):
                    for delivery in batch:
                        if not self._stopping.is_set():
                            self._send(association, delivery)
                    version = self._queue.version
                    batch = self._due()
                    if not batch:  # what follows within a moment takes the same association
                        self._queue.wait(version, _LINGER_SECONDS)
                        batch = self._due()
        except Unreachable as error:
            self._back_off(str(error), error.delivery)
        except _NotAccepted as error:
            for delivery in batch:
                self._refused(delivery, str(error))
        return True

    def _back_off(self, reason: str, delivery: Delivery | None) -> None:
        target = self._destination
        cap = target.retry_cap_seconds
        seconds = backoff.failed(self._queue, target.name, reason, target.retry_seconds, cap)
        if delivery:  # the others first next time: it may be this object that the destination cannot take
            self._queue.defer(delivery, reason, seconds + target.retry_seconds)
        self._metrics.not_sent.labels(target.name).inc()
        _LOG.warning("%s: %s; next attempt in %.0f s", target.name, reason, seconds)

    @contextlib.contextmanager
    def _association(self, pairs: set[tuple[str, str]]):
        """Yields an association with a context for each pair of SOP Class and Transfer Syntax, and releases it."""
        target, node = self._destination, self._settings.node
        entity = services.entity(node.ae_title, node.acse_timeout, node.dimse_timeout, node.network_timeout)
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(pairs)]
        try:
            secure = (tls.client_context(self._settings.tls), target.address) if target.tls else None
            association = entity.associate(
                target.address, target.port, contexts, target.ae_title, tls_args=secure,
                evt_handlers=[(evt.EVT_CONN_OPEN, _tune, [node.network_timeout])],
            )  # fmt: skip
        except (OSError, ValueError) as error:  # InputError of the certificates is a ValueError
            raise Unreachable(f"no association ({type(error).__name__})") from error
        if not association.is_established and association.rejected_contexts and not association.accepted_contexts:
            raise _NotAccepted(_NOT_ACCEPTED)
        if not association.is_established:
            raise Unreachable("association rejected" if association.is_rejected else "no association")
        outgoing.tune(association, node.network_timeout)
        broken = True
        try:
            yield association
            broken = False
        finally:
            outgoing.end(association, broken)

    def _send(self, association: Association, delivery: Delivery) -> None:
        """Sends one object and records what came of it.

        Raises:
            Unreachable: The connection is broken or the destination is out of resources.
        """
        path = self._spool.folder / delivery.file
        if not path.is_file():
            self._refused(delivery, "its file is missing in the spool", final=True)
            return
        self._message = self._message % 65535 + 1
        try:
            status = association.send_c_store(path, self._message)
        except ValueError:
            self._refused(delivery, _NOT_ACCEPTED)
            return
        except outgoing.BrokenConnection as error:
            raise Unreachable(str(error), delivery) from error
        except RuntimeError as error:
            raise Unreachable("the association ended", delivery) from error
        except Exception as error:  # noqa: BLE001
            self._refused(delivery, f"sending failed with {type(error).__name__}")
            return
        if "Status" not in status:
            raise Unreachable("no response", delivery)
        self._conclude(delivery, path.stat().st_size, int(status.Status))

    def _conclude(self, delivery: Delivery, size: int, code: int) -> None:
        target, outcome = self._destination.name, services.outcome(code)
        if outcome == services.RETRY:
            raise Unreachable(f"status {code:04X}, out of resources", delivery)
        if outcome == services.REFUSED:
            self._refused(delivery, f"status {code:04X}")
            return
        self._queue.sent(delivery, target, f"warning {code:04X}" if code else "")
        self._metrics.sent.labels(target, delivery.kind).inc()
        self._metrics.sent_bytes.labels(target).inc(size)
        self._metrics.latency.labels(delivery.kind).observe(max(time.time() - delivery.received_at, 0.0))
        _LOG.info("%s: %s of object %d stored", target, delivery.kind, delivery.instance)

    def _refused(self, delivery: Delivery, reason: str, final: bool = False) -> None:
        target, attempt = self._destination, delivery.attempts + 1
        last = final or attempt >= target.attempts
        seconds = None if last else backoff.delay(attempt, target.retry_seconds, target.retry_cap_seconds)
        self._queue.not_sent(delivery, target.name, reason, seconds)
        self._metrics.not_sent.labels(target.name).inc()
        end = "quarantined" if last else f"next attempt in {seconds:.0f} s"
        _LOG.warning(
            "%s: %s of object %d not stored: %s; %s", target.name, delivery.kind, delivery.instance, reason, end
        )


def _pairs(batch: list[Delivery]) -> set[tuple[str, str]]:
    return {(each.sop_class_uid, each.transfer_syntax) for each in batch}


def _fitting(due: list[Delivery]) -> list[Delivery]:
    """Returns the first deliveries whose presentation contexts fit into one association (G-08)."""
    count = len(due)
    while len(_pairs(due[:count])) > services.MAX_CONTEXTS:
        count -= 1
    return due[:count]


def _tune(event: evt.Event, seconds: float) -> None:
    outgoing.tune_socket(event.assoc.dul.socket.socket, seconds)
