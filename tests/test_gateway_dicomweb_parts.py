"""Parts of the DICOMweb service by themselves (G-16): multipart, matching, time-outs of a connection, configuration."""

import contextlib
import email
import email.policy
import random
import socket
import threading
import time

import pytest
from dicomweb_helpers import SOURCE, TABLE, TYPE, body, web_configuration
from gateway_helpers import data_set, image, uid_of

from tfmisr.edge.errors import InputError
from tfmisr.gateway import checking, conformance, incoming, peers, services, validation
from tfmisr.gateway.dicomweb import matching, multipart, part10, report, tables
from tfmisr.gateway.dicomweb.catalog import Catalog
from tfmisr.gateway.dicomweb.connection import Connection, Limits
from tfmisr.gateway.dicomweb.messages import MediaType, Refused, Request, Response, accepted, choose, media_type
from tfmisr.gateway.dicomweb.store import Store
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import Arrival


def pieces(content: bytes, seed: int):
    """Cuts content at random places, also inside of boundaries."""
    numbers = random.Random(seed)
    while content:
        size = numbers.choice((1, 2, 3, 7, 50, 1000))
        yield content[:size]
        content = content[size:]


@pytest.mark.parametrize("seed", range(8))
def test_g16_multipart_gives_what_the_email_library_gives(seed):
    """Data that hold beginnings of the boundary, empty parts, a preamble and an epilogue (RFC 2046 5.1.1)."""
    numbers = random.Random(seed)
    words = [b"\r\n", b"--", b"b0undar", b"\r\n--b0undar", b"-", b"\0", b"x"]
    parts = [b"".join(numbers.choices(words, k=numbers.randrange(30))) + b"." for _ in range(4)] + [b""]
    content = b"preamble\r\n" * (seed % 2) + body(*parts) + b"epilogue\r\n" * (seed % 3)
    found = [b"".join(part.data()) for part in multipart.parts(pieces(content, seed), "b0undary")]
    head = b"Content-Type: multipart/related; boundary=b0undary\r\nMIME-Version: 1.0\r\n\r\n"
    message = email.message_from_bytes(head + content, policy=email.policy.HTTP)
    assert found == parts
    assert [part["Content-Type"] for part in message.iter_parts()] == ["application/dicom"] * 5


def test_g16_a_part_that_is_not_read_is_skipped():
    found = [part.headers["Content-Type"] for part in multipart.parts(iter([body(b"one", b"two")]), "b0undary")]
    assert found == ["application/dicom"] * 2


@pytest.mark.parametrize(
    "content, boundary",
    [
        (body(b"data")[:-5], "b0undary"),
        (body(b"data"), "other"),
        (b"x" * 70_000 + body(b"data"), "b0undary"),
        (body(b"data", head="A: " + "x" * 9000 + "\r\n"), "b0undary"),
        (body(b"data", head="A: b\r\n" * 2000), "b0undary"),
        (body(b"data"), ""),
        (body(b"data"), "b" * 201),
    ],
)
def test_g16_a_malformed_body_is_refused(content, boundary):
    with pytest.raises(Refused) as error:
        for part in multipart.parts(pieces(content, 1), boundary):
            list(part.data())
    assert error.value.status == 400


def test_g16_the_preamble_of_the_sender_is_not_kept_and_the_data_set_is(tmp_path, monkeypatch):
    """CVE-2019-11687: a program in the preamble."""
    monkeypatch.setattr(incoming, "_folder", tmp_path)
    path = image(tmp_path, 1)
    content = b"MZ" + path.read_bytes()[2:]
    with contextlib.closing(incoming.IncomingFile()) as file:
        meta = part10.receive(pieces(content, 2), file)
        assert data_set(file.path) == data_set(path)
        assert file.path.read_bytes()[:132] == b"\0" * 128 + b"DICM"
    assert meta == part10.Meta("1.2.840.10008.5.1.4.1.1.1", uid_of(path), "1.2.840.10008.1.2.1")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content[:140],
        lambda content: content[:128] + b"DICK" + content[132:],
        lambda content: content[:140] + b"\xff\xff\xff\x7f" + content[144:],
        lambda content: content[:144] + b"\xff" * 40 + content[184:],
    ],
)
def test_g16_what_is_no_dicom_file_is_unreadable(tmp_path, monkeypatch, change):
    monkeypatch.setattr(incoming, "_folder", tmp_path)
    content = change(image(tmp_path, 1).read_bytes())
    with contextlib.closing(incoming.IncomingFile()) as file, pytest.raises(part10.Unreadable):
        part10.receive(pieces(content, 3), file)


