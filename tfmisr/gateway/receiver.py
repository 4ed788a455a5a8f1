"""The Storage SCP: admits associations, and answers C-STORE only once the object is in the spool (G-01 to G-10)."""

import dataclasses
import errno
import logging
import os
import pathlib
import sqlite3
import threading
import time

import pydicom
from pynetdicom import AE, evt
from pynetdicom.dsutils import split_dataset

from tfmisr.edge.files import DISK_FULL
from tfmisr.gateway import admission, committer, header, incoming, offers, queue, rules, services, spool, tls
from tfmisr.gateway.config import Config
from tfmisr.gateway.metrics import Metrics
from tfmisr.gateway.schema import Arrival
from tfmisr.gateway.server import Server, guard

_LOG = logging.getLogger("tfmisr.gateway")
MAX_PDU = 131_072  # bytes; pynetdicom's 16 KiB cost a turn of its state machine each


class _Refused(Exception):
    def __init__(self, status: services.Status):
        super().__init__(status.cause)
        self.status = status


class _Shared(list):
    """Presentation contexts that all associations share: copies of 7,650 syntaxes would cost each 0.1 s."""

    def __deepcopy__(self, memo):
        return self


class Receiver:
    """The listening side of the node.

    Args:
        settings: The configuration.
        store: The spool, created and locked.
        entries: The queue.
        metrics: Counters.
    """

    def __init__(self, settings: Config, store: spool.Spool, entries: queue.Queue, metrics: Metrics) -> None:
        self._settings, self._spool, self._queue, self._metrics = settings, store, entries, metrics
        self._admission = admission.Admission(settings, store)
        self._stopping = self._admission.stopping
        self._busy = 0
        self._lock, self._quarantine = threading.Lock(), threading.Lock()
        self._server: Server | None = None
        self._entity = _entity(settings)

    def start(self) -> int:
        """Starts listening and returns the port.

        Raises:
            OSError: The port is in use.
        """
        node = self._settings.node
        handlers = [
            (evt.EVT_CONN_OPEN, guard),
            (evt.EVT_REQUESTED, self._admit),
            (evt.EVT_C_ECHO, lambda event: 0x0000),
            (evt.EVT_C_STORE, self._answer),
            (evt.EVT_N_EVENT_REPORT, self._report),
        ]
        context = tls.server_context(self._settings.tls) if self._settings.tls else None
        self._server = self._entity.make_server(
            (node.address, node.port), ssl_context=context, evt_handlers=handlers, server_class=Server
        )
        self._server.contexts = _Shared(self._server.contexts)
        self._entity._servers.append(self._server)  # `shutdown` removes it
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="receiver", daemon=True).start()
        return self._server.server_address[1]

    @property
    def associations(self) -> int:
        """Number of open associations."""
        return self._admission.count

    def stop(self, seconds: float) -> None:
        """Stops accepting, finishes what is arriving, then ends the associations (G-18).

        Args:
            seconds: Longest time to wait for objects that are arriving.
        """
        self._stopping.set()
        if self._server is None:
            return
        associations = self._server.active_associations
        self._server.shutdown()
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(each.is_alive() for each in associations):
            if not incoming.receiving() and not self._busy:
                time.sleep(0.2)  # the response is on its way
                break
            time.sleep(0.02)
        for association in associations:
            if association.is_established:
                association.abort(block=False)

    def _admit(self, event: evt.Event) -> None:
        """Rejects an association that must not be."""
        try:
            rejection = self._admission.rejection(event)
        except Exception as error:  # noqa: BLE001
            _LOG.error("association not checked: %s", type(error).__name__)
            rejection = services.LOCAL_LIMIT  # pynetdicom would admit it
        if rejection:
            _LOG.info("association rejected: %s", rejection.text)
            self._metrics.rejected.labels(rejection.text).inc()
            event.assoc.acse.send_reject(rejection.result, rejection.source, rejection.reason)
            event.assoc.kill()
        elif self._server:
            self._server.waiting.remove(event.assoc.dul.socket.socket)

    def _report(self, event: evt.Event) -> tuple[int, None]:
        names = committer.destinations_of(self._settings, event.assoc.requestor.ae_title.strip())
        return committer.answer(self._queue, names, event)

    def store(self, offer: offers.Offer) -> services.Status:
        """Takes an object in; it is on the disk if the status is `STORED` (G-01)."""
        with self._lock:
            self._busy += 1
        try:
            status = self._status(offer)
        finally:
            with self._lock:
                self._busy -= 1
        self._metrics.received.labels(f"{status.code:04X}").inc()
        return status

    def _answer(self, event: evt.Event) -> pydicom.Dataset | int:
        status = self.store(offers.of_c_store(event))
        if status is services.STORED:
            return status.code
        response = pydicom.Dataset()
        response.Status, response.ErrorComment = status.code, status.comment
        return response

    def _status(self, offer: offers.Offer) -> services.Status:
        """Returns the status of an object; no error of any kind becomes a success."""
        start = time.monotonic()
        try:
            status = self._store(offer)
        except _Refused as refusal:
            status = refusal.status
        except (OSError, sqlite3.Error) as error:
            full = getattr(error, "errno", None) in (*DISK_FULL, errno.EFBIG) or "full" in str(error)
            status = services.NO_SPACE if full else services.NOT_WRITTEN
        except Exception as error:  # noqa: BLE001
            _LOG.error("object not stored: %s", type(error).__name__)  # its text may quote the data set
            status = services.NOT_WRITTEN
        if status is not services.STORED:
            _LOG.warning("object refused with %04X: %s", status.code, status.cause)
        self._metrics.receive_seconds.observe(time.monotonic() - start)
        return status

    def _store(self, offer: offers.Offer) -> services.Status:
        if self._stopping.is_set():
            return services.STOPPING
        file = offer.file
        if file is None:
            return services.UNPARSABLE
        if not file.take():
            return services.NOT_WRITTEN
        if file.error:
            raise file.error
        if not self._spool.has_space:
            return services.NO_SPACE
        arrival = self._arrival(offer, file.path)
        return self._keep(arrival, file)

    def _arrival(self, offer: offers.Offer, path: pathlib.Path) -> Arrival:
        """Returns what the queue records about an object."""
        named, calling, syntax = (offer.sop_class_uid, offer.sop_instance_uid), offer.peer, offer.transfer_syntax
        if offer.sop_class_uid not in services.STORAGE_CLASSES:
            raise _Refused(services.NOT_ACCEPTED)
        found = _header(path, syntax)
        if (str(found.SOPClassUID), str(found.SOPInstanceUID)) != named or named[0] != offer.abstract_syntax:
            raise _Refused(services.MISMATCH)
        rule = rules.select(self._settings, found, calling)
        if rule is None:
            raise _Refused(services.NO_RULE)
        original, result = rules.destinations(self._settings, rule, calling)
        with open(path, "rb") as file:
            file.seek(split_dataset(path)[1])
            digest = spool.digest(file)
        member = rules.member(rule, path, syntax)
        return Arrival(
            *(named[1], named[0], syntax, digest, path.stat().st_size, "", calling),
            *(rule.model, rule.scale, original, result, rules.reason(rule, member), member),
        )

    def _keep(self, arrival: Arrival, file: incoming.IncomingFile) -> services.Status:
        known = self._queue.known(arrival.sop_instance_uid)
        if known and known != arrival.digest:
            return self._refuse_conflict(arrival, file)
        if not known and not arrival.original_to and not arrival.model and not arrival.series:
            return services.NOWHERE
        target = self._spool.keep(file, self._spool.objects)
        arrival = dataclasses.replace(arrival, file=self._spool.relative(target))
        added = self._add(arrival, file, target)
        if added == queue.CONFLICT:
            return self._refuse_conflict(arrival, file)
        name = "object" if added == queue.NEW else "object that is here already"
        _LOG.info("%s stored: sha256 %s, %d bytes", name, arrival.digest[:12], arrival.size)
        if added == queue.NEW:
            self._metrics.received_bytes.inc(arrival.size)
        return services.STORED

    def _add(self, arrival: Arrival, file: incoming.IncomingFile, target: pathlib.Path) -> str:
        """Adds an object to the queue, as `Queue.add`; `target`, its file, stays only where the queue has it."""
        keep = False
        try:
            added = self._queue.add(arrival)
            keep = added == queue.NEW
            if added == queue.CONFLICT:  # another association was faster
                os.rename(target, file.path)
            if added == queue.DUPLICATE:
                keep = self._queue.replace_lost_file(arrival, self._spool.folder)
        finally:
            # After an error of the commit the database is asked: it may have the row all the same.
            if not keep and not self._queue.has_file(arrival.file):
                target.unlink(missing_ok=True)
        return added

    def _refuse_conflict(self, arrival: Arrival, file: incoming.IncomingFile) -> services.Status:
        """Keeps an object for a person to look at, since its UID has come with other bytes (G-03).

        A sender that repeats a UID with ever new bytes fills `quarantine_mb`, not the disk.
        """
        with self._quarantine:
            limit = self._settings.node.quarantine_mb * 1e6
            if not self._queue.is_conflict(arrival) and self._spool.quarantined + arrival.size > limit:
                return services.QUARANTINE_FULL
            target = self._spool.keep(file, self._spool.quarantine)
        added = False
        try:
            added = self._queue.add_conflict(dataclasses.replace(arrival, file=self._spool.relative(target)))
        finally:
            if not added:
                target.unlink(missing_ok=True)
        known = self._queue.known(arrival.sop_instance_uid)
        _LOG.warning("same SOP Instance UID, other bytes: sha256 %s kept, %s quarantined", known, arrival.digest)
        return services.CONFLICT


def _entity(settings: Config) -> AE:
    node = settings.node
    entity = services.entity(node.ae_title, node.acse_timeout, node.dimse_timeout, node.network_timeout)
    entity.maximum_associations = 2**31  # pynetdicom counts connections; `Admission` counts associations
    entity.maximum_pdu_size = MAX_PDU
    entity.add_supported_context(services.VERIFICATION)
    for sop_class in services.STORAGE_CLASSES:
        entity.add_supported_context(sop_class, list(services.TRANSFER_SYNTAXES))
    if any(destination.storage_commitment for destination in settings.destinations):
        entity.add_supported_context(services.COMMITMENT, scu_role=False, scp_role=True)  # the caller's roles
    return entity


def _header(path: pathlib.Path, syntax: str) -> pydicom.Dataset:
    """Returns the Attributes that rules need."""
    try:
        found = header.read(path, syntax)
    except MemoryError:
        raise
    except Exception as error:
        raise _Refused(services.UNPARSABLE) from error
    if not found.get("SOPClassUID") or not found.get("SOPInstanceUID"):
        raise _Refused(services.UNPARSABLE)
    return found
