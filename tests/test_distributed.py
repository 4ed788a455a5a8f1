"""Training on several devices and in several processes under JAX (S-21): as good as on one device."""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tfmisr import fit
from tfmisr.config import Config
from tfmisr.edge.errors import InputError
from tfmisr.training import checkpoints, distribution, fatal_messages, feed, process_flags, processes
from tfmisr.training.process_flags import Processes

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASE = {
    "model": "srresnet/num_filters=4,num_blocks=1",  # with batch normalization
    "scale": 2,
    "patch_size": 8,
    "batch_size": 8,
    "save_every": 2,
    "validate_every": 4,
    "auto_warmup": False,
    "learning_rate": 0.01,
    "schedule": "constant",
    "distribute": "data_parallel",
}
CNN = {**BASE, "steps": 8}
# Adam divides by the root of the squared gradient: of a bias before a batch normalization that is rounding alone.
GAN = {**BASE, "steps": 3, "discriminator": "dcgan", "optimizer": "sgd", "adversarial_weight": 0.1}
RUNS = {"cnn": {**CNN, "optimizer": "sgd"}, "gan": GAN}
LOST = "start the same command again in all processes to resume from the last checkpoint"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(job, devices=1, program=("tests/distributed_runs.py",)):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, *program, *([json.dumps(job)] if job else [])]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def start_two(folder, runs, **options):
    where, options = [f"127.0.0.1:{free_port()}", 2], {"heartbeat": 10, **options}
    rest = [options.pop("heartbeat"), 300]
    return [start({"folder": str(folder), "runs": runs, "process": [*where, i, *rest], **options}) for i in range(2)]


def end(started, status=0) -> list[str]:
    """Waits for processes and returns what they wrote to standard error."""
    said = [process.communicate(timeout=900)[1] for process in started]
    for process, text in zip(started, said, strict=True):
        assert status is None or process.returncode == status, text[-3000:]
    return said