def test_g16_http_status_of_the_outcomes_by_hand():
    """PS3.18 Table 10.5.3-1; out of resources alone is 503."""

    def status(*found) -> int:
        return report.status_of([report.Outcome(each) for each in found])

    assert status(services.STORED, services.STORED) == 200
    assert status(services.STORED, services.NO_SPACE) == 202
    assert status(services.NO_SPACE, services.STOPPING) == 503
    assert status(services.NO_SPACE, services.CONFLICT) == status(services.UNPARSABLE) == 409


def test_g16_g04_below_the_reserve_nothing_is_read():
    def never():
        raise AssertionError("the body was read")
        yield b""

    request = Request("POST", "", (), {"content-type": TYPE}, peers.Peer("127.0.0.1"), never(), "")
    with pytest.raises(Refused) as error:
        Store(lambda offer: services.STORED, lambda: False)(request, "WEB", "", "")
    assert (error.value.status, error.value.headers) == (503, (("Retry-After", "30"),))


def element(keyword: str, vr: str, *values) -> dict:
    from pydicom.datadict import tag_for_keyword

    return {f"{tag_for_keyword(keyword):08X}": {"vr": vr, "Value": list(values)}}


@pytest.mark.parametrize(
    "keyword, vr, value, fits, does_not",
    [
        ("PatientID", "LO", "A.1 ", ["A.1", "A*", "?.1", "*", ""], ["a.1", "A?1?", "A", "Ax1"]),
        ("StudyDate", "DA", "20240229", ["20240229", "20240101-20241231", "-20240229", "20240229-"], ["20240301-"]),
        (
            "StudyTime",
            "TM",
            "101530.25",
            ["10-11", "10-10", "1015-1015", "-101530.25", "101530.250000"],
            ["1015", "-1014"],
        ),
        ("StudyTime", "TM", "10", ["100000", "10", "09-10"], ["11-", "-0959"]),
        ("InstanceNumber", "IS", 7, ["7", "+7", "007"], ["70", "-7"]),
        ("SOPClassUID", "UI", "1.2", ["1.2", "1.1,1.2", "1.2\\1.3"], ["1.20", "1.1"]),
        ("Modality", "CS", "CT", ["CT", "C?"], ["ct", "CTX"]),
    ],
)
def test_g16_matching_by_hand(keyword, vr, value, fits, does_not):
    """PS3.4 C.2.2.2."""
    found = element(keyword, vr, value)
    for wanted in fits:
        assert matching.matches(found, keyword, wanted), wanted
    for wanted in does_not:
        assert not matching.matches(found, keyword, wanted), wanted
    assert not matching.matches({}, keyword, fits[0])


