"""DICOMweb under stress (G-16): TLS, full slots, large objects, SIGTERM and kill -9 in the middle of a request."""

import contextlib
import hashlib
import http.client
import pathlib
import random
import socket
import ssl
import sys
import threading
import time

import pytest
from dicomweb_helpers import SOURCE, TABLE, TYPE, body, get, post, web_configuration, web_port
from gateway_helpers import Archive, Node, configuration, data_set, image, running, uid_of, wait_for
from test_gateway_config import TLS, certificate
from test_gateway_crash import Resending

STRANGERS = "only Linux has all addresses of 127.0.0.0/8 on the loopback interface"


@pytest.mark.large
def test_g16_g10_who_a_peer_is_says_its_certificate(tmp_path):
    """The certificates of the DIMSE side: none and one of another authority make no connection, the wrong name 403."""
    certificate(tmp_path, "authority", 9)
    for name in ("node", "viewer.example", "other.example"):
        certificate(tmp_path, name, 9, "authority")
    certificate(tmp_path, "stranger", 9)
    more = SOURCE.replace('address = "127.0.0.1"', 'certificate = "viewer.example"') + TABLE
    text = web_configuration({"archive": 9}, more=more + TLS.format(tmp_path, "node", "node", "authority"))
    content = image(tmp_path, 1).read_bytes()
    with running(tmp_path, text) as node:
        port = web_port(node)
        assert post(port, content, context=client(tmp_path, "viewer.example")).status == 200
        assert get(port, "/studies", context=client(tmp_path, "viewer.example")).json()
        assert post(port, content, context=client(tmp_path, "other.example")).status == 403
        for context in (client(tmp_path, "stranger"), client(tmp_path, ""), None):
            with pytest.raises((OSError, http.client.HTTPException)):
                post(port, content, context=context)
        assert node.stop() == 0


def client(folder: pathlib.Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "authority.crt")
    if name:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


@pytest.mark.large
def test_g16_g07_g18_slots_are_bounded_and_a_silent_peer_delays_no_end(tmp_path):
    more = SOURCE + TABLE + "max_connections = 2"
    with running(tmp_path, web_configuration({"archive": 9}, more=more)) as node:
        port = web_port(node)
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        silent[0].sendall(f"POST /dicom-web/studies HTTP/1.1\r\nContent-Type: {TYPE}\r\nHost: x\r\n".encode())
        silent[0].sendall(b"Content-Length: 1000\r\n\r\n--b0undary\r\n\r\n")
        wait_for(lambda: list((node.spool / "incoming").iterdir()), "the beginning of an object")
        third = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(third):
            third.connect()
            assert third.sock.recv(100).startswith(b"HTTP/1.1 503 ")
        silent[1].close()
        wait_for(lambda: get(port, "/studies").status == 204, "the slot that was freed")
        start = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - start < 10
        silent[0].close()
    assert not [line for line in node.text().splitlines() if "ERROR" in line]


class Uploading(Resending):
    """A DICOMweb client that posts each image, three in a request, until it is acknowledged."""

    interrupted = 0  # requests

    def run(self) -> None:
        for start in range(0, len(self.paths), 3):
            waiting = self.paths[start : start + 3]
            while waiting:
                stored: list[str] = []
                try:
                    stored = post(web_port(self.node), *(path.read_bytes() for path in waiting)).stored()
                except (http.client.HTTPException, ConnectionResetError, BrokenPipeError):
                    self.interrupted += 1
                except OSError:  # no node listens
                    time.sleep(0.02)
                self.acknowledged += stored
                waiting = [path for path in waiting if uid_of(path) not in stored]
                time.sleep(0.01)


def survive(folder: pathlib.Path, kills: int, images: int, seed: int) -> None:
    archive, moments = Archive(), random.Random(seed)
    paths = [image(folder, number, 256) for number in range(images)]
    text = web_configuration({"archive": archive.port})
    sender, node = Uploading(paths), None
    for number in range(kills + 1):
        node = Node(folder, text)
        sender.node = node
        if number == 0:
            sender.start()
        if number < kills:
            time.sleep(moments.uniform(0.0, 0.6))
            known = list(sender.acknowledged)
            node.kill()
            rows = {row[0] for row in node.rows("SELECT sop_instance_uid FROM instances")}
            assert rows.issuperset(known), "an acknowledged object is not in the queue"
    try:
        archive.wait(images, 120)
        sender.join(60)
        assert sender.interrupted >= 2
        assert sorted(sender.acknowledged) == sorted(uid_of(path) for path in paths)
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the records")
        assert node.rows("SELECT COUNT(*) FROM instances") == [(images,)]
        sent = {(uid_of(path), hashlib.sha256(data_set(path)).hexdigest()) for path in paths}
        assert set(archive.arrived) == sent
        assert node.stop() == 0
    finally:
        node.process.kill()
        archive.close()
    assert "Traceback" not in node.text()


