"""Soak of the gateway (G-20): many small images in and out, and whether memory or open files of its processes grow.

    MALLOC_ARENA_MAX=1 python benchmarks/gateway_soak.py --images 10000

Images of 64x64 pixels go by C-STORE over the loopback interface to a node in a process of its own, which sends the
originals and upscaled images on to a receiver in this process, both compared with what was sent. At intervals the
resident memory and the open descriptors of every process of the node are read. The slope of memory is that of ordinary
least squares over the second half of the images, with its 95 % confidence interval by Student's t distribution; its
measurements depend on each other, so that the true interval is wider. The variable
is that of the unit and the Dockerfile in examples/gateway.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

import numpy as np
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from tfmisr.cluster.isolation import resident_memory
from tfmisr.gateway import demonstration, phantoms, services

SIDE, SCALE = 64, 2


class Archive:
    """A Storage SCP that keeps the number of arrivals and a digest by SOP Instance UID, and nothing else.

    Attributes:
        arrived: SOP Instance UID to number of arrivals.
        digests: SOP Instance UID to SHA-256 of the data set as it came.
    """

    def __init__(self) -> None:
        self.arrived: dict[str, int] = {}
        self.digests: dict[str, bytes] = {}
        self._lock = threading.Lock()
        entity = AE(ae_title="ARCHIVE")
        entity.add_supported_context(ComputedRadiographyImageStorage, list(services.TRANSFER_SYNTAXES))
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = self._server.server_address[1]

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        with self._lock:
            self.arrived[uid] = self.arrived.get(uid, 0) + 1
            self.digests[uid] = hashlib.sha256(event.request.DataSet.getvalue()).digest()
        return 0x0000

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()


@dataclasses.dataclass(frozen=True)
class Sample:
    """State of the node after a number of arrivals: by process, resident memory in MB and open descriptors."""

    seconds: float
    sent: int
    arrived: int
    memory: dict[int, float]
    descriptors: dict[int, int]


def main() -> int:
    """Sends the images, prints the samples and what follows from them; status 1 if anything was lost or repeated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=10_000, help="images (default: 10,000)")
    parser.add_argument("--association", type=int, default=50, help="images of one association (default: 50)")
    parser.add_argument("--samples", type=int, default=40, help="samples, at most one for an association (default: 40)")
    parser.add_argument("--model", default="bicubic", help="interpolation or network (default: bicubic)")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("reads the memory of other processes from /proc: Linux only")
    with tempfile.TemporaryDirectory(prefix="tfmisr-soak-") as name:
        return _soak(pathlib.Path(name), arguments)


def _soak(folder: pathlib.Path, arguments: argparse.Namespace) -> int:
    archive = Archive()
    text = demonstration._CONFIG.format(port=archive.port, model=arguments.model)
    if not arguments.model[-1].isdigit():
        text = text.replace("destinations = ", f"scale = {SCALE}\ndestinations = ")
    (folder / "gateway.toml").write_text(text, encoding="utf-8")
    process, port = demonstration.start(folder / "gateway.toml")
    sent: dict[str, bytes] = {}
    try:
        samples, complete = _run(folder, arguments, process.pid, port, archive, sent)
    finally:
        process.terminate()
        status = process.wait(15)
        archive.close()
    _report(samples)
    return _verdict(arguments.images, sent, archive, complete, status)


