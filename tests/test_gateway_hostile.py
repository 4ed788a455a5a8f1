"""What a hostile or broken peer and two senders at once do to the gateway (G-03, G-07, G-15, G-16)."""

import contextlib
import socket
import subprocess
import sys
import threading
import types

import pytest
from dicomweb_helpers import TYPE, body, web_configuration
from gateway_helpers import data_set, image, uid_of
from pydicom.uid import ExplicitVRLittleEndian

from tfmisr.gateway import (
    commitments,
    incoming,
    offers,
    peers,
    queue,
    receiver,
    schema,
    services,
    spool,
    upkeep,
    validation,
)
from tfmisr.gateway.dicomweb import multipart, part10
from tfmisr.gateway.dicomweb.connection import Connection, Limits
from tfmisr.gateway.dicomweb.messages import Refused, Request, Response
from tfmisr.gateway.dicomweb.store import Store
from tfmisr.gateway.metrics import Metrics

CR = "1.2.840.10008.5.1.4.1.1.1"


def test_g07_g16_a_search_key_of_many_asterisks_takes_no_time():
    """A regular expression with `.*` for each asterisk tries 10^12 ways, and holds Python's lock while it does."""
    program = (
        "from tfmisr.gateway.dicomweb.matching import matches\n"
        "name = {'00100010': {'vr': 'PN', 'Value': [{'Alphabetic': 'a' * 64}]}}\n"
        "assert not matches(name, 'PatientName', '*a' * 12 + 'b')\n"
        "assert matches(name, 'PatientName', '*A' * 12) and matches(name, 'PatientName', '?' * 64)\n"
        "assert not matches(name, 'PatientName', '[a]*') and not matches(name, 'PatientName', '?' * 63)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=10)


@pytest.mark.parametrize("more", [b"X", b"-", b"X\r\n", b" x\r\n"])
def test_g16_data_that_hold_the_boundary_are_not_cut_there(more):
    """The part must not be taken as complete before the line of its delimiter is: it would be stored, and sent on."""
    content = body(b"first\r\n--b0undary" + more + b"second")
    with pytest.raises(Refused):
        for part in multipart.parts(iter([content]), "b0undary"):
            for piece in part.data():
                assert piece == b"first"
            pytest.fail("a part that was cut looks complete")


@pytest.mark.parametrize("change", [-1, 1, 8, 16, 18, 28, -26])
def test_g16_a_wrong_length_of_the_file_meta_information_loses_no_element(tmp_path, monkeypatch, change):
    """Else the first elements of the data set are taken for File Meta Information, and dropped."""
    monkeypatch.setattr(incoming, "_folder", tmp_path)
    content = bytearray(image(tmp_path, 1).read_bytes())
    length = int.from_bytes(content[140:144], "little")
    content[140:144] = (length + change).to_bytes(4, "little")
    with contextlib.closing(incoming.IncomingFile()) as file, pytest.raises(part10.Unreadable):
        part10.receive(iter([bytes(content)]), file)


@contextlib.contextmanager
def peer():
    """The client's side of a connection that answers 204 to all requests."""
    own, other = socket.socketpair(socket.AF_UNIX)

    def answer(request: Request) -> Response:
        for _ in request.body:
            pass
        return Response(204)

    def serve():
        with own:
            named = types.SimpleNamespace(getsockname=lambda: ("127.0.0.1", 80))
            for name in ("settimeout", "recv", "sendall", "shutdown"):
                setattr(named, name, getattr(own, name))
            Connection(named, peers.Peer("127.0.0.1"), "http", Limits(2.0, 2.0), answer).serve()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with other:
        other.settimeout(10)
        yield other
    thread.join(10)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //[x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n" + CHUNKED + b"\r\n" + SMUGGLED,
        b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"Content-Length: 5\r\n\r\n" + SMUGGLED,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + SMUGGLED,
        b"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    ],
)
def test_g16_malformed_and_ambiguous_requests_get_400_and_the_connection_ends(request_):
    """RFC 9112 6.1 and 6.3: two lengths are an attempt at request smuggling."""
    with peer() as sock:
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        found = b"".join(iter(lambda: sock.recv(65536), b""))
    assert found.startswith(b"HTTP/1.1 400 ") and found.count(b"HTTP/1.1 ") == 1


