"""A process for each trial: what it is asked, what kills it, and why it is said to have ended."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tfmisr.config.fields import Config
from tfmisr.tuning import results, space
from tfmisr.tuning.sweep import Sweep

BASE = Config(steps=10)


def script(text):
    """Returns the command of a process that does `text`, with `home` the trial's folder."""
    start = "import pathlib, sys, os, signal, time, json; home = pathlib.Path(sys.argv[1])\n"
    return [sys.executable, "-c", start + textwrap.dedent(text)]


@pytest.fixture
def runner(tmp_path):
    from tfmisr.tuning import runner

    sweep = Sweep(dataclasses.replace(BASE, workdir=str(tmp_path)), "grid", space={"num_filters": [4, 8]})
    for trial_id in ("0", "1"):
        folder = tmp_path / "oracle" / f"trial_{trial_id}"
        folder.mkdir(parents=True)
        (folder / "trial.json").write_text(json.dumps({"hyperparameters": {"values": {"num_filters": 8}}}))

    def made(text, **fields):
        own = dataclasses.replace(sweep, **fields)
        return runner.Runner(
            own, space.DeclaredSpace(own.space, own.base, "x"), lambda trial: None, command=script(text)
        )

    return made


@pytest.mark.parametrize(
    "text,reason",
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL, as the system does where memory runs out"),
        ("os.abort()", "killed by SIGABRT"),
        ("print('x'); sys.exit(3)", "exit status 3: x"),
        (
            "print('error: the loss became nan at step 4', file=sys.stderr); sys.exit(2)",
            "the loss became nan at step 4",
        ),
        ("raise MemoryError('of the GPU\\nand more')", "exit status 1: MemoryError: of the GPU"),
        (
            "print('tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:\\n\\n'"
            "'Detected at node cnn5/conv1 defined at (most recent call last):\\n  File \"x.py\", line 1, in f\\n\\n'"
            "'OOM when allocating tensor with shape[9,9] by allocator GPU_0\\n\\t [[{{node conv1}}]]'); sys.exit(1)",
            "exit status 1: ResourceExhaustedError: OOM when allocating tensor with shape[9,9] by allocator GPU_0",
        ),
        (
            "print('a.ResourceExhaustedError: Graph execution error:\\n\\n2 root error(s) found.\\n'"
            "'  (0) RESOURCE_EXHAUSTED: OOM when allocating\\n  (1) CANCELLED'); sys.exit(1)",
            "exit status 1: ResourceExhaustedError: (0) RESOURCE_EXHAUSTED: OOM when allocating",
        ),
        (
            "print('a.UnknownError: Graph execution error:'); sys.exit(1)",
            "exit status 1: UnknownError: Graph execution error:",
        ),
        ("sys.exit(0)", "exit status 0: no output"),
    ],
)
def test_what_kills_a_trial_is_its_result_and_nothing_else(runner, tmp_path, text, reason):
    found = runner(text).run("0")
    assert (found["status"], found["reason"]) == ("failed", reason)
    assert found["values"] == {"num_filters": 8} and results.read(tmp_path, "0") == found


@pytest.mark.parametrize("epochs,until", [(1, 3), (11, 33), (33, 100)])
def test_longest_trial_of_hyperband_goes_to_the_end_of_the_run(runner, tmp_path, epochs, until):
    # A third of a third of 100 steps is no whole number: 33 times 3 would leave the last step out, and no network.
    values = {"num_filters": 8, "tuner/epochs": epochs}
    (tmp_path / "oracle/trial_0/trial.json").write_text(json.dumps({"hyperparameters": {"values": values}}))
    base = dataclasses.replace(BASE, workdir=str(tmp_path), steps=100)
    runner("sys.exit(1)", base=base, tuner="hyperband").run("0")
    assert json.loads((tmp_path / "trials/0/trial.json").read_text())["until"] == until


def test_trial_is_run_once_and_knows_its_run(runner, tmp_path):
    done = """
        asked = json.loads((home / "trial.json").read_text())
        (home / "found.json").write_text(json.dumps({"status": "completed", "reason": None, "asked": asked}))
    """
    found = runner(done, max_params=7).run("0")
    assert found["status"] == "completed"
    assert found["asked"]["config"]["model"] == "cnn5/num_filters=8" and found["asked"]["max_params"] == 7
    assert found["asked"]["config"]["workdir"] == str(tmp_path / "trials" / "0")
    assert runner("sys.exit(1)").run("0") == found


def test_reason_is_that_of_the_last_attempt(runner, tmp_path):
    first = runner("print('error: the first', file=sys.stderr); sys.exit(2)")
    assert first.run("0")["reason"] == "the first"
    results.remove(tmp_path, "0")
    assert runner("sys.exit(5)").run("0")["reason"] == "exit status 5: no output"


def test_trial_that_takes_too_long_has_failed(runner):
    found = runner("time.sleep(60)", trial_hours=1 / 3600).run("0")
    assert found["reason"].startswith("it took longer than 0.000277778 hours")


def test_trial_that_another_has_taken_is_left_to_it(runner, tmp_path):
    from tfmisr.tuning.runner import TrialReassigned

    with pytest.raises(TrialReassigned, match="trial 0 is run by somebody"):
        runner("(home / 'claim').write_text('somebody'); time.sleep(60)").run("0")
    assert results.read(tmp_path, "0") is None


def test_interrupt_ends_the_trial_and_leaves_no_result(runner, tmp_path, monkeypatch):
    mine = runner("(home / 'pid').write_text(str(os.getpid())); time.sleep(60)")
    monkeypatch.setattr(
        mine, "tick", lambda home: os.kill(os.getpid(), signal.SIGINT) if (home / "pid").exists() else 0
    )
    with pytest.raises(KeyboardInterrupt):
        mine.run("0")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "trials" / "0" / "pid").read_text()), 0)
    assert results.read(tmp_path, "0") is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked at in Linux's /proc")
def test_process_of_a_trial_dies_with_what_started_it(tmp_path):
    code = """
        import subprocess
        from tfmisr.tuning import processes
        child = "import time; from tfmisr.tuning import processes; processes.die_with_parent(); time.sleep(60)"
        print(processes.start([sys.executable, "-c", child], stdout=subprocess.DEVNULL).pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([*script(code), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while is_alive(child):
        assert time.monotonic() < deadline, "the trial outlived its sweep"
        time.sleep(0.1)


def is_alive(pid) -> bool:
    """Tells whether a process runs; one that has ended and whom nobody has asked yet does not."""
    try:
        return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