def _run(folder, arguments, node: int, port: int, archive: Archive, sent: dict[str, bytes]) -> tuple[list, bool]:
    """Sends all images, and samples until all have arrived."""
    start, samples = time.monotonic(), []
    step = max(arguments.images // arguments.samples, 1)
    print(f"{'s':>8}{'sent':>8}{'arrived':>9}   memory in MB and descriptors of each process of the node")
    for first in range(0, arguments.images, arguments.association):
        _send(folder, port, range(first, min(first + arguments.association, arguments.images)), sent)
        if len(sent) >= step * (len(samples) + 1):
            samples.append(_sample(start, node, len(sent), archive))
    end = time.monotonic() + 120 + arguments.images * 0.2
    while len(archive.arrived) < 2 * arguments.images and time.monotonic() < end:
        time.sleep(0.1)
    rate = arguments.images / (time.monotonic() - start)
    time.sleep(3)  # what comes twice comes now
    samples.append(_sample(start, node, len(sent), archive))
    print(f"rate: {rate:.1f} images/s until the last result had arrived")
    return samples, len(archive.arrived) == 2 * arguments.images


def _send(folder: pathlib.Path, port: int, numbers: range, sent: dict[str, bytes]) -> None:
    """Sends images in an association of their own; each is made, sent and removed."""
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(ComputedRadiographyImageStorage, services.TRANSFER_SYNTAXES[0])
    association = entity.associate("127.0.0.1", port, ae_title="TFMISR")
    if not association.is_established:
        raise SystemExit("the node rejected an association")
    path = folder / "image.dcm"
    for number in numbers:
        ds = phantoms.write(path, _pixels(number), number + 1)
        status = association.send_c_store(path).get("Status")
        if status != 0x0000:
            raise SystemExit(f"image {number}: status {status}")
        content = path.read_bytes()
        sent[str(ds.SOPInstanceUID)] = hashlib.sha256(
            content[144 + int.from_bytes(content[140:144], "little") :]
        ).digest()
    association.release()


def _pixels(number: int) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    pixels = (20000 + 15000 * np.sin(3 * rows + number) * np.cos(2 * columns)).astype(np.uint16)
    pixels[0, 0] = number  # each image has a digest of its own
    return pixels


def _sample(start: float, node: int, sent: int, archive: Archive) -> Sample:
    processes = [node, *_children(node)]
    memory = {each: resident_memory(each) / 1e6 for each in processes}
    descriptors = {each: _descriptors(each) for each in processes}
    made = Sample(time.monotonic() - start, sent, len(archive.arrived), memory, descriptors)
    text = "".join(f"   {each}: {memory[each]:.2f}, {descriptors[each]}" for each in processes)
    print(f"{made.seconds:8.1f}{sent:8}{made.arrived:9}{text}", flush=True)
    return made


def _children(process: int) -> list[int]:
    """Returns the processes that a process has started, by any of its threads."""
    found = []
    for thread in pathlib.Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            found += map(int, (thread / "children").read_text(encoding="ascii").split())
    return sorted(found)


def _descriptors(process: int) -> int:
    try:
        return len(os.listdir(f"/proc/{process}/fd"))
    except OSError:
        return 0


def slope(x: list[float], y: list[float]) -> tuple[float, float]:
    """Returns the slope of the least-squares line and the half-width of its 95 % confidence interval.

    Args:
        x: At least three different values.
        y: As many.
    """
    from scipy import stats

    fit = stats.linregress(x, y)
    return fit.slope, stats.t.ppf(0.975, len(x) - 2) * fit.stderr


def _report(samples: list[Sample]) -> None:
    running = [sample for sample in samples[:-1] if sample.arrived]  # the last one is of the idle node
    second = running[len(running) // 2 :]
    if len(second) < 3:
        print("too few samples for a slope: add images")
        return
    node, *children = sorted(set.intersection(*(set(sample.memory) for sample in second)))
    for process in (node, *children):
        x = [sample.arrived / 2000 for sample in second]  # an image is two arrivals: thousands of images
        found, half = slope(x, [sample.memory[process] for sample in second])
        numbers = [sample.descriptors[process] for sample in second]
        text = "node" if process == node else "process that upscales"
        print(
            f"{text}, second half: {found:+.3f} MB for 1,000 images, 95 % interval {found - half:+.3f} to "
            f"{found + half:+.3f}; descriptors {min(numbers)} to {max(numbers)}, median {statistics.median(numbers):g}"
        )


def _verdict(count: int, sent: dict[str, bytes], archive: Archive, complete: bool, status: int) -> int:
    repeated = sum(number - 1 for number in archive.arrived.values())
    unchanged = sum(archive.digests.get(uid) == digest for uid, digest in sent.items())
    results = len(archive.arrived.keys() - sent.keys())
    print(
        f"acknowledged {len(sent)}, arrived unchanged {unchanged}, results {results}, came more than once {repeated}, "
        f"exit status {status}"
    )
    exact = complete and len(sent) == unchanged == results == count and not repeated and status == 0
    print("everything arrived exactly once" if exact else "NOT everything arrived exactly once")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
