"""The soak of the gateway (G-20) in small: its arithmetic, and that it sees what is lost."""

import importlib.util
import pathlib
import subprocess
import sys

import gateway_helpers
import pytest

assert gateway_helpers  # skips these tests where the gateway is not installed
PATH = pathlib.Path(__file__).parent.parent / "benchmarks" / "gateway_soak.py"


@pytest.fixture(scope="module")
def soak():
    specification = importlib.util.spec_from_file_location("gateway_soak", PATH)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look it up
    specification.loader.exec_module(module)
    return module


def test_g20_slope_and_interval_by_hand(soak):
    """Points (0, 0), (1, 2), (2, 1): slope 0.5, residuals -0.5, 1, -0.5, so s = sqrt(1.5 / 1) and s / sqrt(2)."""
    pytest.importorskip("scipy")
    found, half = soak.slope([0, 1, 2], [0, 2, 1])
    assert found == pytest.approx(0.5)
    assert half == pytest.approx(12.7062 * (1.5 / 2) ** 0.5, rel=1e-4)  # t of one degree of freedom, 97.5 %


def test_g20_what_is_lost_repeated_or_changed_is_no_success(soak, capsys):
    class Archive:
        arrived = {"1": 1, "2": 1, "r1": 1, "r2": 1}
        digests = {"1": b"a", "2": b"b"}

    sent = {"1": b"a", "2": b"b"}
    assert soak._verdict(2, sent, Archive, True, 0) == 0
    assert soak._verdict(2, sent, Archive, True, 1) == 1
    assert soak._verdict(2, {**sent, "2": b"c"}, Archive, True, 0) == 1
    for arrived in ({"1": 1, "2": 1, "r1": 1}, {**Archive.arrived, "r2": 2}):
        Archive.arrived = arrived
        assert soak._verdict(2, sent, Archive, True, 0) == 1
    assert capsys.readouterr().out.count("NOT everything arrived exactly once") == 4


@pytest.mark.large
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_g20_sixty_images_arrive_once():
    pytest.importorskip("scipy")
    command = [sys.executable, str(PATH), "--images", "60", "--association", "5"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "acknowledged 60, arrived unchanged 60, results 60, came more than once 0, exit status 0" in ended.stdout
    assert "node, second half: " in ended.stdout
