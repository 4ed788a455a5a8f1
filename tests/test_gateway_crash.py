"""The node is killed at random moments: what it acknowledged arrives, with the bytes that were sent."""

import hashlib
import pathlib
import random
import signal
import socket
import threading
import time

import pytest
from gateway_helpers import BICUBIC, Archive, Node, configuration, data_set, image, running, uid_of, wait_for

from tfmisr.edge.errors import InputError
from tfmisr.gateway.spool import Spool

SIDE = 1536  # pixels; long enough to be interrupted


class Resending(threading.Thread):
    """A modality that sends each image until it is acknowledged."""

    def __init__(self, paths: list[pathlib.Path]) -> None:
        super().__init__(daemon=True)
        self.paths, self.node, self.acknowledged = paths, None, []

    def run(self) -> None:
        for path in self.paths:
            while self.node is None or self.node.send(path) != [0x0000]:
                time.sleep(0.05)
            self.acknowledged.append(uid_of(path))


def survive(folder: pathlib.Path, kills: int, images: int, seed: int) -> None:
    archive, moments = Archive(), random.Random(seed)
    paths = [image(folder, number) for number in range(images)]
    more = "[processing]\nattempts = 1000\nretry_seconds = 0.1"
    text = configuration({"archive": archive.port}, rules=BICUBIC.format('"archive"'), more=more)
    sender = Resending(paths)
    for number in range(kills + 1):
        node = sender.node = Node(folder, text)
        if number == 0:
            sender.start()
        if number < kills:
            time.sleep(moments.uniform(0.0, 2.5))
            known = list(sender.acknowledged)
            node.kill()
            rows = {row[0] for row in node.rows("SELECT sop_instance_uid FROM instances")}
            assert rows.issuperset(known), "an acknowledged object is not in the queue"
    try:
        archive.wait(2 * images, 120)
        sender.join(30)
        assert sender.acknowledged == [uid_of(path) for path in paths]
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the records")
        assert node.rows("SELECT COUNT(*), SUM(result_uid <> '') FROM instances") == [(images, images)]
        check_bytes(archive, paths, kills)
        assert node.stop() == 0
    finally:
        node.process.kill()
        archive.close()
    assert "Traceback" not in node.text()


def check_bytes(archive: Archive, paths: list[pathlib.Path], kills: int) -> None:
    """Each UID came with one content only; what came twice had lost its response with the node."""
    contents = set(archive.arrived)
    assert len(contents) == len({uid for uid, _ in contents}) == 2 * len(paths)
    sent = {(uid_of(path), hashlib.sha256(data_set(path)).hexdigest()) for path in paths}
    assert sent <= contents
    assert len(archive.arrived) - len(contents) <= kills


def test_g01_killed_two_times(tmp_path):
    survive(tmp_path, kills=2, images=12, seed=1)


@pytest.mark.large
def test_g01_killed_twenty_times(tmp_path):
    survive(tmp_path, kills=20, images=150, seed=2)


def children(process: int) -> list[int]:
    found = pathlib.Path(f"/proc/{process}/task").glob("*/children")
    return [int(number) for file in found for number in file.read_text(encoding="ascii").split()]


@pytest.mark.large
@pytest.mark.skipif(not pathlib.Path("/proc/self/task").is_dir(), reason="finds the worker process in /proc")
def test_g11_a_model_that_crashes_its_process_does_not_hold_the_original(tmp_path):
    """The worker is killed at each of two attempts, as for lack of memory: the result is quarantined, alone."""
    import os

    archive = Archive()
    more = "[processing]\nattempts = 2\nretry_seconds = 0.1"
    with running(
        tmp_path, configuration({"archive": archive.port}, rules=BICUBIC.format('"archive"'), more=more)
    ) as node:
        path = image(tmp_path, 1, side=SIDE)
        assert node.send(path) == [0x0000]
        assert archive.wait(1) == [uid_of(path)]
        for attempt in (1, 2):
            wait_for(lambda: node.rows("SELECT state, attempts FROM instances") == [("processing", attempt)], "work")  # noqa: B023
            time.sleep(0.1)
            for child in children(node.process.pid):
                os.kill(child, signal.SIGKILL)
        wait_for(lambda: node.rows("SELECT state FROM instances") == [("failed",)], "the quarantine")
        assert "processing:1  object 1, 2 attempts: ended its process by SIGKILL" in node.command("quarantine", "list")
        assert node.command("quarantine", "release", "processing:1") == "released: 1\n"
        archive.wait(2, 120)
        assert node.stop() == 0
    archive.close()


def test_g18_sigterm_in_the_middle_of_an_object_ends_soon_and_the_next_start_resumes(tmp_path):
    archive = Archive()
    text = configuration({"archive": archive.port}, rules=BICUBIC.format('"archive"'))
    path = image(tmp_path, 1, side=SIDE)
    with running(tmp_path, text) as node:
        silent = socket.create_connection(("127.0.0.1", node.port))
        idle = node.associate()
        assert node.send(path) == [0x0000]
        wait_for(lambda: node.rows("SELECT state FROM instances") == [("processing",)], "work")
        start = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - start < 10
        assert node.rows("SELECT state, attempts FROM instances") == [("received", 0)]
        silent.close()
        idle.kill()
    with running(tmp_path, text):
        archive.wait(2, 120)
    archive.close()


def test_two_gateways_on_one_spool_are_refused(tmp_path):
    spool = Spool(tmp_path)
    spool.create()
    with spool.locked():
        with pytest.raises(InputError, match="another gateway uses the spool"), Spool(tmp_path).locked():
            pass
    with spool.locked():
        pass
