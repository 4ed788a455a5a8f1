"""`python -m tfmisr.gateway demo`: a sender, a node and a receiver on the loopback interface, and a table of times."""

import hashlib
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import pydicom
from pynetdicom import AE, evt

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.gateway import phantoms, services

SECONDS = 300.0
SIZE = 512
_CONFIG = """
[node]
ae_title = "TFMISR"
port = 0
spool = "spool"
reserve_mb = 50

[[sources]]
ae_title = "MODALITY"
address = "127.0.0.1"

[[destinations]]
name = "archive"
ae_title = "ARCHIVE"
address = "127.0.0.1"
port = {port}

[[rules]]
modality = ["CR"]
send = "original and result"
model = "{model}"
destinations = ["archive"]
"""


class Archive:
    """A Storage SCP that keeps what a table needs: time, size and digest by SOP Instance UID.

    Attributes:
        arrived: SOP Instance UID to (time, SHA-256 of Pixel Data, rows, SOP Instance UID of the source or "").
        repeated: Number of instances that came more than once.
    """

    def __init__(self) -> None:
        self.arrived: dict[str, tuple[float, str, int, str]] = {}
        self.repeated = 0
        entity = AE(ae_title="ARCHIVE")
        for sop_class in services.STORAGE_CLASSES:
            entity.add_supported_context(sop_class, list(services.TRANSFER_SYNTAXES))
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = self._server.server_address[1]

    def _store(self, event: evt.Event) -> int:
        ds = event.dataset
        source = ds.SourceImageSequence[0].ReferencedSOPInstanceUID if "SourceImageSequence" in ds else ""
        self.repeated += ds.SOPInstanceUID in self.arrived
        digest = hashlib.sha256(ds.PixelData).hexdigest()
        self.arrived[str(ds.SOPInstanceUID)] = (time.monotonic(), digest, int(ds.Rows), str(source))
        return 0x0000

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()


def run(count: int, model: str) -> int:
    """Sends phantom images through a node and prints what arrived, and when; the exit status is 1 if anything is wrong.

    Args:
        count: Number of images.
        model: Model that upscales them.

    Raises:
        InputError: `count` is not positive, the model does not exist, or the node does not start.
    """
    if count < 1:
        raise InputError(f"expected at least one image. Received: {count}")
    with tempfile.TemporaryDirectory(prefix="tfmisr-gateway-") as name:
        folder = pathlib.Path(name)
        sources = _make_phantoms(folder, count)
        archive = Archive()
        path = folder / "gateway.toml"
        path.write_text(_CONFIG.format(port=archive.port, model=model), encoding="utf-8")
        process, port = start(path)
        try:
            start_time = time.monotonic()
            acknowledged = _send(sources, port)
            _wait(archive, 2 * count)
        finally:
            process.terminate()
            status = process.wait(15)
            archive.close()
    lines, correct = _table(sources, acknowledged, archive, start_time, status)
    print("\n".join(lines))
    return 0 if correct else 1


def start(config: pathlib.Path) -> tuple[subprocess.Popen, int]:
    """Starts a node in a process of its own and returns it with its port.

    Raises:
        InputError: It does not start; the message is its own.
    """
    command = [sys.executable, "-m", "tfmisr.gateway", "run", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr or ():
        lines.append(line)
        if match := re.search(r" listens on \S+ port (\d+)", line):
            threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
            return process, int(match[1])
    process.wait()
    if process.stderr:
        process.stderr.close()
    raise InputError(lines[-1].removeprefix("error: ").strip() if lines else "the node did not start")


def _drain(stream) -> None:
    """Reads the log to its end, so that the node never waits for a full pipe."""
    with stream:
        for _ in stream:
            pass


def _make_phantoms(folder: pathlib.Path, count: int) -> dict[str, tuple[pathlib.Path, str]]:
    """Returns SOP Instance UID to (file, SHA-256 of Pixel Data)."""
    from tfmisr.datasets.chest_phantom import phantom

    print(f"making {counted(count, 'phantom image')} of {SIZE}x{SIZE} pixels")
    made = {}
    kinds = [phantom.radiograph(seed, SIZE) for seed in range(min(count, 4))]
    for number in range(count):
        path = folder / f"{number}.dcm"
        pixels = kinds[number % len(kinds)].copy()
        pixels[0, 0] = number  # each image has a digest of its own
        ds = phantoms.write(path, pixels, number + 1)
        made[str(ds.SOPInstanceUID)] = (path, hashlib.sha256(ds.PixelData).hexdigest())
    return made


def _send(sources: dict[str, tuple[pathlib.Path, str]], port: int) -> dict[str, tuple[float, float]]:
    """Sends all files and returns SOP Instance UID to the times before and after its C-STORE."""
    entity = AE(ae_title="MODALITY")
    for path, _ in list(sources.values())[:1]:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        entity.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="TFMISR")
    if not association.is_established:
        raise InputError("the node rejected the association of the demonstration")
    times = {}
    for uid, (path, _) in sources.items():
        began = time.monotonic()
        status = association.send_c_store(path)
        if status.get("Status") == 0x0000:
            times[uid] = (began, time.monotonic())
    association.release()
    return times


def _wait(archive: Archive, count: int) -> None:
    end = time.monotonic() + SECONDS
    while len(archive.arrived) < count and time.monotonic() < end:
        time.sleep(0.05)


def _table(sources, acknowledged, archive: Archive, start_time: float, status: int) -> tuple[list[str], bool]:
    """Returns the lines of the table, and whether everything arrived once, with the pixels that were sent."""
    count, arrived = len(sources), archive.arrived
    originals = [uid for uid, (_, digest) in sources.items() if uid in arrived and arrived[uid][1] == digest]
    results = {entry[3]: entry for entry in arrived.values() if entry[3] and entry[2] > SIZE}
    lines = [
        f"{'':34}{'images':>8}{'images/s':>10}{'median ms':>11}",
        *_row("acknowledged to the sender", [(b - a, b) for a, b in acknowledged.values()], start_time),
        *_row(
            "original in the archive, unchanged",
            _since(acknowledged, {u: arrived[u][0] for u in originals}),
            start_time,
        ),
        *_row("result in the archive", _since(acknowledged, {u: e[0] for u, e in results.items()}), start_time),
        f"came twice: {archive.repeated}; exit status of the node after SIGTERM: {status}",
    ]
    complete = len(acknowledged) == len(originals) == len(results.keys() & sources.keys()) == count
    correct = complete and not archive.repeated and status == 0
    return [*lines, "complete" if correct else "NOT complete"], correct


def _since(acknowledged, times: dict[str, float]) -> list[tuple[float, float]]:
    return [(when - acknowledged[uid][0], when) for uid, when in times.items() if uid in acknowledged]


def _row(name: str, times: list[tuple[float, float]], start_time: float) -> Iterator[str]:
    if not times:
        yield f"{name:34}{0:8}"
        return
    rate = len(times) / max(max(end for _, end in times) - start_time, 1e-9)
    yield f"{name:34}{len(times):8}{rate:10.1f}{1000 * statistics.median(each for each, _ in times):11.0f}"