def test_g16_a_content_coding_is_refused_by_name():
    """RFC 9110 8.4: what is compressed is no multipart body."""
    headers = {"content-type": TYPE, "content-encoding": "gzip"}
    request = Request("POST", "/studies", (), headers, peers.Peer("127.0.0.1"), iter([body(b"x")]), "http://x")
    with pytest.raises(Refused, match="Content-Encoding") as error:
        Store(lambda offer: services.STORED, lambda: True)(request, "WEB", "http://x", "")
    assert error.value.status == 415


def test_g03_of_two_objects_at_the_same_time_the_second_is_in_quarantine(tmp_path, monkeypatch):
    """One UID by C-STORE and by STOW-RS at once: the slower one is refused, and kept as any other conflict."""
    (tmp_path / "gateway.toml").write_text(web_configuration({"archive": 104}, spool=str(tmp_path / "spool")))
    settings = validation.read(tmp_path / "gateway.toml")
    store = spool.Spool(settings.node.spool)
    store.create()
    monkeypatch.setattr(incoming, "_folder", store.incoming)
    path = image(tmp_path, 1)
    with (
        contextlib.closing(queue.Queue(store.database)) as entries,
        contextlib.closing(incoming.IncomingFile()) as file,
    ):
        part10.receive(iter([path.read_bytes()]), file)
        other = schema.Arrival(uid_of(path), CR, str(ExplicitVRLittleEndian), "other", 1, "objects/other.dcm", "CT", "",
                               0, ("archive",), (), "")  # fmt: skip
        keep = store.keep

        def slow(*arguments):
            if not entries.known(uid_of(path)):
                entries.add(other)
            return keep(*arguments)

        monkeypatch.setattr(store, "keep", slow)
        offer = offers.Offer(CR, uid_of(path), CR, str(ExplicitVRLittleEndian), "WEB", file)
        status = receiver.Receiver(settings, store, entries, Metrics()).store(offer)
        ((name,),) = entries.rows("SELECT file FROM conflicts")
    assert status is services.CONFLICT and not list(store.objects.iterdir())
    assert data_set(store.folder / name) == data_set(path)


def test_g16_the_study_of_the_path_is_required_of_what_hides_its_own(tmp_path, monkeypatch):
    """A Study Instance UID that cannot be decoded is not that of the path."""
    monkeypatch.setattr(incoming, "_folder", tmp_path)
    content = image(tmp_path, 1).read_bytes()
    at = content.index(b"\x20\x00\x0d\x00UI")
    content = content[: at + 4] + b"US" + content[at + 6 :]
    content = content[: at + 6] + b"\x03\x00" + content[at + 8 : at + 11] + content[at + 8 + content[at + 6] :]
    offered = []
    request = Request("POST", "/studies/9.9", (), {"content-type": TYPE}, peers.Peer("127.0.0.1"),
                      iter([body(content)]), "http://x")  # fmt: skip
    store = Store(lambda offer: offered.append(offer) or services.STORED, lambda: True)
    response, (outcome,) = store(request, "WEB", "http://x", "9.9")
    assert (response.status, outcome.status, offered) == (409, services.UNPARSABLE, [])


def test_g15_what_a_report_names_as_committed_and_as_failed_is_not_removed(tmp_path):
    """A report that contradicts itself (PS3.4 J.3.3) is no promise to keep an object."""
    with contextlib.closing(queue.Queue(tmp_path / "queue.db")) as entries:
        commitments.begin(entries, ["a"])
        entries.add(schema.Arrival("1.2.3", CR, "1.2.1", "aa", 1, "objects/1.dcm", "CT", "", 0, ("a",), (), ""))
        entries.sent(entries.due("a", 1)[0], "a", "")
        commitments.request(entries, "a", "1.9", commitments.due(entries, "a", 9), 3600)
        reference = commitments.Reference(CR, "1.2.3")
        assert commitments.report(entries, ["a"], "1.9", [reference], {reference: "failure reason 0112"}) == "a"
        assert upkeep.remove_done(entries, -1) == [] and len(commitments.quarantine(entries)) == 1