def arrays(folder) -> dict[str, np.ndarray]:
    with np.load(max((folder / "checkpoints").glob("step-*.npz"))) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of the same runs: on one device, on eight devices of one process, and in two processes."""
    pytest.importorskip("jax", reason="JAX is not installed")
    folders = {name: tmp_path_factory.mktemp(name) for name in ("one", "eight", "two")}
    alone = {name: {**fields, "distribute": "none"} for name, fields in RUNS.items()}
    started = [start({"folder": str(folders["one"]), "runs": alone})]
    started.append(start({"folder": str(folders["eight"]), "runs": RUNS}, devices=8))
    end([*started, *start_two(folders["two"], RUNS)])
    return folders


@pytest.mark.large
@pytest.mark.parametrize("where", ["eight", "two"])
@pytest.mark.parametrize("name", RUNS)
def test_s21_weights_are_those_of_one_device(trained, where, name):
    """S-21: eight devices of one process, and two processes; a CNN and a GAN, both with batch normalization."""
    one, several = arrays(trained["one"] / name), arrays(trained[where] / name)
    assert one.keys() == several.keys()
    for key, expected in one.items():
        np.testing.assert_allclose(several[key], expected, rtol=0, atol=1e-6, err_msg=key)
    # The weights move by far more than the tolerance: SGD's momentum is what the last steps changed.
    moved = [np.abs(value).max() for key, value in one.items() if key.startswith("optimizer/") and value.ndim > 1]
    assert max(moved) > 1e-3


@pytest.mark.large
def test_s21_validation_and_environment_do_not_depend_on_the_devices(trained):
    """S-21: four validation images on eight devices; device and process counts are recorded."""
    history = [(trained[where] / "cnn" / "history.csv").read_text().splitlines() for where in ("one", "eight", "two")]
    assert len({len(rows) for rows in history}) == 1 and "val_psnr" in history[0][0]
    last = np.array([rows[-1].split(",") for rows in history], float)
    np.testing.assert_allclose(last[1:], last[:1].repeat(2, 0), rtol=1e-5)
    for where, devices, count in (("one", 1, 1), ("eight", 8, 1), ("two", 2, 2)):
        recorded = json.loads((trained[where] / "cnn" / "environment.json").read_text())
        assert (len(recorded["devices"]), recorded["processes"], recorded["backend"]) == (devices, count, "jax")


def stopped(folder, victim, how) -> list[str]:
    """Sends a signal to one of two processes after the first checkpoint; returns what both wrote to standard error."""
    started = start_two(folder, {"cnn": RUNS["cnn"]}, seconds=1)
    while not list((folder / "cnn" / "checkpoints").glob("step-*.npz")):
        assert started[0].poll() is None and started[1].poll() is None, end(started, None)
        time.sleep(0.05)
    started[victim].send_signal(how)
    sent = time.monotonic()
    said = end(started, None)
    assert time.monotonic() - sent < 30 and not (folder / "cnn" / "model.keras").exists()
    assert started[victim].returncode == (130 if how == signal.SIGINT else -how), said
    assert started[1 - victim].returncode not in (0, None)
    lines = [line for line in re.split(r"[\r\n]+", said[1 - victim]) if line and not line.startswith("training:")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and lines[0].endswith(LOST), said
    return said


@pytest.mark.large
def test_s21_killed_process_stops_all_and_a_restart_resumes(trained, tmp_path):
    """S-21: kill -9 ends the other process within the heartbeat, with one line; the restart gives the same weights."""
    stopped(tmp_path, 1, signal.SIGKILL)
    end(start_two(tmp_path, {"cnn": RUNS["cnn"]}))
    whole, resumed = arrays(trained["two"] / "cnn"), arrays(tmp_path / "cnn")
    assert all(np.array_equal(whole[key], resumed[key]) for key in whole) and whole.keys() == resumed.keys()


@pytest.mark.large
@pytest.mark.parametrize("victim, how", [(0, signal.SIGKILL), (1, signal.SIGINT)], ids=["coordinator", "ctrl-c"])
def test_s21_lost_coordinator_and_ctrl_c_in_one_process_stop_all(tmp_path, victim, how):
    """S-21: as above; Ctrl-C gives its usual line and status 130 where it was pressed."""
    pytest.importorskip("jax", reason="JAX is not installed")
    said = stopped(tmp_path, victim, how)
    assert how == signal.SIGKILL or "interrupted; start the same command again to resume" in said[victim]


@pytest.mark.large
def test_s21_processes_must_train_the_same_run(tmp_path):
    """S-21: another seed in process 1 is refused by name in both, and nothing is written."""
    pytest.importorskip("jax", reason="JAX is not installed")
    where = [f"127.0.0.1:{free_port()}", 2]
    jobs = [{"folder": str(tmp_path), "runs": {"cnn": {**CNN, "seed": i}}, "process": [*where, i]} for i in range(2)]
    for said in end([start(job) for job in jobs], 2):
        assert "process 1 differs from process 0: seed is" in said.splitlines()[-1]
    assert not (tmp_path / "cnn").exists()


@pytest.mark.large
def test_s21_batch_that_does_not_divide_is_refused_by_the_command(tmp_path):
    """S-21: batch_size 10 on 8 devices: one line, status 2, nothing written."""
    pytest.importorskip("jax", reason="JAX is not installed")
    flags = ["--distribute", "data_parallel", "--batch_size", "10", "--workdir", str(tmp_path / "run")]
    said = end([start(None, 8, ["-m", "tfmisr.fit", *flags])], 2)[0]
    assert said.splitlines()[-1:] == ["error: batch_size must be a multiple of the 8 devices. Received: 10"]
    assert len([line for line in said.splitlines() if line.startswith("error")]) == 1
    assert list(tmp_path.iterdir()) == []


ALL = {"coordinator": "node1:29500", "num_processes": 2, "process_index": 1}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-4]", "SLURM_NTASKS": "4", "SLURM_PROCID": "3"}
SLURM |= {"SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    "given, environment, expected",
    [
        (ALL, {}, ("node1:29500", 2, 1)),
        (ALL, SLURM, ("node1:29500", 2, 1)),
        ({}, {}, (None, 1, 0)),
        ({}, SLURM, (None, 4, 3)),
        ({}, {key: SLURM[key] for key in SLURM if key != "SLURM_STEP_NODELIST"}, (None, 1, 0)),
        ({**ALL, "process_index": None}, {"JOB_COMPLETION_INDEX": "0"}, ("node1:29500", 2, 0)),
    ],
)
def test_s21_processes_of_flags_and_environment(given, environment, expected):
    """S-21: the three flags, Slurm's variables in a step alone, and the index of an indexed job of Kubernetes."""
    found = process_flags.processes(given, "data_parallel", environment)
    assert (found.coordinator, found.count, found.index) == expected
    assert process_flags.processes({}, "none", SLURM).count == 1