@pytest.mark.large
def test_g16_g01_killed_eight_times_during_stow(tmp_path):
    survive(tmp_path, kills=8, images=200, seed=2)


def peak(process: int) -> float:
    """The largest resident memory of a process in MB."""
    text = pathlib.Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.large
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the memory of another process in /proc")
def test_g16_g09_an_object_of_500_mb_is_in_no_memory(tmp_path):
    """Stored in one request and fetched, both streamed; the bytes are the same."""
    head, size = body(b"").partition(b"\r\n\r\n")[0] + b"\r\n\r\n", 500_000_000
    start = image(tmp_path, 1).read_bytes()[:-8192]  # the pixels of 64 x 64, whose length is the last of it
    assert start[-4:] == (8192).to_bytes(4, "little")
    start = start[:-4] + size.to_bytes(4, "little")
    tail, block = b"\r\n--b0undary--\r\n", bytes(range(256)) * 4000
    with running(tmp_path, web_configuration({"archive": 9})) as node:
        port = web_port(node)
        assert post(port, image(tmp_path, 2).read_bytes()).status == 200
        before = peak(node.process.pid)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.putrequest("POST", "/dicom-web/studies")
        connection.putheader("Content-Type", TYPE)
        connection.putheader("Content-Length", str(len(head) + len(start) + size + len(tail)))
        connection.endheaders(head + start)
        whole, rest = divmod(size, len(block))
        for _ in range(whole):
            connection.send(block)
        connection.send(block[:rest] + tail)
        response = connection.getresponse()
        assert response.status == 200 and b"00081199" in response.read()
        uid = uid_of(tmp_path / "1.dcm")
        (found,) = get(port, f"/instances?SOPInstanceUID={uid}").json()
        url = found["00081190"]["Value"][0]
        connection.request("GET", url.partition(str(port))[2], headers={"Accept": "application/dicom"})
        response, digest = connection.getresponse(), hashlib.sha256()
        length = int.from_bytes(response.read(144)[140:], "little")
        response.read(length)
        for piece in iter(lambda: response.read(1 << 20), b""):
            digest.update(piece)
        assert [(digest.hexdigest(),)] == node.rows("SELECT digest FROM instances WHERE sop_instance_uid = ?", uid)
        connection.close()
        assert peak(node.process.pid) - before < 20
        assert node.stop() == 0
    expected = hashlib.sha256(start[144 + int.from_bytes(start[140:144], "little") :])
    for _ in range(whole):
        expected.update(block)
    expected.update(block[:rest])
    assert expected.hexdigest() == digest.hexdigest()


@pytest.mark.large
def test_g16_g13_four_clients_at_the_same_time_lose_nothing(tmp_path):
    archive = Archive()
    paths = [image(tmp_path, number) for number in range(48)]
    with running(tmp_path, web_configuration({"archive": archive.port})) as node:
        senders = [Uploading(paths[start::4]) for start in range(4)]
        searching = threading.Event()
        reader = threading.Thread(
            target=lambda: [get(web_port(node), "/studies") for _ in iter(searching.is_set, True)]
        )
        for sender in senders:
            sender.node = node
            sender.start()
        reader.start()
        for sender in senders:
            sender.join(60)
        searching.set()
        reader.join(30)
        archive.wait(48)
        assert sorted(archive.uids()) == sorted(uid_of(path) for path in paths)
        assert len(get(web_port(node), "/instances").json()) == 48
        assert node.stop() == 0
    archive.close()
    assert not [line for line in node.text().splitlines() if "ERROR" in line]


@pytest.mark.large
def test_g16_one_gateway_sends_to_another_over_dicomweb(tmp_path):
    """STOW-RS out of the one is STOW-RS into the other, whose responses it understands."""
    archive = Archive()
    (tmp_path / "second").mkdir()
    second = web_configuration({"archive": archive.port})
    path = image(tmp_path, 1)
    with running(tmp_path / "second", second) as next_node:
        out = 'stow_path = "/dicom-web/studies"'
        with running(tmp_path, configuration({"next": web_port(next_node)}, destination=out)) as node:
            assert node.send(path) == [0x0000]
            assert archive.wait(1) == [uid_of(path)]
            wait_for(lambda: node.rows("SELECT state FROM deliveries") == [("sent",)], "the record")
        other = get(web_port(next_node), "/instances").json()
        assert [each["00080018"]["Value"] for each in other] == [[uid_of(path)]]
    archive.close()
    assert archive.arrived == [(uid_of(path), hashlib.sha256(data_set(path)).hexdigest())]
