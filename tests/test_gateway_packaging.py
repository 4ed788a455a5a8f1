"""examples/gateway: the systemd unit, the container and the configuration that a device starts from."""

import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import pytest
from gateway_helpers import BICUBIC, Archive, configuration, image, running

from tfmisr.gateway import checking, validation

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "examples" / "gateway"
UNIT = FOLDER / "tfmisr-gateway.service"
STATE = "/var/lib/tfmisr-gateway"


def unit() -> dict[str, str]:
    lines = [line for line in UNIT.read_text(encoding="utf-8").splitlines() if "=" in line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile and their arguments; none is continued on another line."""
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and line[0] != "#"]


def argument(name: str) -> str:
    (found,) = (words for instruction, words in instructions() if instruction == name)
    return found


def test_g19_the_example_is_a_valid_configuration(tmp_path):
    text = (FOLDER / "gateway.toml").read_text(encoding="utf-8")
    assert f'spool = "{STATE}"' in text
    path = tmp_path / "gateway.toml"
    path.write_text(text.replace(STATE, str(tmp_path)), encoding="utf-8")
    lines = checking.report(validation.read(path))
    assert "GATEWAY listens on 0.0.0.0 port 11112" in lines[0]
    assert not [line for line in lines if line.startswith("warning: ") and "MB are free" not in line]


def test_the_unit_names_what_the_example_and_the_commands_have():
    found = unit()
    command = shlex.split(found["ExecStart"])
    assert command[1:4] == ["-m", "tfmisr.gateway", "run"]
    assert command[0] == json.loads(argument("ENTRYPOINT"))[0]
    assert command[4] == json.loads(argument("CMD"))[1]
    assert f"/var/lib/{found['StateDirectory']}" == STATE == argument("VOLUME")
    assert found["RestartPreventExitStatus"] == "2"  # of InputError
    for key, value in {"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict"}.items():
        assert found[key] == value


def test_systemd_accepts_the_unit(tmp_path):
    program = shutil.which("systemd-analyze")
    if not program:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/tfmisr/bin/python", sys.executable), encoding="utf-8")
    done = subprocess.run([program, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    copy.write_text(text, encoding="utf-8")  # a program that is missing is found, so the line above can fail
    done = subprocess.run([program, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "/opt/tfmisr/bin/python" in done.stderr


def test_the_health_check_follows_healthz(tmp_path):
    program, script, page = json.loads(argument("HEALTHCHECK").partition(" CMD ")[2])
    assert program == json.loads(argument("ENTRYPOINT"))[0]
    assert ("COPY", f"examples/gateway/healthcheck.py {script}") in instructions()
    assert page == "http://127.0.0.1:9100/healthz"
    assert "port = 9100" in (FOLDER / "gateway.toml").read_text(encoding="utf-8")
    archive = Archive()
    with running(tmp_path, configuration({"archive": archive.port})) as node:
        assert health(page.replace("9100", str(node.http))) == 0
        assert health(f"http://127.0.0.1:{node.http}/other") == 1
        node.kill()
        assert health(page.replace("9100", str(node.http))) == 1
    archive.close()


def health(page: str) -> int:
    return subprocess.run(
        [sys.executable, FOLDER / "healthcheck.py", page], capture_output=True, check=False
    ).returncode


# In a mount namespace of its own: all is read-only but one folder, as with ProtectSystem=strict or `docker run
# --read-only`, and there is no capability.
_CONFINED = """#!/bin/sh
exec unshare --mount sh -c 'mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro / &&
    exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"' {spool} {python} "$@"
"""


@pytest.mark.large
def test_the_node_writes_its_spool_and_nothing_else(tmp_path, monkeypatch):
    spool, program = tmp_path / "spool", tmp_path / "confined"
    spool.mkdir()
    program.write_text(_CONFINED.format(spool=spool, python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    code = f"import pathlib; pathlib.Path({str(spool / 'x')!r}).touch(); pathlib.Path({str(tmp_path / 'x')!r}).touch()"
    probe = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    if "Read-only file system" not in probe.stderr or not (spool / "x").exists():
        pytest.skip("needs unshare, setpriv and the rights to mount")
    (spool / "x").unlink()
    archive, path = Archive(), image(tmp_path, 1)
    monkeypatch.setattr(sys, "executable", str(program))
    with running(tmp_path, configuration({"archive": archive.port}, rules=BICUBIC.format('"archive"'))) as node:
        assert node.send(path) == [0x0000]
        archive.wait(2)
        assert node.stop() == 0
    archive.close()


@pytest.mark.large
def test_the_steps_of_the_container_without_docker(tmp_path):
    """Its RUN lines with other folders: the node is installed from a copy of the checkout, and its command runs."""
    source, target, state = tmp_path / "src", tmp_path / "opt", tmp_path / "state"
    root = FOLDER.parent.parent
    source.mkdir()
    for name in ("tfmisr", "datasets", "export", "examples"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    steps = [words for name, words in instructions() if name == "RUN"]
    assert len(steps) == 2
    for step in steps:
        step = step.replace("/src", str(source)).replace("/opt/tfmisr", str(target)).replace(STATE, str(state))
        owner = f"-o {os.getuid()} -g {os.getgid()}"
        step = re.sub(r"-o \d+ -g \d+", owner, step)
        done = subprocess.run(["sh", "-ec", step], cwd=tmp_path, capture_output=True, text=True, check=False)
        if "Temporary failure in name resolution" in done.stderr:
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, done.stderr
    text = (FOLDER / "gateway.toml").read_text(encoding="utf-8").replace(STATE, str(state))
    (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
    command = [word.replace("/opt/tfmisr", str(target)) for word in json.loads(argument("ENTRYPOINT"))]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [*command, "check", "gateway.toml"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("GATEWAY listens on 0.0.0.0 port 11112")


def wheel(folder: pathlib.Path, name: str, tag: str, *requires: str) -> pathlib.Path:
    """Writes a wheel with metadata alone (PEP 427)."""
    path = folder / f"{name}-1.0-py3-none-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    with zipfile.ZipFile(path, "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}Provides-Extra: gateway\n"
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-{tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.large
@pytest.mark.skipif(platform.machine() != "x86_64", reason="resolves for this machine, which must be x86-64")
def test_the_wheelhouse_names_what_has_no_wheel(tmp_path):
    """Of two packages one is for x86-64 alone."""
    index = tmp_path / "index"
    index.mkdir()
    own = wheel(tmp_path, "tfmisr", "any", "everywhere ; extra == 'gateway'", "here ; extra == 'gateway'")
    wheel(index, "everywhere", "any")
    wheel(index, "here", "manylinux2014_x86_64")
    environment = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, FOLDER / "wheelhouse.py", own, "--output", tmp_path / "out", "--extras", "gateway"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[1] == "x86_64: without a wheel: none"
    assert lines[3] == "aarch64: without a wheel: here==1.0"
    assert "No matching distribution found for here==1.0" in done.stderr
    names = {
        each.name: sorted(path.name.partition("-")[0] for path in each.iterdir())
        for each in (tmp_path / "out").iterdir()
    }
    assert names == {"x86_64": ["everywhere", "here", "tfmisr"], "aarch64": ["everywhere", "tfmisr"]}
