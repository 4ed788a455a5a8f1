"""Monitoring, commands and demonstration of the gateway; no line names a patient."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from gateway_helpers import BICUBIC, Archive, configuration, image, running, uid_of, wait_for

from tfmisr.edge.errors import InputError
from tfmisr.gateway import demonstration
from tfmisr.gateway.__main__ import main


def get(node, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.http}/{page}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def value(metrics: str, name: str) -> float:
    return float(re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.MULTILINE)[1])


def test_g17_monitoring_counts_and_names_no_patient(tmp_path):
    archive = Archive()
    path = image(tmp_path, 1)
    rule = BICUBIC.format('"archive"')
    network = rule.replace("bicubic", "fast-x2").replace("scale = 2\n", "").replace("CR", "MG")  # loaded, not used
    with running(tmp_path, configuration({"archive": archive.port}, rules=rule + network)) as node:
        assert get(node, "healthz") == (200, "ok\n")
        assert get(node, "other")[0] == 404
        assert node.send(path, path, image(tmp_path, 2, Modality="DX")) == [0x0000, 0x0000, 0x0124]
        archive.wait(2)
        wait_for(lambda: get(node, "readyz")[0] == 200, "the readiness")
        conditions = json.loads(get(node, "readyz")[1])
        assert set(conditions) == {
            "queue_writable",
            "disk_has_space",
            "models_loaded",
            "senders_alive",
            "destinations_known",
        }
        name = 'tfmisr_gateway_sent_total{destination="archive",kind="%s"}'
        wait_for(lambda: name % "result" in get(node, "metrics")[1], "the count")
        metrics = get(node, "metrics")[1]
        assert value(metrics, 'tfmisr_gateway_received_total{status="0000"}') == 2
        assert value(metrics, 'tfmisr_gateway_received_total{status="0124"}') == 1
        assert value(metrics, name % "original") == value(metrics, name % "result") == 1
        assert value(metrics, 'tfmisr_gateway_latency_seconds_count{kind="result"}') == 1
        assert value(metrics, "tfmisr_gateway_oldest_unsent_seconds") == 0
        assert value(metrics, "tfmisr_gateway_disk_free_bytes") > 0
        assert re.search(r'tfmisr_gateway_model_info\{model="fast-x2",sha256="[0-9a-f]{64}"\} 1.0', metrics)
        trail = node.command("audit")
        events = sorted(line.split("\t")[2] for line in trail.splitlines())
        assert events == ["duplicate", "processed", "received", "sent original", "sent result"]
        status = node.command("status")
        for text in (metrics, node.text(), trail, status, node.command("quarantine", "list")):
            assert not re.search(r"Phantom|PHANTOM|" + re.escape(uid_of(path)), text)
        assert "archive: sent 2, waiting 0, quarantined 0" in status
    archive.close()


@pytest.mark.large
def test_g17_g21_echo_while_a_model_cannot_be_loaded(tmp_path):
    """The node answers and takes objects, and says that it is not ready."""
    (tmp_path / "broken.npz").write_bytes(b"no model")
    rule = BICUBIC.format('"archive"').replace("bicubic", "broken.npz").replace("scale = 2\n", "")
    archive = Archive()
    with running(tmp_path, configuration({"archive": archive.port}, rules=rule)) as node:
        association = node.associate()
        assert association.send_c_echo().Status == 0x0000
        association.release()
        status, text = get(node, "readyz")
        assert status == 503
        assert json.loads(text)["models_loaded"] is False
        path = image(tmp_path, 1)
        assert node.send(path) == [0x0000]
        assert archive.wait(1) == [uid_of(path)]
        wait_for(lambda: "broken.npz not loaded" in node.text(), "the message")
    archive.close()


def test_mistakes_on_the_command_line(tmp_path, capsys):
    config = tmp_path / "gateway.toml"
    config.write_text(configuration({"archive": 9}), encoding="utf-8")
    with pytest.raises(InputError, match="the gateway was never started"):
        main(["status", str(config)])
    with pytest.raises(InputError, match="expected a configuration"):
        main(["check", str(tmp_path / "none.toml")])
    assert main(["conformance"]) == 0
    assert "DICOM conformance statement" in capsys.readouterr().out


def test_g19_a_wrong_configuration_ends_with_status_2_and_one_line(tmp_path):
    config = tmp_path / "gateway.toml"
    config.write_text(configuration({"archive": 9}).replace('"NODE"', '"A TITLE OF 17 CHA"'), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "tfmisr.gateway", "run", str(config)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert re.fullmatch(r"error: \S+gateway\.toml, line 2: expected an AE title .*\n", ended.stderr)


def test_help_works_without_the_extra():
    code = "import sys; sys.modules['pynetdicom'] = sys.modules['prometheus_client'] = None\n"
    code += "from tfmisr.gateway.__main__ import main\n"
    ended = subprocess.run(
        [sys.executable, "-c", code + "main(['--help'])"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert "conformance" in ended.stdout
    ended = subprocess.run(
        [sys.executable, "-c", code + "main(['conformance'])"], capture_output=True, text=True, check=False
    )
    assert "Run: pip install 'tfmisr[gateway]'" in ended.stderr


@pytest.mark.large
def test_the_demonstration_is_complete(capsys):
    pytest.importorskip("scipy")
    assert demonstration.run(4, "fast-x2") == 0
    out = capsys.readouterr().out
    assert re.search(r"original in the archive, unchanged +4 ", out)
    assert re.search(r"result in the archive +4 ", out)
    assert out.endswith("complete\n")
    with pytest.raises(InputError, match="expected at least one image"):
        demonstration.run(0, "fast-x2")
