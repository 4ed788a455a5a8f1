"""Whole sweeps in processes of their own: on one machine, on many, killed, interrupted, and what is left of them."""

import csv
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from shared import once
from test_fit import folder_of

from tfmisr.tuning import results

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHORT = ["--scale", "2", "--patch_size", "8", "--batch_size", "4", "--save_every", "3", "--validate_every", "3"]
pytestmark = pytest.mark.large


@pytest.fixture
def scans(tmp_path):
    """Returns the flags of a sweep of four trials on a folder of images."""
    return flags_of(tmp_path)


def flags_of(folder):
    folder_of(folder / "scans")
    space = {"num_filters": [4, 6], "learning_rate": [0.001, 0.003]}
    (folder / "space.json").write_text(json.dumps(space))
    flags = ["--dataset", str(folder / "scans"), "--data_dir", str(folder / "data"), "--tuner", "grid", "--steps", "6"]
    return [*flags, *SHORT, "--space", str(folder / "space.json")]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Returns the folder of that sweep, run to its end by one process."""
    whole = once(tmp_path_factory, "undisturbed", lambda folder: tune(flags_of(folder), folder / "sweep"))
    return whole / "sweep"


def environment(**more):
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": paths, **more}


def begin(flags, workdir, command=(sys.executable, "-m", "tfmisr.tune"), **more):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [*command, *flags, "--workdir", str(workdir)]
    return subprocess.Popen(command, env=environment(**more), start_new_session=True, **pipes)


def tune(flags, workdir):
    """Runs a sweep to its end and returns what it says."""
    process = begin(flags, workdir)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return said


def wait_for(happened, process, seconds=300):
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def scores(workdir):
    return {r["trial"]: (r["status"], r["values"], r["val_psnr"], r["val_ssim"]) for r in results.read_all(workdir)}


def made(workdir, pattern):
    return lambda: any(workdir.glob(pattern))


def test_minute_study_of_the_phantom_leaves_everything(tmp_path, phantoms):
    said = tune(["--parameter_study", "minute", "--data_dir", phantoms, "--export_best"], tmp_path / "sweep")
    assert re.search(r"best setting: num_filters=\d: val_psnr \d\d\.\d+, mean of 3 seeds \(trials \d, \d, \d\)", said)
    assert re.search(r"Bicubic interpolation of the same crops: \d\d\.\d+; ", said)
    assert re.search(r"^  num_filters 4 to 8 .* (yes|no)$", said, re.MULTILINE)
    left = {path.name for path in (tmp_path / "sweep").iterdir()}
    expected = {"study.csv", "report.md", "effects.png", "pareto.png", "best.json", "sweep.json"}
    assert expected <= left
    with open(tmp_path / "sweep" / "study.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["num_filters"], r["seed"]) for r in rows] == [(filters, seed) for seed in "012" for filters in "48"]
    assert all(r["status"] == "completed" and int(r["steps"]) == 20 and int(r["multiply_adds"]) > 0 for r in rows)
    report = (tmp_path / "sweep" / "report.md").read_text()
    assert "| significant |" in report and "| num_filters | 4 to 8 |" in report
    assert (tmp_path / "sweep" / "exported" / "best_float32.tflite").is_file()
    assert hparams_of(tmp_path / "sweep" / "trials" / "1") == {"num_filters": 8, "seed": 0}


def hparams_of(home):
    """Returns what TensorBoard's HParams reads in a trial's folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(home / "tensorboard"))
    events.Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    return {name: value.number_value for name, value in told.items()}


def test_best_run_is_repeated_by_fit_weight_for_weight(tmp_path, scans):
    tune([*scans, "--max_trials", "2", "--train_best", "4"], tmp_path / "sweep")
    assert json.loads((tmp_path / "sweep/best-4/config.json").read_text())["steps"] == 4
    assert (tmp_path / "sweep/best-4/evaluation/metrics.json").is_file()
    best = results.best(results.read_all(tmp_path / "sweep"), "val_psnr", "max")
    command = [sys.executable, "-m", "tfmisr.fit", "--config", tmp_path / "sweep" / "best.json"]
    subprocess.run([*command, "--workdir", tmp_path / "again"], env=environment(), check=True, capture_output=True)
    from tfmisr import models

    pairs = [
        models.load(path).get_weights() for path in (tmp_path / "again", tmp_path / "sweep/trials" / best["trial"])
    ]
    assert all((a == b).all() for a, b in zip(*pairs, strict=True))


def test_diverged_and_too_large_trials_cost_themselves_alone(tmp_path, scans):
    space = {"num_filters": [4, 16], "optimizer": ["sgd"], "learning_rate": [1e-3, 1e30]}
    (tmp_path / "space.json").write_text(json.dumps(space))
    said = tune([*scans, "--max_params", "6000", "--max_ms", "10000", "--tile", "32"], tmp_path / "sweep")
    found = {
        (r["values"]["num_filters"], r["values"]["learning_rate"]): r for r in results.read_all(tmp_path / "sweep")
    }
    assert found[4, 1e-3]["status"] == "completed" and found[4, 1e-3]["window_ms"] > 0
    assert found[4, 1e30]["status"] == "failed" and "nan" in found[4, 1e30]["reason"].lower()
    for rate in (1e-3, 1e30):
        assert found[16, rate]["reason"].startswith("over the limit: parameters ")
        assert not (tmp_path / "sweep/trials" / found[16, rate]["trial"] / "history.csv").exists()
    assert re.search(r"best setting: .* \(trial 0, one seed\)", said)


