"""S-07: client, scheduler and workers are killed at random moments; every image has exactly one valid result."""

import contextlib
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tfmisr import upscale
from tfmisr.cluster import status
from tfmisr.edge import images

KILLS, COUNT = 10, 200
ROLES = ["client", "scheduler", "worker"]


class Cluster:
    """A scheduler, two workers and a command on loopback, each a process that can be killed."""

    def __init__(self, command, folder):
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        self.command, self.log = [*command, "--cluster", self.address], open(folder / "log", "wb")  # noqa: SIM115
        self.processes = {}

    def start(self):
        """Starts what does not run."""
        port = self.address.rpartition(":")[2]
        worker = ["-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        worker += ["--memory-limit", "0", "--death-timeout", "30"]
        commands = {
            "scheduler": [
                "-m",
                "distributed.cli.dask_scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                port,
                "--no-dashboard",
            ],
            "worker": worker,
            "worker 2": worker,
            "client": self.command,
        }
        commands["scheduler"] += ["--dashboard-address", "127.0.0.1:0"]
        for role, command in commands.items():
            if role not in self.processes or self.processes[role].poll() is not None:
                output = {"stdout": self.log, "stderr": self.log}
                self.processes[role] = subprocess.Popen([sys.executable, *command], **output)

    def kill(self, role):
        self.processes[role].send_signal(signal.SIGKILL)
        self.processes[role].wait()

    def close(self):
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        self.log.close()


def done(folder) -> int:
    return sum(1 for path in folder.glob("[0-9]*.png")) if folder.is_dir() else 0


def wait(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.large
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signals")
def test_s07_ten_kills_leave_one_valid_result_for_each_image(tmp_path):
    pytest.importorskip("distributed")
    generator, chance = np.random.default_rng(0), random.Random(0)
    (tmp_path / "in").mkdir()
    for i in range(COUNT):
        pixels = generator.integers(0, 256, (24, 20, 1)).astype(np.uint8)
        images.write_image(tmp_path / "in" / f"{i:03}.png", pixels, 255)
    arguments = ["--model", "self_similarity", "--scale", "2", str(tmp_path / "in"), "--output"]
    output = tmp_path / "out"
    running = Cluster(["-m", "tfmisr.upscale", *arguments, str(output)], tmp_path)
    try:
        killed = 0
        for kill in range(KILLS):
            goal = done(output) + chance.randrange(2, COUNT // (2 * KILLS))
            wait(lambda goal=goal: running.start() or done(output) >= goal)  # workers end after their scheduler
            time.sleep(chance.random() * 0.05)
            assert done(output) < COUNT, "the work was done before the last kill"
            running.kill(ROLES[kill % 3])
            killed += 1
            if ROLES[kill % 3] == "scheduler":
                assert running.processes["client"].wait(30) == 2  # "start the same command again to resume"
        wait(lambda: running.processes["client"].poll() == 0 or running.start())
    finally:
        running.close()
    assert killed == KILLS
    upscale.main([*arguments, str(tmp_path / "expected")])
    expected = {path.name: path.read_bytes() for path in (tmp_path / "expected").glob("*.png")}
    assert len(expected) == COUNT
    left = {path.name for path in output.iterdir()} ^ expected.keys()
    assert left == {"upscale.json", ".tfmisr"}  # every image, and no temporary file of a killed process
    assert [name for name, content in expected.items() if (output / name).read_bytes() != content] == []
    assert status.of_folder(str(output)).counts == {"done": COUNT}
    assert "connection to the scheduler is lost" in pathlib.Path(tmp_path / "log").read_text(errors="replace")
