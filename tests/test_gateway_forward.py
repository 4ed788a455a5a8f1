"""The sending side of the gateway: order, retries, destinations that fail, quarantine, and results."""

import hashlib
import queue
import re
import shutil
import socket
import sqlite3
import threading
import time
import types

import pydicom
import pytest
from gateway_helpers import BICUBIC, Archive, configuration, data_set, free_port, image, running, uid_of, wait_for
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from tfmisr import dicom_check
from tfmisr.gateway import metrics, outgoing, sender, validation
from tfmisr.gateway.spool import Spool


def states(node) -> list:
    return [row[0] for row in node.rows("SELECT state FROM deliveries ORDER BY id")]


class Misbehaving(Archive):
    """A destination whose first association goes wrong in the middle of an object."""

    def __init__(self, mode: str) -> None:
        self.mode, self.count = mode, 0
        super().__init__(mode.upper())

    def established(self, event) -> None:
        self.count += 1
        peer = event.assoc.dul.socket
        if self.count == 1 and self.mode == "deaf":
            peer.recv = lambda _: time.sleep(4) or bytearray()
        if self.count == 1 and self.mode == "closing":
            peer.recv = lambda _: peer.socket.shutdown(socket.SHUT_RDWR) or bytearray()

    def _store(self, event) -> int:
        if self.count == 1 and self.mode == "mute":
            time.sleep(4)
        return super()._store(event)


@pytest.mark.large
def test_g12_peers_that_stop_in_the_middle_of_an_object(tmp_path):
    """One reads nothing, one closes the connection, one does not answer: the object comes at the second attempt."""
    peers = [Misbehaving(mode) for mode in ("deaf", "closing", "mute")]
    paths = [image(tmp_path, 1, side=1536), image(tmp_path, 2)]  # the first does not fit into buffers of sockets
    text = configuration({peer.mode: peer.port for peer in peers}, node="network_timeout = 1\ndimse_timeout = 2")
    with running(tmp_path, text) as node:
        assert node.send(*paths) == [0x0000] * 2
        for peer in peers:
            peer.wait(2)
        wait_for(lambda: states(node) == ["sent"] * 6, "the records")
        for peer, message in zip(
            peers, ("reads nothing|connection was closed", "closed|ended|no resp", "no response"), strict=True
        ):
            assert re.search(f"{peer.mode}: .*({message})", node.text())
            assert {digest for _, digest in peer.arrived} == {sha256(data_set(path)) for path in paths}
    for peer in peers:
        peer.close()


