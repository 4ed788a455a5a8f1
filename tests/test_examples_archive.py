"""The examples for Slurm and Kubernetes that work on an archive, with processes in the place of nodes."""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys

import pytest
from synthetic import smooth_images

from tfmisr import evaluate, prepare, upscale
from tfmisr.edge import images

yaml = pytest.importorskip("yaml")
pytest.importorskip("distributed")

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLURM, KUBERNETES = ROOT / "examples" / "slurm" / "archive.sbatch", ROOT / "examples" / "kubernetes" / "archive.yaml"


@pytest.fixture
def folder(tmp_path):
    """Six images of six patients."""
    for number, pixels in enumerate(smooth_images(6, 64, 0)):
        path = tmp_path / "images" / f"patient{number}" / "a.png"
        path.parent.mkdir(parents=True)
        images.write_image(path, pixels, 255)
    return tmp_path / "images"


@contextlib.contextmanager
def started(command, **environment):
    """A process with those that it starts, all of which end with the block."""
    shared = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    process = subprocess.Popen(
        list(map(str, command)),
        env=shared,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def finished(process, seconds=120):
    said, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, said
    return said


def upscaled(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def certificates(folder):
    folder.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    return folder


def test_s11_slurm_array_upscales_an_archive_with_certificates(tmp_path, folder):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    shared = {"PATH": f"{python.parent}:{os.environ['PATH']}", "SCHEDULER_IP": "127.0.0.1", "SLURM_ARRAY_JOB_ID": "7"}
    shared |= {"SCHEDULER_FILE": str(tmp_path / "scheduler.json"), "TLS_DIR": str(certificates(tmp_path / "tls"))}
    command = ["bash", SLURM, "upscale", folder, "--model", "bicubic", "--scale", "2", "--output", tmp_path / "large"]
    with contextlib.ExitStack() as nodes:
        tasks = [nodes.enter_context(started(command, SLURM_ARRAY_TASK_ID=str(n), **shared)) for n in range(3)]
        finished(tasks[0])
        for worker in tasks[1:]:
            said = finished(worker)
            assert "tls://127.0.0.1" in said
    upscale.main([str(folder), "--model", "bicubic", "--scale", "2", "--output", str(tmp_path / "alone")])
    assert upscaled(tmp_path / "large") == upscaled(tmp_path / "alone") and len(upscaled(tmp_path / "large")) == 6
    assert not (tmp_path / "scheduler.json").exists()


def commands():
    """The commands of the Kubernetes example by the name of their container."""
    found = {}
    for resource in yaml.safe_load_all(KUBERNETES.read_text()):
        pod = resource["spec"].get("template", {}).get("spec", {})
        found |= {container["name"]: container["command"] for container in pod.get("containers", ())}
    return found


@pytest.mark.large
def test_s11_kubernetes_pods_upscale_and_score_a_folder(tmp_path, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def here(command):
        text = shlex.join(command).replace("tfmisr-dask:8786", f"127.0.0.1:{port}").replace("8786", port)
        return [sys.executable, *shlex.split(text.replace("/data/", f"{tmp_path}/"))[1:]]

    pods = commands()
    with contextlib.ExitStack() as nodes:
        nodes.enter_context(started([*here(pods["scheduler"]), "--host", "127.0.0.1"]))
        for _ in range(2):
            nodes.enter_context(started(here(pods["worker"])))
        finished(nodes.enter_context(started([*here(pods["upscale"]), "--force"])))  # these are no radiographs
        finished(nodes.enter_context(started(here(pods["evaluate"]))))
    assert len(upscaled(tmp_path / "large")) == 6
    scores = {path.name: path.read_bytes() for path in (tmp_path / "scores").iterdir()}
    flags = ["--dataset", str(folder), "--data_dir", str(tmp_path / "prepared"), "--output", str(tmp_path / "alone")]
    evaluate.main(["fast-x2", "lanczos", *flags])
    assert scores == {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()}


def test_s11_flags_of_the_examples_are_those_of_the_commands():
    parsers = {"upscale": upscale._parser(), "evaluate": evaluate._parser(), "prepare": prepare.parser()}
    shown = re.findall(r"^# +sbatch .* examples/slurm/archive.sbatch (\w+) (.*)$", SLURM.read_text(), re.MULTILINE)
    assert [name for name, _ in shown] == ["upscale", "evaluate", "prepare"]
    for name, flags in shown:
        parsers[name].parse_args(shlex.split(flags))
    pods = commands()
    assert list(pods) == ["scheduler", "worker", "upscale", "evaluate"]
    for name in ("upscale", "evaluate"):
        parsed = parsers[name].parse_args(pods[name][3:])
        assert parsed.cluster == "tcp://tfmisr-dask:8786" == pods["worker"][3]
