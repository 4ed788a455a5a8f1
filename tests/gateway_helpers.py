"""What the tests of the gateway share: a node in a process of its own, peers by pynetdicom, images."""

import contextlib
import hashlib
import pathlib
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

pytest.importorskip("pynetdicom", reason="the gateway needs pip install 'tfmisr[gateway]'")
pytest.importorskip("prometheus_client", reason="the gateway needs pip install 'tfmisr[gateway]'")

from pynetdicom import AE, evt, transport
from pynetdicom.sop_class import ComputedRadiographyImageStorage, CTImageStorage, Verification

from tfmisr.gateway import phantoms, services


def _shutdown_socket(self) -> None:
    """pynetdicom's, which leaves a socket that the peer has closed to the garbage collector: a ResourceWarning."""
    with contextlib.suppress(OSError):
        self.socket.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError, AttributeError):
        self.socket.close()


transport.AssociationSocket._shutdown_socket = _shutdown_socket
SECONDS = 60.0


def image(folder: pathlib.Path, number: int, side: int = 64, **changes) -> pathlib.Path:
    """Writes a smooth radiograph; the same number gives the same instance."""
    rows, columns = np.mgrid[:side, :side] / side
    pixels = 20000 + 15000 * np.sin(3 * rows + number) * np.cos(2 * columns)
    path = folder / f"{number}.dcm"
    ds = phantoms.write(path, pixels.astype(np.uint16), number)
    if changes:
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(path, enforce_file_format=True)
    return path


def uid_of(path: pathlib.Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def data_set(path: pathlib.Path) -> bytes:
    """The bytes after the File Meta Information, found without pydicom's writer."""
    content = path.read_bytes()
    length = int.from_bytes(content[140:144], "little")  # of group 2, after preamble, DICM and its first element
    return content[144 + length :]


class Archive:
    """A Storage SCP in this process.

    Attributes:
        arrived: (SOP Instance UID, SHA-256 of the data set as received) in order.
        statuses: SOP Instance UID to statuses to answer with before 0000; B000 stores.
    """

    def __init__(self, ae_title: str = "ARCHIVE", port: int = 0, syntaxes=services.TRANSFER_SYNTAXES):
        self.arrived, self.statuses, self.data_sets = [], {}, {}
        self._lock = threading.Lock()
        entity = AE(ae_title=ae_title)
        entity.require_called_aet = True
        for sop_class in (ComputedRadiographyImageStorage, CTImageStorage):
            entity.add_supported_context(sop_class, list(syntaxes))
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ESTABLISHED, self.established)]
        self._server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def _store(self, event) -> int:
        content = event.request.DataSet.getvalue()
        with self._lock:
            uid, status = str(event.request.AffectedSOPInstanceUID), 0x0000
            if self.statuses.get(uid):
                status = self.statuses[uid].pop(0)
            if status not in (0x0000, 0xB000):
                return status
            self.arrived.append((uid, hashlib.sha256(content).hexdigest()))
            self.data_sets[uid] = event.dataset
        return status

    def established(self, event) -> None:
        """For peers that misbehave."""

    def uids(self) -> list[str]:
        return [uid for uid, _ in self.arrived]

    def wait(self, count: int, seconds: float = SECONDS) -> list[str]:
        """Waits for a number of different instances and returns the UIDs of all that came."""
        wait_for(lambda: len(set(self.uids())) >= count, f"{count} instances, {len(self.arrived)} came", seconds)
        return self.uids()

    def close(self) -> None:
        self._server.shutdown()