def test_g16_names_match_in_any_group_and_case():
    found = element("PatientName", "PN", {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"})
    assert all(matching.matches(found, "PatientName", name) for name in ("YAMADA*", "yamada^tarou", "山田*"))
    assert not matching.matches(found, "PatientName", "Yamada")


def ask(accept: str, *query) -> Request:
    return Request("GET", "", query, {"accept": accept} if accept else {}, peers.Peer("::1"), iter(()), "")


def test_g16_media_types():
    """RFC 9110 12.5.1, PS3.18 8.3.3.1: the query goes before the header; q=0 excludes."""
    text = 'multipart/related; type="application/dicom"; transfer-syntax=*, text/html;q=0, a/b; x="1,2"'
    assert accepted(ask(text)) == [
        MediaType("multipart/related", {"type": "application/dicom", "transfer-syntax": "*"}),
        MediaType("a/b", {"x": "1,2"}),
    ]
    assert accepted(ask("")) == [MediaType("*/*", {})] and media_type("") == MediaType("", {})
    assert choose(ask("text/html, application/json"), "application/dicom+json") == "application/dicom+json"
    with pytest.raises(Refused, match="offered here"):
        choose(ask("*/*", ("accept", "text/html")), "application/dicom+json")


@contextlib.contextmanager
def connection(answer):
    """The peer's end of a connection that is served in a thread, with time-outs of 0.3 s."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = socket.create_connection(listener.getsockname(), timeout=10)
        own, _ = listener.accept()

    def serve():
        with own:
            Connection(own, peers.Peer("127.0.0.1"), "http", Limits(0.3, 0.3), answer).serve()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with other:
        yield other
    thread.join(10)
    assert not thread.is_alive()


def everything(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def no_content(request: Request) -> Response:
    for _ in request.body:
        pass
    return Response(204)


HEAD = b"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"POST", HEAD, HEAD + b"x" * 10])
def test_g16_g07_a_silent_peer_is_let_go(sent):
    start = time.monotonic()
    with connection(no_content) as peer:
        peer.sendall(sent)
        assert b" 408 " in everything(peer)
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("head", [b"", HEAD])
def test_g16_g07_a_peer_that_sends_a_byte_now_and_then_is_let_go(monkeypatch, head):
    """Each byte comes in time, and the whole would never end."""
    monkeypatch.setattr("tfmisr.gateway.dicomweb.connection.LINGER_SECONDS", 0.1)
    start = time.monotonic()
    with connection(no_content) as peer:
        peer.sendall(head)
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 8:
                peer.sendall(b"x")
                time.sleep(0.05)
    assert time.monotonic() - start < 8


def test_g16_g07_a_peer_that_reads_nothing_is_let_go():
    given = []

    def large(request: Request) -> Response:
        return Response(200, "text/plain", iter(lambda: given.append(1) or bytes(1 << 20), b""))

    start = time.monotonic()
    with connection(large) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.6)
    assert time.monotonic() - start < 8 and len(given) < 100


def test_g16_headers_are_bounded():
    with connection(no_content) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"x" * 20_000)
        assert b" 431 " in everything(peer)


def test_g16_two_requests_of_one_connection_and_one_that_is_malformed():
    with connection(no_content) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"\0\r\n\r\n")
        found = everything(peer)
    assert found.count(b"HTTP/1.1 204 No Content") == 2 and found.count(b"HTTP/1.1 400 Bad Request") == 1


def test_g16_a_body_that_fails_is_not_taken_for_complete():
    def broken(request: Request) -> Response:
        def body():
            yield b"beginning"
            raise OSError("the file is gone")

        return Response(200, "text/plain", body())

    with connection(broken) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        found = everything(peer)
    assert b"beginning" in found and not found.endswith(b"0\r\n\r\n")  # RFC 9112 7.1: the last chunk


def test_g16_the_index_follows_the_queue_and_survives_its_loss(tmp_path):
    (tmp_path / "objects").mkdir()
    queue, catalog = Queue(tmp_path / "queue.db"), None
    try:
        for number in (1, 2, 3):
            path = image(tmp_path / "objects", number)
            content = b"no DICOM" if number == 3 else path.read_bytes()
            path.write_bytes(content)
            queue.add(Arrival(f"1.{number}", "1.3", "1.2.840.10008.1.2.1", str(number), 1, f"objects/{number}.dcm",
                              "WEB", "", 0, ("archive",), (), ""))  # fmt: skip
        (tmp_path / "catalog.db").write_bytes(b"broken" * 100)
        catalog = Catalog(tmp_path, queue)
        assert catalog.synchronize() == 1  # the third cannot be read
        ((study, counts),) = catalog.counts().items()
        assert (counts, list(catalog.series().values())) == ((["CR"], 1, 2), [2])
        assert [each.attributes["00200013"]["Value"] for each in catalog.entries()] == [[1], [2]]
        assert [each.file for each in catalog.held(study)] == ["objects/1.dcm", "objects/2.dcm"]
        with queue.transaction() as db:
            db.execute("DELETE FROM deliveries WHERE instance = 1")
            db.execute("DELETE FROM instances WHERE id = 1")
        catalog.forget()
        assert [each.instance for each in catalog.held(study)] == [2]
        assert b"PHANTOM" in (tmp_path / "catalog.db").read_bytes()  # of the second
        with queue.transaction() as db:
            db.execute("DELETE FROM deliveries")
            db.execute("DELETE FROM instances")
        catalog.forget()
        assert b"PHANTOM" not in (tmp_path / "catalog.db").read_bytes()
    finally:
        queue.close()
        if catalog:
            catalog.close()


OTHER = SOURCE.replace("WEB", "OTHER")


@pytest.mark.parametrize(
    "more, key, message",
    [
        (SOURCE, "dicomweb = true", "needs a table [dicomweb]"),
        (TABLE, "[dicomweb]", "nobody may use it"),
        (
            SOURCE.replace('address = "127.0.0.1"\n', "") + TABLE,
            "dicomweb = true",
            "expected an address, or a table [tls]",
        ),
        (SOURCE + 'certificate = "a"\n' + TABLE, 'certificate = "a"', "certificate needs a table [tls]"),
        (SOURCE.replace("dicomweb = true\n", "") + SOURCE + TABLE, "retrieve = true", "retrieve needs dicomweb = true"),
        (SOURCE + OTHER + TABLE, "dicomweb = true", "another address or certificate than that of WEB"),
        (SOURCE + TABLE + 'path = "web/"', 'path = "web/"', "expected a path as /dicom-web"),
        (SOURCE + TABLE + "max_connections = 0", "max_connections = 0", "expected max_connections of at least 1"),
        (SOURCE + TABLE + 'address = ""', 'address = ""', "expected an address"),
        (SOURCE + TABLE + "proxy = 1", "proxy = 1", "unknown key proxy in dicomweb"),
    ],
)
def test_g16_g19_mistakes_are_named_with_their_line(tmp_path, more, key, message):
    path = tmp_path / "gateway.toml"
    text = web_configuration({"archive": 104}, more=more)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        validation.read(path)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line == key]
    number = lines[-1] if more.startswith(SOURCE + OTHER) else lines[0]
    assert message in str(error.value) and f"line {number}:" in str(error.value)


def test_g16_g19_check_prints_who_may_do_what(tmp_path):
    path = tmp_path / "gateway.toml"
    sender = SOURCE.replace("WEB", "SENDER").replace("127.0.0.1", "::1").replace("retrieve = true\n", "")
    path.write_text(web_configuration({"archive": 104}, more=SOURCE + sender + TABLE), encoding="utf-8")
    lines = checking.report(validation.read(path))
    assert "accepts WEB from 127.0.0.1 over DICOMweb: it may store, search and retrieve" in lines
    assert "accepts SENDER from ::1 over DICOMweb: it may store" in lines
    web = "DICOMweb on 127.0.0.1 port 0, path /dicom-web/studies, HTTP without TLS, at most 10 connections"
    assert web in lines


def test_g16_g06_names_of_a_certificate_by_hand():
    found = {
        "subject": ((("organizationName", "Clinic"),), (("commonName", "Viewer One"),)),
        "subjectAltName": (("DNS", "Viewer.example"), ("IP Address", "10.0.0.1")),
    }
    assert peers.certificate_names(found) == {"viewer one", "viewer.example"}
    assert peers.certificate_names(None) == frozenset()


def test_g22_the_statement_has_the_tables_of_dicomweb():
    text = conformance.statement()
    for status in tables.FAILURES:
        assert f"| {status.code:04X} |" in text
    for status, _ in (*tables.STORE_STATUSES, *tables.READ_STATUSES):
        assert f"| {status} |" in text
    for level in tables.LEVELS:
        for name in (*tables.MATCHED[level], *tables.RETURNED[level], *tables.INCLUDED[level]):
            assert name in text
    for name in tables.REFUSED_RESOURCES:
        assert name in text
