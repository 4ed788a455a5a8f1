"""Storage commitment (G-15): what a destination must commit is kept until it reports that it has."""

import contextlib
import socket
import sqlite3
import threading
import time
from contextlib import ExitStack

import pydicom
import pytest
from gateway_helpers import TLS, certificate, configuration, free_port, image, running, uid_of, wait_for
from prometheus_client import CollectorRegistry
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    ComputedRadiographyImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from tfmisr.gateway import commitments as commitments_of
from tfmisr.gateway import tls
from tfmisr.gateway.__main__ import main
from tfmisr.gateway.config import Tls
from tfmisr.gateway.metrics import QueueMetrics
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import DONE, Arrival
from tfmisr.gateway.spool import Spool

NODE = "keep_hours = 0\n"
DESTINATION = "storage_commitment = true\ncommitment_seconds = 1"


class Committing:
    """An archive that stores, and answers requests for storage commitment.

    Attributes:
        mode: `same` or `other` association for the report, with `other role` after negotiating roles; `failed` reports
            that nothing is there; `silent` reports nothing; `refused` answers the request with 0110.
        port: Of the archive.
        node: Port of the node, for reports on another association.
        tls: TLS contexts for callers and for calls; `None` for plain connections.
    """

    def __init__(self, mode: str, tls: tuple | None = None) -> None:
        self.mode, self.node, self.stored, self.requests, self.statuses = mode, 0, [], [], []
        self.tls = tls
        entity = AE(ae_title="ARCHIVE")
        entity.add_supported_context(ComputedRadiographyImageStorage)
        entity.add_supported_context(StorageCommitmentPushModel)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._commit)]
        secure = tls and tls[0]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, ssl_context=secure, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def _store(self, event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _commit(self, event) -> tuple[int, None]:
        assert (event.action_type, event.request.RequestedSOPInstanceUID) == (1, "1.2.840.10008.1.20.1.1")
        self.requests.append(event.action_information)
        if self.mode == "refused":
            return 0x0110, None
        if self.mode != "silent":
            threading.Thread(target=self._report, args=(event.assoc, event.action_information)).start()
        return 0x0000, None

    def _report(self, association, request) -> None:
        time.sleep(0.2)  # the response first
        report, kind = pydicom.Dataset(), 1
        report.TransactionUID = request.TransactionUID
        if self.mode == "failed":
            kind, report.FailedSOPSequence = 2, request.ReferencedSOPSequence
            for item in report.FailedSOPSequence:
                item.FailureReason = 0x0112
        else:
            report.ReferencedSOPSequence = request.ReferencedSOPSequence
        if not self.mode.startswith("other"):
            self.statuses.append(send(association, report, kind))
            return
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if self.mode == "other role" else []
        secure = self.tls and (self.tls[1], "localhost")
        with associated(self.node, "ARCHIVE", roles, tls=secure) as own:
            self.statuses.append(send(own, report, kind))

    def close(self) -> None:
        self._server.shutdown()


def send(association, report: pydicom.Dataset, kind: int = 1) -> int | None:
    model, instance = StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    status, _ = association.send_n_event_report(report, kind, model, instance)
    return status.get("Status")


@contextlib.contextmanager
def associated(port: int, calling: str, roles=(), *contexts, tls: tuple | None = None):
    entity = AE(ae_title=calling)
    for context in (StorageCommitmentPushModel, *contexts):
        entity.add_requested_context(context, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title="NODE", ext_neg=list(roles), tls_args=tls)
    yield association
    if association.is_established:
        association.release()


@pytest.fixture
def archive():
    peer = Committing("silent")
    yield peer
    peer.close()


def text(archive, port: int = 0) -> str:
    found = configuration({"archive": archive.port}, node=NODE, destination=DESTINATION)
    return found.replace("port = 0\nspool", f"port = {port}\nspool")


def commitments(node) -> list[str]:
    return [row[0] for row in node.rows("SELECT state FROM commitments ORDER BY delivery")]


def objects(node) -> list:
    return list((node.spool / "objects").iterdir())


@pytest.mark.large
def test_g15_an_object_is_kept_until_its_commitment_and_then_removed(tmp_path, archive):
    """Nothing is reported; the node starts again, asks again, and gets a report on the same association."""
    path = image(tmp_path, 1)
    with running(tmp_path, text(archive)) as node:
        assert node.send(path) == [0x0000]
        wait_for(lambda: archive.requests, "the request")
        (item,) = archive.requests[0].ReferencedSOPSequence
        assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (
            ComputedRadiographyImageStorage,
            uid_of(path),
        )
        assert "storage commitment: committed 0, asked 1, to ask 0, not 0" in node.command("status")
        assert node.stop() == 0
    with running(tmp_path, text(archive)) as node:
        wait_for(lambda: "no report in time" in node.command("status"), "another request")
        time.sleep(2.5)  # the first round of removals comes after 1 s
        assert len(objects(node)) == 1
        archive.mode = "same"
        wait_for(lambda: commitments(node) == ["committed"], "the commitment")
        uids = [str(request.TransactionUID) for request in archive.requests]
        assert len(set(uids)) == len(uids) >= 3
        assert "committed 1, asked 0, to ask 0, not 0" in node.command("status")
        assert "\tcommitted\tarchive" in node.command("audit")
        node.stop()
    with running(tmp_path, text(archive)) as node:
        wait_for(lambda: not objects(node), "the removal")
        assert commitments(node) == []
    assert archive.stored == [uid_of(path)]
    assert archive.statuses == [0x0000]


@pytest.mark.large
def test_g15_a_report_on_an_association_of_the_destination(tmp_path, archive):
    """With the roles negotiated as the standard has it (PS3.4 J.3.3), and without, as some archives do."""
    archive.mode, archive.node = "other", free_port()
    with running(tmp_path, text(archive, archive.node)) as node:
        assert node.send(image(tmp_path, 1)) == [0x0000]
        wait_for(lambda: commitments(node) == ["committed"], "the commitment")
        archive.mode = "other role"
        assert node.send(image(tmp_path, 2)) == [0x0000]
        wait_for(lambda: commitments(node) == ["committed"] * 2, "the commitments")
        # The archive may report, not store; a stranger may not report; nor may anybody under an unknown UID.
        with associated(node.port, "ARCHIVE", [], ComputedRadiographyImageStorage) as association:
            assert association.is_rejected
        with associated(node.port, "STRANGER") as association:
            assert association.is_rejected
        report, unnamed = pydicom.Dataset(), pydicom.Dataset()
        unnamed.PatientID = "1"
        report.TransactionUID, report.ReferencedSOPSequence = generate_uid(), []
        with associated(node.port, "ARCHIVE") as association:
            assert send(association, report) == 0x0115
            assert send(association, report, 3) == 0x0113
            assert send(association, unnamed) == 0x0110
        report.TransactionUID = archive.requests[0].TransactionUID
        with associated(node.port, "MODALITY") as association:  # a source, but not who was asked
            assert send(association, report) == 0x0115
    assert set(archive.statuses) == {0x0000}


@pytest.mark.large
def test_g15_a_destination_that_lacks_an_object_gets_it_again_on_release(tmp_path, archive):
    archive.mode = "failed"
    path = image(tmp_path, 1)
    with running(tmp_path, text(archive)) as node:
        assert node.send(path) == [0x0000]
        wait_for(lambda: commitments(node) == ["failed"], "the report")
        assert "not 1 (failure reason 0112)" in node.command("status")
        line = node.command("quarantine", "list")
        assert line == "commitment:1  original of object 1 was not committed by archive: failure reason 0112\n"
        assert len(objects(node)) == 1
        archive.mode = "same"
        assert node.command("quarantine", "release", "commitment:1") == "released: 1\n"
        wait_for(lambda: commitments(node) == ["committed"], "the commitment")
    assert archive.stored == [uid_of(path)] * 2


@pytest.mark.large
def test_g15_a_request_that_is_refused_is_sent_again(tmp_path, archive):
    archive.mode = "refused"
    with running(tmp_path, text(archive)) as node:
        assert node.send(image(tmp_path, 1)) == [0x0000]
        wait_for(lambda: len(archive.requests) >= 2, "another request")
        assert "status 0110" in node.command("status")
        archive.mode = "same"
        wait_for(lambda: commitments(node) == ["committed"], "the commitment")


@pytest.mark.large
def test_g10_g15_commitment_over_tls(tmp_path):
    """Stored, asked for and reported over TLS, on the association of the request and on one of the archive's own."""
    for name, issuer in (("authority", ""), ("node", "authority"), ("archive", "authority")):
        certificate(tmp_path, name, 30, issuer)
    own = Tls(tmp_path / "archive.crt", tmp_path / "archive.key", tmp_path / "authority.crt")
    archive = Committing("same", (tls.server_context(own), tls.client_context(own)))
    archive.node = free_port()
    found = configuration({"archive": archive.port}, node=NODE, destination=DESTINATION + "\ntls = true")
    found = found.replace("port = 0\nspool", f"port = {archive.node}\nspool").replace("keep_hours = 0\n", "")
    sender = {"tls_args": (tls.client_context(own), "localhost")}
    found = found.replace("reserve_mb = 0", "reserve_mb = 0\nacse_timeout = 4")
    with running(tmp_path, found + TLS.format(tmp_path, "node", "node", "authority")) as node, ExitStack() as opened:
        # G-07: callers that begin no handshake keep nobody out, and are closed.
        address = ("127.0.0.1", node.port)
        silent = [opened.enter_context(socket.create_connection(address)) for _ in range(150)]
        for number, archive.mode in enumerate(("same", "other"), 1):
            association = AE(ae_title="MODALITY")
            association.add_requested_context(ComputedRadiographyImageStorage)
            association = association.associate("127.0.0.1", node.port, ae_title="NODE", **sender)
            assert association.send_c_store(image(tmp_path, number)).Status == 0x0000
            association.release()
            wait_for(lambda number=number: commitments(node) == ["committed"] * number, "the commitment")
        assert archive.statuses == [0x0000] * 2
        for each in silent:
            each.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""
    archive.close()


def test_g17_metrics_of_commitments(tmp_path, monkeypatch):
    """One object of each state; the age is that of the oldest which is not committed."""
    queue = Queue(tmp_path / "queue.db")
    commitments_of.begin(queue, ["archive"])
    now = time.time()
    for number in range(4):
        monkeypatch.setattr(time, "time", lambda number=number: now - 1000 + 100 * number)
        queue.add(Arrival(f"1.2.{number}", "1.2", "", "d", 1, f"f{number}", "A", "", 0, ("archive", "other"), (), ""))
        for name in ("archive", "other"):
            queue.sent(queue.due(name, 1)[0], name, "")
    monkeypatch.setattr(time, "time", lambda: now)
    due = commitments_of.due(queue, "archive", 3)
    commitments_of.request(queue, "archive", "9.9", due, 60)
    first, second, _ = due.values()
    commitments_of.report(queue, ["archive"], "9.9", [first], {second: "failure reason 0112"})
    counts = commitments_of.counts(queue)
    assert {name: each[:4] for name, each in counts.items()} == {"archive": (1, 1, 1, 1)}
    assert counts["archive"].oldest == pytest.approx(900, abs=1e-3)
    registry = CollectorRegistry()
    registry.register(QueueMetrics(queue, Spool(tmp_path), lambda: 0))
    (tmp_path / "quarantine").mkdir()
    for state in ("requested", "committed", "failed", "waiting"):
        labels = {"destination": "archive", "state": state}
        assert registry.get_sample_value("tfmisr_gateway_commitments", labels) == 1
    value = registry.get_sample_value("tfmisr_gateway_oldest_commitment_seconds", {"destination": "archive"})
    assert value == pytest.approx(900, abs=1e-3)
    queue.close()


def test_g15_original_and_result_are_committed_each_for_itself(tmp_path):
    """The object is done only once both are; a late report of a failure does not undo a commitment."""
    queue = Queue(tmp_path / "queue.db")
    commitments_of.begin(queue, ["archive"])
    queue.add(Arrival("1.2.3", "1.2", "", "d", 1, "f", "A", "bicubic", 2, ("archive",), ("archive",), ""))
    queue.processed(queue.claim(), "r", "1.2.4", "", "e")
    for _ in range(2):
        (delivery,) = queue.due("archive", 1)
        queue.sent(delivery, "archive", "")
    found = commitments_of.due(queue, "archive", 9)
    original, result = ("1.2", "1.2.3"), ("1.2", "1.2.4")
    assert list(found.values()) == [original, result]
    commitments_of.request(queue, "archive", "9.9", found, 3600)
    assert commitments_of.due(queue, "archive", 9) == {}
    done = [(original, {}), (result, {original: "late"})]
    for stored, failed in done:
        assert not queue.rows(DONE, 1e12, 1e12)
        assert commitments_of.report(queue, ["other"], "9.9", [stored], failed) == ""
        assert commitments_of.report(queue, ["archive"], "9.9", [stored], failed) == "archive"
    assert len(queue.rows(DONE, 1e12, 1e12)) == 1
    queue.close()


def test_g15_a_queue_of_an_earlier_release_gets_the_tables(tmp_path):
    path = tmp_path / "queue.db"
    Queue(path).close()
    connection = sqlite3.connect(path)
    for table in ("commitments", "commitment_requests", "commitment_destinations"):
        connection.execute(f"DROP TABLE {table}")
    connection.close()
    queue = Queue(path)
    commitments_of.begin(queue, ["archive"])
    assert commitments_of.due(queue, "archive", 9) == {}
    queue.close()


def test_g15_check_says_what_is_kept(tmp_path, archive, capsys):
    path = tmp_path / "gateway.toml"
    path.write_text(text(archive, 11112), encoding="utf-8")
    assert main(["check", str(path)]) == 0
    assert "objects are kept until it has committed them" in capsys.readouterr().out