@pytest.mark.parametrize(
    "change, distribute, message",
    [
        ({"num_processes": None}, "data_parallel", "--coordinator needs --num_processes: give --coordinator, --num"),
        ({"coordinator": None}, "data_parallel", "--num_processes needs --coordinator: give"),
        ({"process_index": None}, "data_parallel", "--coordinator needs --process_index: give"),
        ({"process_index": 2}, "data_parallel", "process_index must be from 0 to 1, below num_processes. Received: 2"),
        ({"process_index": -1}, "data_parallel", "process_index must be from 0 to 1"),
        ({"num_processes": 0}, "data_parallel", "num_processes must be at least 1. Received: 0"),
        ({"coordinator": "node1"}, "data_parallel", "coordinator must be HOST:PORT, such as node1:29500. Received: no"),
        ({"coordinator": "node1:99999"}, "data_parallel", "coordinator must be HOST:PORT"),
        ({"heartbeat_timeout": 0}, "data_parallel", "heartbeat_timeout must be at least 1. Received: 0"),
        ({}, "none", "--coordinator needs --distribute data_parallel. Received: none"),
    ],
)
def test_s21_wrong_flags_are_refused(change, distribute, message):
    """S-21: one line that names the flag."""
    with pytest.raises(InputError, match=f"^{message}"):
        process_flags.processes({**ALL, **change}, distribute, {})


def test_s21_flags_are_no_part_of_the_configuration():
    """S-21: the cluster's address does not reach config.json; the key of other runs stays."""
    arguments = fit._parser().parse_args(["--coordinator", "a:1", "--num_processes", "2", "--heartbeat_timeout", "9"])
    given = process_flags.take(arguments)
    assert given == {"coordinator": "a:1", "num_processes": 2, "heartbeat_timeout": 9}
    assert vars(arguments) == {} and isinstance(arguments, argparse.Namespace)
    assert Config().key == Config(distribute="none").key != Config(distribute="data_parallel").key


def test_s21_several_processes_need_jax(tmp_path):
    """S-21: TensorFlow has no strategy for several processes that works with Keras 3 (keras#20585)."""
    with pytest.raises(InputError, match="in 2 processes needs KERAS_BACKEND=jax. Received: tensorflow"):
        with processes.joined(Processes("127.0.0.1:1", 2, 0)):
            pytest.fail("joined")
    flags = ["--distribute", "data_parallel", "--coordinator", "a:1", "--num_processes", "2", "--process_index", "0"]
    with pytest.raises(InputError, match="needs KERAS_BACKEND=jax"):
        fit.main([*flags, "--workdir", str(tmp_path / "run")])
    assert list(tmp_path.iterdir()) == []


