"""SCU of the Storage Commitment Push Model (PS3.4 Annex J): asks a destination to commit what it has stored (G-15).

N-ACTION goes out on an association of its own. The report, N-EVENT-REPORT, may come on it within a moment, or later on
one that the destination requests.
"""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator

import pydicom
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from tfmisr.gateway import backoff, commitments, outgoing, services, tls
from tfmisr.gateway.commitments import Reference
from tfmisr.gateway.config import Config, Destination
from tfmisr.gateway.queue import Queue

_LOG = logging.getLogger("tfmisr.gateway")
BATCH = 500  # objects of one request
_SECONDS_BETWEEN_ROUNDS, _LINGER_SECONDS = 1.0, 2.0
_OK, _PROCESSING_FAILURE, _NO_SUCH_EVENT, _INVALID_ARGUMENT = 0x0000, 0x0110, 0x0113, 0x0115  # PS3.7 C


class Committer(threading.Thread):
    """Asks one destination until it is stopped.

    Args:
        settings: The configuration.
        destination: A destination with `storage_commitment`.
        queue: The queue.
    """

    def __init__(self, settings: Config, destination: Destination, queue: Queue) -> None:
        super().__init__(name=f"committer {destination.name}", daemon=True)
        self._settings, self._destination, self._queue = settings, destination, queue
        self._stopping, self._reported = threading.Event(), threading.Event()
        self._failures = 0

    def stop(self) -> None:
        """Makes the thread end after its request."""
        self._stopping.set()
        self._reported.set()

    def run(self) -> None:
        """Asks for what is due, once in a second at most: what was stored meanwhile is asked for in one request."""
        while not self._stopping.wait(_SECONDS_BETWEEN_ROUNDS):
            try:
                due = commitments.due(self._queue, self._destination.name, BATCH)
                if due:
                    self._ask(due)
            except Exception as error:  # noqa: BLE001
                fault = "the queue reports" if isinstance(error, sqlite3.Error) else "failed with"
                _LOG.error("%s: storage commitment: %s %s", self._destination.name, fault, type(error).__name__)

    def _ask(self, due: dict[int, Reference]) -> None:
        """Sends a request; where it is not accepted, the next one follows with the delay of a failed association."""
        target, transaction = self._destination, generate_uid(None)
        self._reported.clear()
        commitments.request(self._queue, target.name, transaction, due, target.commitment_seconds)
        reason = self._request(transaction, due.values())
        if not reason:
            if self._failures:
                commitments.postpone(self._queue, due, "", target.commitment_seconds)
            self._failures = 0
            return
        self._failures += 1
        seconds = backoff.delay(self._failures, target.retry_seconds, target.retry_cap_seconds)
        commitments.postpone(self._queue, due, reason, seconds)
        _LOG.warning("%s: storage commitment: %s; next attempt in %.0f s", target.name, reason, seconds)

    def _request(self, transaction: str, references: Iterable[Reference]) -> str:
        """Returns why a request was not accepted, or an empty string."""
        action = pydicom.Dataset()
        action.TransactionUID = transaction
        action.ReferencedSOPSequence = [_item(reference) for reference in references]
        with self._association() as association:
            if association is None:
                return "no association for it"
            try:
                model, instance = services.COMMITMENT, services.COMMITMENT_INSTANCE
                status, _ = association.send_n_action(action, 1, model, instance)
            except (ValueError, RuntimeError) as error:
                return f"the request failed with {type(error).__name__}"
            if "Status" not in status:
                return "no response to the request"
            if status.Status != _OK:
                return f"status {status.Status:04X}"
            self._reported.wait(_LINGER_SECONDS)
        return ""

    @contextlib.contextmanager
    def _association(self) -> Iterator[Association | None]:
        target, node = self._destination, self._settings.node
        entity = services.entity(node.ae_title, node.acse_timeout, node.dimse_timeout, node.network_timeout)
        try:
            secure = (tls.client_context(self._settings.tls), target.address) if target.tls else None
            association = entity.associate(
                target.address, target.port, [build_context(services.COMMITMENT)], target.ae_title, tls_args=secure,
                evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._answer)],
            )  # fmt: skip
        except (OSError, ValueError):
            yield None
            return
        if not association.is_established:
            yield None
            return
        try:
            yield association
        finally:
            outgoing.end(association, False)

    def _answer(self, event: evt.Event) -> tuple[int, None]:
        status = answer(self._queue, [self._destination.name], event)
        self._reported.set()
        return status


def _item(reference: Reference) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    return item


def destinations_of(settings: Config, calling: str) -> list[str]:
    """Returns the names of the destinations with this AE title that report storage commitment."""
    return [each.name for each in settings.destinations if each.storage_commitment and each.ae_title == calling]


def answer(queue: Queue, names: list[str], event: evt.Event) -> tuple[int, None]:
    """Records a report and returns the status of its response; it is on the disk when this returns.

    Args:
        queue: The queue.
        names: Destinations that the peer may be.
        event: N-EVENT-REPORT.
    """
    if event.event_type not in (1, 2):
        return _NO_SUCH_EVENT, None
    try:
        information = event.event_information
        stored = [_reference(item) for item in information.get("ReferencedSOPSequence", [])]
        failed = {
            _reference(item): f"failure reason {int(item.FailureReason):04X}"
            for item in information.get("FailedSOPSequence", [])
        }
        name = commitments.report(queue, names, str(information.TransactionUID), stored, failed)
    except Exception as error:  # noqa: BLE001
        _LOG.error("report of storage commitment not recorded: %s", type(error).__name__)
        return _PROCESSING_FAILURE, None
    if not name:
        _LOG.warning("report of storage commitment with an unknown Transaction UID")
        return _INVALID_ARGUMENT, None
    _LOG.log(
        logging.WARNING if failed else logging.INFO,
        "%s: storage commitment: %d committed, %d not", name, len(stored), len(failed),
    )  # fmt: skip
    return _OK, None


def _reference(item: pydicom.Dataset) -> Reference:
    return Reference(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
