"""Signed configurations of the gateway (issue 17): no unsigned file is parsed, no unsigned model is loaded."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
from gateway_helpers import Archive, configuration, image, running, wait_for

from tfmisr.edge import card, shipped
from tfmisr.edge.errors import InputError
from tfmisr.gateway import validation, work
from tfmisr.gateway.__main__ import main

pytest.importorskip("cryptography", reason="needs the extra [sign]")
RULE = '[[rules]]\nsend = "original and result"\nmodel = "{}"\n{}destinations = ["archive"]\n'


def write_keys(folder: pathlib.Path, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Makes a key pair with OpenSSL, the independent implementation."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    private.chmod(0o600)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def sign(path: pathlib.Path, private: pathlib.Path) -> None:
    target = path.with_name(path.name + ".sig")
    command = ["openssl", "pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", path, "-out", target]
    subprocess.run(command, check=True)


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "key")


def written(tmp_path, text: str) -> pathlib.Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_signed_configuration_is_accepted_and_a_changed_one_is_not_parsed(tmp_path, keys, capsys):
    rule = RULE.format("bicubic", "scale = 2\n")
    path = written(tmp_path, configuration({"archive": 1}, rules=rule))
    command = ["check", str(path), "--require_signature", str(keys[1])]
    with pytest.raises(InputError, match="gateway.toml is not signed"):
        main(command)
    sign(path, keys[0])
    assert main(command) == 0
    assert f"signed with the key {keys[1]}" in capsys.readouterr().out
    path.write_text("[node\n", encoding="utf-8")  # no TOML: a parser would say so
    with pytest.raises(InputError, match="was changed, or signed with another key"):
        main(command)
    path.unlink()
    with pytest.raises(InputError, match="found none at"):
        main(command)


def test_another_key_is_refused_with_status_2_before_anything_is_made(tmp_path, keys):
    path = written(tmp_path, configuration({"archive": 1}))
    sign(path, write_keys(tmp_path, "other")[0])
    command = [sys.executable, "-m", "tfmisr.gateway", "run", path, "--require_signature", keys[1]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "signed with another key" in done.stderr
    assert not (tmp_path / "spool").exists()


def test_the_models_that_a_configuration_names_must_be_signed(tmp_path, keys, monkeypatch):
    model = pathlib.Path(shutil.copy(shipped.path("fast-x2"), tmp_path / "m.tflite"))
    text = configuration({"archive": 1}, rules=RULE.format("m.tflite", ""))
    line = text.splitlines().index('model = "m.tflite"') + 1
    path = written(tmp_path, text)
    sign(path, keys[0])
    with monkeypatch.context() as patch:
        patch.setattr(validation.card, "read", None)  # a call would raise TypeError
        with pytest.raises(InputError, match=rf"line {line}: .*m.tflite is not signed"):
            validation.read(path, keys[1])
    sign(model, keys[0])
    settings = validation.read(path, keys[1])
    assert (settings.rules[0].model, settings.signed_by) == (str(model), keys[1])
    assert validation.read(path).signed_by is None
    payload = {"model": str(model), "scale": 0, "threads": 1, "key": str(keys[1])}
    assert len(work.load(payload)["sha256"]) == 64
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(InputError, match=rf"line {line}: .*was changed"):
        validation.read(path, keys[1])


@pytest.mark.parametrize("name, message", [("fast-x2", "is not signed"), ("m.keras", "needs a .tflite file")])
def test_shipped_models_are_no_exception_and_other_kinds_are_refused(tmp_path, keys, name, message):
    (tmp_path / "m.keras").touch()
    path = written(tmp_path, configuration({"archive": 1}, rules=RULE.format(name, "")))
    sign(path, keys[0])
    with pytest.raises(InputError, match=message):
        validation.read(path, keys[1])


@pytest.mark.large
def test_g11_a_model_that_changes_while_the_node_runs_is_not_loaded(tmp_path, keys):
    """Its process is killed after the model was replaced: the next one refuses it, and originals go on."""
    model = tmp_path / "m.tflite"
    described = card.read(shipped.path("fast-x2")) | {"applicability": None}  # the images are no radiographs
    model.write_bytes(card.replace(shipped.path("fast-x2").read_bytes(), described))
    sign(model, keys[0])
    archive = Archive()
    more = "[processing]\nretry_seconds = 0.05\n"
    text = configuration({"archive": archive.port}, rules=RULE.format("m.tflite", ""), more=more)
    sign(written(tmp_path, text), keys[0])
    with running(tmp_path, text, "--require_signature", str(keys[1])) as node:
        assert node.send(image(tmp_path, 1)) == [0x0000]
        archive.wait(2)
        model.write_bytes(card.replace(model.read_bytes(), described | {"version": "9"}))
        (child,) = children(node.process.pid)
        os.kill(int(child), signal.SIGKILL)
        assert node.send(image(tmp_path, 2)) == [0x0000]
        archive.wait(3)
        wait_for(lambda: "m.tflite was changed" in node.command("quarantine", "list"), "the quarantine")
        assert len(archive.uids()) == 3
    archive.close()


def children(process: int) -> list[str]:
    tasks = pathlib.Path(f"/proc/{process}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