class Reactor(threading.Thread):
    """The loop of pynetdicom's association: what it does behind `wait` may take the response of the sender."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.dul = types.SimpleNamespace(to_provider_queue=queue.Queue())
        self._reactor_checkpoint, self._is_paused = threading.Event(), False
        self._reactor_checkpoint.set()
        self.turns, self.ended = 0, False

    def run(self) -> None:
        while not self.ended:
            self._is_paused = True
            self._reactor_checkpoint.wait()
            time.sleep(0.001)  # another thread has the turn here, on a busy machine
            self._is_paused = False
            self.turns += 1


def test_a_response_is_not_taken_by_the_thread_of_the_association():
    """As `send_c_store` does it: without a sure pause, one response of thousands was lost, and a minute waited for."""
    reactor = Reactor()
    outgoing.tune(reactor, 1.0)
    reactor.start()
    for _ in range(100):
        reactor._reactor_checkpoint.clear()
        while not reactor._is_paused:
            time.sleep(0.0001)
        before = reactor.turns
        time.sleep(0.003)
        assert reactor.turns == before
        reactor._reactor_checkpoint.set()
        time.sleep(0.0005)
    reactor.ended = True
    reactor.join()
    with pytest.raises(outgoing.BrokenConnection):
        reactor._reactor_checkpoint.clear()


def test_g12_a_queue_that_records_nothing_does_not_flood_the_destination(tmp_path, monkeypatch):
    """The disk is full: what was sent is sent again, after longer and longer times."""
    (tmp_path / "gateway.toml").write_text(configuration({"archive": 9}), encoding="utf-8")
    settings = validation.read(tmp_path / "gateway.toml")
    entries = types.SimpleNamespace(version=0, wait=lambda *_: None, notify=lambda: None)
    sending = sender.Sender(settings, settings.destinations[0], Spool(tmp_path), entries, metrics.Metrics())
    waited = []

    def fail():
        raise sqlite3.OperationalError("database or disk is full")

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 8:
            sending.stop()

    monkeypatch.setattr(sending, "_send_due", fail)
    monkeypatch.setattr(sending._stopping, "wait", wait)
    sending.run()
    assert waited == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.fixture
def archive():
    peer = Archive()
    yield peer
    peer.close()


def test_g14_the_original_comes_unchanged_and_then_its_result(tmp_path, archive):
    path = image(tmp_path, 1)
    with running(tmp_path, configuration({"archive": archive.port}, rules=BICUBIC.format('"archive"'))) as node:
        start = time.monotonic()
        assert node.send(path) == [0x0000]
        original, result = archive.wait(2)
        assert time.monotonic() - start < 30
        assert original == uid_of(path)
        assert archive.arrived[0][1] == sha256(data_set(path))
        ds = archive.data_sets[result]
        assert (ds.Rows, ds.Columns) == (128, 128)
        assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == original
        (kept,) = (node.spool / "results").iterdir()
        shutil.copy(kept, tmp_path / "result.dcm")
        assert archive.arrived[1][1] == sha256(data_set(kept))
        assert dicom_check.main([str(path), str(kept)]) == 0
        wait_for(lambda: states(node) == ["sent", "sent"], "the records")
        check_no_loop(node, archive, tmp_path / "result.dcm", path)
        assert node.stop() == 0


def check_no_loop(node, archive, result, path):
    """What the node made comes back: acknowledged, neither processed nor sent again; so is its source."""
    assert node.send(result, path) == [0x0000, 0x0000]
    assert node.rows("SELECT COUNT(*) FROM instances") == [(1,)]
    ds = pydicom.dcmread(result)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.7"
    ds.save_as(result)
    assert node.send(result) == [0x0000]  # as of another node: passed on, not upscaled
    archive.wait(3)
    wait_for(lambda: node.rows("SELECT state FROM instances WHERE id = 2") == [("passed",)], "the refusal")
    ((reason,),) = node.rows("SELECT reason FROM instances WHERE id = 2")
    assert "already been upscaled" in reason
    assert len(archive.uids()) == 3


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_g11_what_cannot_be_upscaled_passes_alone_and_the_reason_is_recorded(tmp_path, archive):
    """A color image for a network of gray images, and a broken one: fail-open for originals, closed for results."""
    broken = image(tmp_path, 2, Rows=32)  # Pixel Data of 64 rows
    rule = BICUBIC.format('"archive"').replace("bicubic", "fast-x2").replace("scale = 2\n", "")
    with running(tmp_path, configuration({"archive": archive.port}, rules=rule)) as node:
        assert node.send(broken) == [0x0000]
        archive.wait(1)
        wait_for(lambda: node.rows("SELECT state FROM instances") == [("passed",)], "the refusal")
        ((reason,),) = node.rows("SELECT reason FROM instances")
        assert "Pixel Data" in reason
        assert "object 1 is not upscaled" in node.text()
        assert "\tprocessing: passed\t" in node.command("audit")


def test_g11_an_image_out_of_the_models_scope_passes_alone(tmp_path, archive):
    """A smooth pattern is no chest radiograph (T-33): its original passes unchanged, and the reason is recorded."""
    path = image(tmp_path, 1)
    rule = BICUBIC.format('"archive"').replace("bicubic", "fast-x2").replace("scale = 2\n", "")
    with running(tmp_path, configuration({"archive": archive.port}, rules=rule)) as node:
        assert node.send(path) == [0x0000]
        wait_for(lambda: node.rows("SELECT state FROM instances") == [("passed",)], "the check")
        assert archive.wait(1) == [uid_of(path)]
        assert archive.arrived[0][1] == sha256(data_set(path))
        trail = node.command("audit")
        assert "\tprocessing: passed\t" in trail
        assert "out of scope for fast-x2" in trail
        for text in (trail, node.text()):
            assert "--force" not in text  # no option of the gateway
            assert str(tmp_path / "spool") not in text.partition("not upscaled")[2]


@pytest.mark.large
def test_g11_an_image_that_takes_too_long_is_quarantined_and_its_original_is_not(tmp_path, archive):
    more = "[processing]\ntimeout = 0.1\nattempts = 2\nretry_seconds = 0.1"
    text = configuration({"archive": archive.port}, rules=BICUBIC.format('"archive"'), more=more)
    with running(tmp_path, text) as node:
        path = image(tmp_path, 1, side=1536)
        assert node.send(path) == [0x0000]
        assert archive.wait(1) == [uid_of(path)]
        wait_for(lambda: node.rows("SELECT state FROM instances") == [("failed",)], "the quarantine")
        line = "processing:1  object 1, 2 attempts: took longer than the time-out of 0.1 s"
        assert line in node.command("quarantine", "list")


def test_g12_g13_a_dead_destination_does_not_stop_another_and_gets_all_when_it_is_back(tmp_path, archive):
    port = free_port()
    paths = [image(tmp_path, n) for n in range(10)]
    with running(tmp_path, configuration({"archive": archive.port, "second": port})) as node:
        assert node.send(*paths) == [0x0000] * 10
        assert archive.wait(10) == [uid_of(path) for path in paths]
        wait_for(lambda: "second: no association" in node.text(), "the failure")
        assert "second: sent 0, waiting 10, quarantined 0; no association" in node.command("status")
        second = Archive("SECOND", port)
        assert second.wait(10) == [uid_of(path) for path in paths]
        second.close()
        wait_for(lambda: states(node) == ["sent"] * 20, "the records")


def test_g12_statuses_of_a_destination(tmp_path, archive):
    """A700 waits without limit, B000 is stored, C000 is quarantined after two attempts, and released."""
    paths = [image(tmp_path, n) for n in range(3)]
    archive.statuses = {uid_of(paths[0]): [0xA700, 0xA701, 0xB000], uid_of(paths[1]): [0xC000, 0xC000]}
    with running(tmp_path, configuration({"archive": archive.port}, destination="attempts = 2")) as node:
        assert node.send(*paths) == [0x0000] * 3
        wait_for(lambda: sorted(states(node)) == ["failed", "sent", "sent"], "the end of the attempts")
        rows = node.rows("SELECT state, attempts, reason FROM deliveries ORDER BY id")
        assert rows == [("sent", 1, "warning B000"), ("failed", 2, "status C000"), ("sent", 1, "")]
        assert archive.uids() == [uid_of(paths[2]), uid_of(paths[0])]  # what A700 refuses lets others pass
        assert "delivery:2  original of object 2 to archive, 2 attempts: status C000" in node.command(
            "quarantine", "list"
        )
        assert "released: 1" in node.command("quarantine", "release", "delivery:2")
        archive.wait(3)
        wait_for(lambda: "quarantined 0" in node.command("status").splitlines()[1], "the record")


@pytest.mark.large
def test_g12_retry_makes_everything_due_now(tmp_path):
    port = free_port()
    path = image(tmp_path, 1)
    text = configuration({"archive": port}).replace("retry_seconds = 0.2", "retry_seconds = 600")
    with running(tmp_path, text.replace("retry_cap_seconds = 0.5", "retry_cap_seconds = 600")) as node:
        assert node.send(path) == [0x0000]
        wait_for(lambda: "next attempt in" in node.text(), "the failure")
        peer = Archive(port=port)
        node.command("retry")
        peer.wait(1, 10)
        peer.close()


@pytest.mark.large
def test_an_object_does_not_go_back_to_its_sender_but_its_result_does(tmp_path, archive):
    path = image(tmp_path, 1)
    more = '[[sources]]\nae_title = "ARCHIVE"'
    text = configuration({"archive": archive.port}, rules=BICUBIC.format('"archive"'), more=more)
    with running(tmp_path, text) as node:
        assert node.send(path, calling="ARCHIVE") == [0x0000]
        (result,) = archive.wait(1)
        assert archive.data_sets[result].Rows == 128
        assert node.rows("SELECT kind FROM deliveries") == [("result",)]


@pytest.mark.large
def test_g08_a_destination_without_the_transfer_syntax_gets_nothing_else(tmp_path):
    """The object is not decompressed: it is quarantined after its attempts, and the other objects pass."""
    peer = Archive(syntaxes=[ExplicitVRLittleEndian])
    compressed, plain = image(tmp_path, 1), image(tmp_path, 2)
    ds = pydicom.dcmread(compressed)
    ds.compress(JPEGLSLossless, generate_instance_uid=False)
    ds.save_as(compressed)
    with running(tmp_path, configuration({"archive": peer.port}, destination="attempts = 2")) as node:
        assert node.send(compressed, plain) == [0x0000, 0x0000]
        assert peer.wait(1) == [uid_of(plain)]
        wait_for(lambda: states(node) == ["failed", "sent"], "the quarantine")
        assert "Transfer Syntax is not accepted" in node.command("quarantine", "list")
    peer.close()


@pytest.mark.large
def test_g15_what_every_destination_has_is_removed_and_nothing_else(tmp_path, archive):
    paths = [image(tmp_path, n) for n in range(2)]
    archive.statuses = {uid_of(paths[1]): [0xC000]}
    with running(
        tmp_path, configuration({"archive": archive.port}, node="keep_hours = 0", destination="attempts = 1")
    ) as node:
        assert node.send(*paths) == [0x0000] * 2
        wait_for(lambda: states(node) == ["sent", "failed"], "the sending")
        assert node.stop() == 0
    with running(tmp_path, configuration({"archive": archive.port}, node="keep_hours = 0")) as node:
        wait_for(lambda: node.rows("SELECT id FROM instances") == [(2,)], "the removal")
        wait_for(lambda: len(list((node.spool / "objects").iterdir())) == 1, "the removal of the file")