def wait_for(condition, what: str, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def configuration(ports: dict[str, int], *, node="", destination="", rules="", more="", spool="spool") -> str:
    """Returns a configuration with destinations by name and port; each has its name in capitals as AE title."""
    targets = "".join(
        f'[[destinations]]\nname = "{name}"\nae_title = "{name.upper()}"\naddress = "localhost"\nport = {port}\n'
        f"retry_seconds = 0.2\nretry_cap_seconds = 0.5\n{destination}\n"
        for name, port in ports.items()
    )
    names = ", ".join(f'"{name}"' for name in ports)
    default = f'[[rules]]\nsend = "original only"\ndestinations = [{names}]\n'
    return (
        f'[node]\nae_title = "NODE"\nport = 0\nspool = "{spool}"\nreserve_mb = 0\n{node}\n'
        f'[monitoring]\nport = 0\n[[sources]]\nae_title = "MODALITY"\n{more}\n{targets}\n{rules or default}'
    )


BICUBIC = (
    '[[rules]]\nmodality = ["CR"]\nsend = "original and result"\nmodel = "bicubic"\nscale = 2\ndestinations = [{}]\n'
)


class Node:
    """A node in a process of its own; a second one with the same folder resumes the queue of the first.

    Args:
        folder: For its files.
        text: Its configuration.
        flags: More flags of `run`.
        prefix: Words of a command that runs it.
    """

    def __init__(self, folder: pathlib.Path, text: str, *flags: str, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.config = folder / "gateway.toml"
        self.config.write_text(text, encoding="utf-8")
        self.spool = folder / "spool"
        self.log = folder / "log"
        with open(self.log, "a", encoding="utf-8") as log:
            position = log.tell()
            command = [*prefix, sys.executable, "-m", "tfmisr.gateway", "run", str(self.config), *flags]
            self.process = subprocess.Popen(command, stderr=log)
        wait_for(lambda: "monitoring listens" in self.text(position) or self.process.poll() is not None, "the node")
        assert self.process.poll() is None, self.text(position)
        ports = re.findall(r"listens on \S+ port (\d+)", self.text(position))
        self.port, self.http = map(int, ports)

    def text(self, position: int = 0) -> str:
        return self.log.read_bytes()[position:].decode()

    def rows(self, query: str, *values) -> list:
        connection = sqlite3.connect(self.spool / "queue.db", timeout=10)
        with contextlib.closing(connection):
            return connection.execute(query, values).fetchall()

    def command(self, *arguments: str) -> str:
        """Runs a command of the gateway on this configuration in this process, and returns what it prints."""
        import io

        from tfmisr.gateway.__main__ import main

        words = [*arguments[:2], str(self.config), *arguments[2:]]
        if arguments[0] != "quarantine":
            words = [arguments[0], str(self.config)]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main(words) == 0
        return out.getvalue()

    def send(self, *paths: pathlib.Path, calling: str = "MODALITY") -> list[int | None]:
        """Sends files in one association and returns their statuses; `None` without a response."""
        entity = AE(ae_title=calling)
        entity.network_timeout = entity.dimse_timeout = entity.acse_timeout = 30
        contexts = {
            (ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
            for ds in (pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
        }
        for sop_class, syntax in contexts:
            entity.add_requested_context(sop_class, syntax)
        association = entity.associate("127.0.0.1", self.port, ae_title="NODE")
        statuses = []
        if association.is_established:
            for path in paths:
                status = pydicom.Dataset()
                if association.is_established:
                    with contextlib.suppress(RuntimeError):
                        status = association.send_c_store(path)
                statuses.append(status.get("Status"))
            association.release()
        return statuses or [None] * len(paths)

    def associate(self, calling: str = "MODALITY", called: str = "NODE", context=Verification):
        """Requests an association and returns it."""
        entity = AE(ae_title=calling)
        entity.acse_timeout = entity.network_timeout = entity.dimse_timeout = 20
        entity.add_requested_context(context, ExplicitVRLittleEndian)
        return entity.associate("127.0.0.1", self.port, ae_title=called)

    def associations(self) -> int:
        """Open associations, by its metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as response:
            found = re.search(r"^tfmisr_gateway_associations (\S+)$", response.read().decode(), re.MULTILINE)
        return int(float(found[1]))

    def stop(self) -> int:
        """Ends the node by SIGTERM and returns its exit status."""
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


@contextlib.contextmanager
def running(folder: pathlib.Path, text: str, *flags: str, prefix: Sequence[str] = ()):
    """A node that is ended with the block, whatever happens; it must not have shown a traceback."""
    node = Node(folder, text, *flags, prefix=prefix)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()
    assert "Traceback" not in node.text()


def dcmtk(program: str) -> str:
    """The path of DCMTK's program; pynetdicom puts scripts of the same names into an environment."""
    for folder in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"):
        if found := shutil.which(program, path=folder):
            return found
    pytest.skip(f"DCMTK's {program} is not installed")


TLS = '[tls]\ncertificate = "{0}/{1}.crt"\nkey = "{0}/{2}.key"\nca = "{0}/{3}.crt"\n'


def certificate(folder, name: str, days: int, issuer: str = ""):
    """Makes a certificate with openssl; `issuer` signs it, itself otherwise."""
    key, request, found = (folder / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subject += [] if issuer else ["-addext", "basicConstraints=critical,CA:TRUE"]
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, *subject)
    by = ["-CA", folder / f"{issuer}.crt", "-CAkey", folder / f"{issuer}.key", "-CAcreateserial"]
    openssl("x509", "-req", "-in", request, "-days", days, "-copy_extensions", "copy", "-out", found,
        *(by if issuer else ["-signkey", key]))  # fmt: skip
    return found


def openssl(*arguments) -> None:
    program = shutil.which("openssl") or pytest.skip("openssl is not installed")
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)
