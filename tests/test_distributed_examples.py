"""The examples of training on several hosts (S-21), whose commands run with processes in the place of nodes."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from tfmisr import config, fit
from tfmisr.training import process_flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLURM, KUBERNETES = ROOT / "examples" / "slurm" / "fit.sbatch", ROOT / "examples" / "kubernetes" / "fit.yaml"
TINY = ["--dataset", "chest_phantom", "--preset", "fast_x2", "--model", "resnet6/num_filters=4,num_blocks=1"]
TINY += ["--steps", "2", "--patch_size", "8", "--batch_size", "4", "--save_every", "2", "--validate_every", "2"]
# Two tasks in the place of two nodes; Slurm gives each its variables.
SRUN = f"""#!{sys.executable}
import os, subprocess, sys
assert sys.argv[1] == "--kill-on-bad-exit=1", sys.argv
step = {{"SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}}
step["SLURM_JOB_ID"] = str(os.getpid())
tasks = [
    subprocess.Popen([sys.executable, *sys.argv[3:]], env={{**os.environ, **step, "SLURM_PROCID": str(i)}})
    for i in range(2)
]
sys.exit(max(task.wait() for task in tasks))
"""


def pod_command() -> list[str]:
    return json.loads(re.search(r"^ *command: (\[.*\])$", KUBERNETES.read_text(), re.MULTILINE)[1])


def test_s21_commands_of_the_examples_are_those_that_there_are():
    """S-21: flags and values are valid, and the number of processes is that of the pods."""
    text = KUBERNETES.read_text()
    line = re.search(r"^# +sbatch .* examples/slurm/fit.sbatch (.*)$", SLURM.read_text(), re.MULTILINE)[1]
    commands = [pod_command(), ["python", "-m", "tfmisr.fit", "--distribute", "data_parallel", *line.split()]]
    found = []
    for program, _, module, *flags in commands:
        assert (program, module) == ("python", "tfmisr.fit")
        arguments = fit._parser().parse_args(flags)
        given = process_flags.take(arguments)
        run = config.parse(arguments)
        assert run.distribute == "data_parallel" and run.workdir
        found.append(process_flags.processes(given, run.distribute, {"JOB_COMPLETION_INDEX": "1"}))
    assert (found[0].coordinator, found[0].count, found[0].index) == ("tfmisr-fit-0.tfmisr-fit:29500", 2, 1)
    assert re.findall(r"(?:completions|parallelism): (\d+)", text) == ["2", "2"]
    assert "subdomain: tfmisr-fit\n" in text and "port: 29500" in text
    assert "python -m tfmisr.fit --distribute data_parallel" in SLURM.read_text()


@pytest.mark.large
def test_s21_examples_run_with_two_processes(tmp_path, phantoms):
    """S-21: the Slurm script through a stand-in for srun, and the pods' command with an index each."""
    pytest.importorskip("jax", reason="JAX is not installed")
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    flags = [*TINY, "--data_dir", phantoms, "--workdir"]
    started = [subprocess.Popen(["bash", str(SLURM), *flags, str(tmp_path / "slurm")], env=environment, cwd=ROOT)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [text.replace("tfmisr-fit-0.tfmisr-fit:29500", address) for text in pod_command()[1:]]
    command = command[: command.index("--preset")]
    for index in range(2):
        pod = {**environment, "KERAS_BACKEND": "jax", "JOB_COMPLETION_INDEX": str(index)}
        started.append(subprocess.Popen([sys.executable, *command, *flags, str(tmp_path / "pods")], env=pod, cwd=ROOT))
    assert [process.wait(timeout=900) for process in started] == [0, 0, 0]
    for name in ("slurm", "pods"):
        recorded = json.loads((tmp_path / name / "environment.json").read_text())
        assert recorded["processes"] == 2 and (tmp_path / name / "evaluation" / "metrics.json").is_file()