def test_hyperband_goes_on_with_its_best_from_their_checkpoints(tmp_path, scans):
    space = {"learning_rate": {"min": 1e-5, "max": 1e-2, "log": True}}
    (tmp_path / "space.json").write_text(json.dumps(space))
    flags = ["--tuner", "hyperband", "--min_steps", "3", "--factor", "2", "--max_trials", "6"]
    tune([*scans, *flags], tmp_path / "sweep")
    found = results.read_all(tmp_path / "sweep")
    assert {r["steps"] for r in found} == {3, 6}
    long = next(r for r in found if r["steps"] == 6 and "resuming from step 3" in log_of(tmp_path, r))
    assert "resuming from step 3 of 6" in log_of(tmp_path, long)


def log_of(tmp_path, result):
    return (tmp_path / "sweep/trials" / result["trial"] / "log.txt").read_text()


def test_ctrl_c_and_kill_lose_nothing_that_was_done(tmp_path, scans, undisturbed):
    workdir = tmp_path / "sweep"
    process = begin(scans, workdir)
    wait_for(made(workdir, "trials/0/checkpoints/*"), process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    assert "interrupted; start the same command again" in said
    process = begin(scans, workdir)
    wait_for(made(workdir, "trials/1/history.csv"), process)
    process.kill()
    process.communicate()
    first = (workdir / "trials/0/result.json").stat().st_mtime_ns
    said = tune(scans, workdir)
    assert "resuming after 1 trial," in said or "resuming after 2 trials" in said
    assert (workdir / "trials/0/result.json").stat().st_mtime_ns == first
    assert scores(workdir) == scores(undisturbed)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_slurm_example_loses_a_worker_and_a_chief_and_finds_what_one_machine_finds(tmp_path, scans, undisturbed):
    # A python of this environment, as a cluster's module or container gives it.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    wrapper = tmp_path / "bin" / "python"
    wrapper.unlink()
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    workdir = tmp_path / "sweep"
    shared = {"PATH": f"{wrapper.parent}:{os.environ['PATH']}", "MEETING": str(tmp_path / "meeting")}
    shared |= {"CHIEF_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": free_port(), "SLURM_ARRAY_JOB_ID": "7"}
    command = ["bash", str(ROOT / "examples" / "slurm" / "sweep.sbatch")]
    flags = [*scans, "--worker_timeout", "15"]

    def task(number):
        return begin(flags, workdir, command, SLURM_ARRAY_TASK_ID=str(number), **shared)

    chief, workers = task(0), [task(1), task(2)]
    wait_for(made(workdir, "trials/*/history.csv"), chief, 600)
    victim = (next(workdir.glob("trials/*/history.csv")).parent / "claim").read_text().split(":")[1]
    os.kill(int(victim), signal.SIGKILL)
    os.killpg(chief.pid, signal.SIGKILL)
    chief.communicate()
    chief = task(0)
    said, _ = chief.communicate(timeout=900)
    assert chief.returncode == 0, said
    ended = sorted(worker.wait(timeout=60) for worker in workers)
    for worker in workers:
        worker.communicate()
    assert ended[0] == 0 and ended[1] in (137, -9)
    assert scores(workdir) == scores(undisturbed)
    assert (workdir / "best.json").is_file() and (workdir / "report.md").is_file()


def test_kubernetes_example_runs(tmp_path, scans):
    text = (ROOT / "examples" / "kubernetes" / "sweep.yaml").read_text()
    commands = [json.loads(found) for found in re.findall(r"^ *command: (\[.*\])$", text, re.MULTILINE)]
    assert len(commands) == 2 and commands[0] == commands[1]
    program = [sys.executable, *commands[0][1:3]]
    names = re.findall(r"name: (KERASTUNER_\w+)", text)
    assert sorted(names) == sorted(2 * ["KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"])
    shared = {"KERASTUNER_ORACLE_PORT": free_port()}
    flags = [*scans, "--max_trials", "2"]
    chief = begin(
        flags, tmp_path / "sweep", program, KERASTUNER_TUNER_ID="chief", KERASTUNER_ORACLE_IP="0.0.0.0", **shared
    )
    shared["KERASTUNER_ORACLE_IP"] = "localhost"
    pods = [begin(flags, tmp_path / "sweep", program, KERASTUNER_TUNER_ID=str(index), **shared) for index in range(2)]
    for process in (*pods, chief):
        said, _ = process.communicate(timeout=900)
        assert process.returncode == 0, said
    assert [r["status"] for r in results.read_all(tmp_path / "sweep")] == ["completed"] * 2
