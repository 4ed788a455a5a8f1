"""STOW-RS (G-16): what counts as stored is what the response says of the instance, not the status alone."""

import email
import email.policy
import http.server
import json
import shutil
import ssl
import subprocess
import threading

import pytest
from gateway_helpers import configuration, data_set, image, running, uid_of, wait_for
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from tfmisr.edge.errors import InputError
from tfmisr.gateway import stow, validation


def response(uid: str, code: int | None = None, failed: bool = False) -> bytes:
    """A response as PS3.18 10.5.3.2 and Annex F have it."""
    item = {
        "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.1"]},
        "00081155": {"vr": "UI", "Value": [uid]},
    }
    if code is not None:
        item["00081197" if failed else "00081196"] = {"vr": "US", "Value": [code]}
    return json.dumps({"00081198" if failed else "00081199": {"vr": "SQ", "Value": [item]}}).encode()


@pytest.mark.parametrize(
    "body, expected",
    [
        (response("1.2"), 0),
        (response("1.2", 0xB000), 0xB000),
        (response("1.2", 0xB123), 0),
        (response("1.2", 0xA700, failed=True), 0xA700),
        (response("1.2", 0x0122, failed=True), 0x0122),
        (response("1.2", failed=True), 0x0110),
        (response("1.2", 0, failed=True), 0x0110),
        (response("1.3"), None),
        (b"{}", None),
        (b"", None),
        (b"<NativeDicomModel/>", None),
        (b"[1]", None),
        (b'{"00081199": {"Value": 5}}', None),
    ],
)
def test_g16_codes_of_an_instance(body, expected):
    assert stow.outcome(body, "1.2") == expected


class Service:
    """A STOW-RS service; `answers` gives (status, code, failed) of the next requests, then all is stored."""

    def __init__(self, answers=(), context: ssl.SSLContext | None = None) -> None:
        self.answers, self.received = list(answers), []
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                (part,) = email.message_from_bytes(head + content, policy=email.policy.HTTP).iter_parts()
                file = part.get_payload(decode=True)
                service.received.append((self.path, self.headers["Accept"], part["Content-Type"], file))
                status, code, failed = service.answers.pop(0) if service.answers else (200, None, False)
                uid = service.uid(file)
                body = response(uid, code, failed) if status in (200, 202, 409) else b"sorry"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @staticmethod
    def uid(file: bytes) -> str:
        start = file.index(b"\x02\x00\x03\x00UI") + 8  # (0002,0003), explicit little endian
        return file[start : start + int.from_bytes(file[start - 2 : start], "little")].rstrip(b"\0").decode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_g16_objects_are_posted_unchanged_and_the_response_decides(tmp_path):
    """503 and A700 are tried again without limit, 0122 three times in all; a warning counts as stored."""
    answers = [(503, None, False), (409, 0xA700, True), (202, 0xB000, False)]
    service = Service(answers + [(409, 0x0122, True)] * 3)
    paths = [image(tmp_path, 1), image(tmp_path, 2)]
    text = configuration({"web": service.port}, destination='stow_path = "/dicom-web/studies"')
    with running(tmp_path, text) as node:
        assert node.send(paths[0]) == [0x0000]
        wait_for(lambda: node.rows("SELECT 1 FROM deliveries WHERE state = 'sent'"), "the first object")
        assert node.send(paths[1]) == [0x0000]
        wait_for(lambda: node.rows("SELECT 1 FROM deliveries WHERE state = 'failed'"), "the quarantine")
        assert node.rows("SELECT reason FROM deliveries ORDER BY id") == [("warning B000",), ("status 0122",)]
        assert "HTTP status 503" in node.text() and "status A700, out of resources" in node.text()
        assert node.command("quarantine", "release", "delivery:2") == "released: 1\n"
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the second object")
        assert node.stop() == 0
    service.close()
    assert len(service.received) == 7
    for number, (path, accept, kind, file) in enumerate(service.received):
        assert (path, accept) == ("/dicom-web/studies", "application/dicom+json")
        assert kind.replace('"', "") == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
        (tmp_path / "part").write_bytes(file)
        source = paths[number > 2]
        assert data_set(tmp_path / "part") == data_set(source) and service.uid(file) == uid_of(source)


@pytest.mark.large
def test_g16_https_with_certificates_of_both_sides(tmp_path):
    """A service with a certificate of another authority gets nothing; one that asks for the node's gets the object."""
    files = {name: certificate(tmp_path, name) for name in ("node", "other")}
    services = {name: Service(context=server_context(tmp_path, name)) for name in files}
    text = configuration(
        {name: each.port for name, each in services.items()},
        destination='tls = true\nstow_path = "/studies"',
        more='[tls]\ncertificate = "node.crt"\nkey = "node.key"\nca = "node.crt"\n',
    )
    with running(tmp_path, text) as node:
        entity = AE(ae_title="MODALITY")
        entity.add_requested_context(ComputedRadiographyImageStorage, ExplicitVRLittleEndian)
        context = ssl.create_default_context(cafile=files["node"])
        context.load_cert_chain(files["node"], tmp_path / "node.key")
        association = entity.associate("127.0.0.1", node.port, ae_title="NODE", tls_args=(context, "localhost"))
        assert association.send_c_store(image(tmp_path, 1)).Status == 0x0000
        association.release()
        wait_for(lambda: services["node"].received, "the object")
        wait_for(lambda: "other: the request failed (SSLCertVerificationError)" in node.text(), "the refusal")
        assert not services["other"].received
    for each in services.values():
        each.close()


def certificate(folder, name: str):
    """Makes a certificate of localhost that is its own authority."""
    program = shutil.which("openssl") or pytest.skip("openssl is not installed")
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "9"]
    files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return folder / f"{name}.crt"


def server_context(folder, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    context.load_verify_locations(folder / "node.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize(
    "lines, message",
    [
        ('stow_path = "studies"', "expected a path as /studies. Received: studies"),
        ('stow_path = "/a b"', "expected a path"),
        ('stow_path = "/a"\nstorage_commitment = true', "not offered with stow_path"),
    ],
)
def test_g16_g19_mistakes_are_found(tmp_path, lines, message):
    path = tmp_path / "gateway.toml"
    path.write_text(configuration({"web": 80}, destination=lines), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        validation.read(path)