def test_s21_coordinator_that_does_not_answer_is_named(monkeypatch):
    """S-21: JAX itself would abort."""
    pytest.importorskip("jax", reason="JAX is not installed")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(InputError, match=f"process 1 cannot reach the coordinator, process 0, at {address} within 1 s"):
        with processes.joined(Processes(address, 2, 1, connect_timeout=1)):
            pytest.fail("joined")
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        with pytest.raises(InputError, match="process 0 cannot listen at port"):
            with processes.joined(Processes(f"127.0.0.1:{taken.getsockname()[1]}", 2, 0)):
                pytest.fail("joined")
    assert processes.count() == 1 and processes.is_writer()


def test_s21_with_tensorflow_data_parallel_is_mirrored():
    """S-21: the same strategy, and what it cannot do is refused."""
    config = Config(distribute="data_parallel")
    created = distribution.create(config)
    assert type(created.strategy).__name__ == "MirroredStrategy"
    with pytest.raises(InputError, match="--gradient_accumulation_steps with --distribute data_parallel needs KERAS"):
        distribution.check(Config(distribute="data_parallel", gradient_accumulation_steps=2))


FATAL = """F1130 07:12:35.019743    9806 client.h:80] Terminating process because the JAX distributed service detected \
fatal errors. This most likely indicates that another task died. absl::Status: UNAVAILABLE: """


@pytest.mark.parametrize(
    "rest, expected",
    [
        (
            "The following tasks are unhealthy (stopped sending heartbeats):\n1\nThe tasks\n",
            "error: process 1 of 2 was",
        ),
        ("Failed to send RPC to coordination service. Either\n    @ 0x7f\n", "error: process 0 of 2, the coordinator"),
        ("Deadline Exceeded\n\nRPC: /xla.coordination.CoordinationService/RegisterTask [\n", "error: not all of the 2"),
        ("something new\n", "error: another of the 2 processes was lost"),
    ],
)
def test_s21_fatal_message_of_jax_becomes_one_line(rest, expected):
    """S-21: the texts are those of jaxlib 0.10; other lines stay, harmless log lines do not."""
    noise = "I0000 00:00:1796022736.581657    9783 port.cc:153] oneDNN\n"
    lines = ["kept\n", noise, *(FATAL + rest).splitlines(keepends=True), "    @     0x7f8526840634  absl::Send()\n"]
    kept, message = fatal_messages.filtered(lines, 2)
    assert kept == "kept\n" and message.startswith(expected) and message.endswith(LOST + "\n")
    # Python may see the broken connection before C++ aborts.
    (only,) = fatal_messages.filtered([fatal_messages.message("", 2), *lines[1:]], 2)
    assert only == message
    assert list(fatal_messages.filtered([fatal_messages.message("", 2)], 2)) == [fatal_messages.message("", 2)]


def test_s21_rows_of_a_process_are_those_of_the_global_batch():
    """S-21: parts of a batch, in the order of the processes, are the batch."""

    class Sampler:
        def batch(self, step):
            return np.arange(8.0) + step, np.arange(8.0) * step

    parts = [feed.Rows(Sampler(), rows).batch(3) for rows in (slice(0, 6), slice(6, 8))]
    for joined, whole in zip(map(np.concatenate, zip(*parts, strict=True)), Sampler().batch(3), strict=True):
        np.testing.assert_array_equal(joined, whole)


def test_s21_checkpoint_is_confirmed_before_it_is_assigned(tmp_path):
    """S-21: a process that sees another step than the others must not assign."""
    variable = keras.Variable(1.0)
    checkpoints.save(tmp_path, 7, {"a": [variable]})
    variable.assign(2.0)

    def refuse(step):
        raise InputError(f"step {step}")

    with pytest.raises(InputError, match="step 7"):
        checkpoints.restore(tmp_path, {"a": [variable]}, refuse)
    assert float(variable.value) == 2.0
    with pytest.raises(InputError, match="step 0"):
        checkpoints.restore(tmp_path / "none", {"a": [variable]}, refuse)
