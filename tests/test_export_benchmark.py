"""The benchmark runs with the base install, and its numbers mean what they say."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_network import tiny_network, write_tflite
from trust_doubles import IN_SCOPE, Verdicts, calibrated

from tfmisr.edge.errors import InputError
from tfmisr.export import benchmark, benchmark_trust

CODE = """if True:
    import sys
    for name in ("tensorflow", "keras", "scipy", "tqdm", "pydicom", "tensorflow_datasets"):
        sys.modules[name] = None
    from tfmisr.export import benchmark
    sys.exit(benchmark.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tflite(tmp_path_factory.mktemp("files") / "tiny.tflite", tiny_network())


def test_it_runs_where_there_is_no_tensorflow(path, tmp_path):
    flags = ["--rounds", "2", "--json", tmp_path / "out.json"]
    done = subprocess.run([sys.executable, "-c", CODE, path, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())["models"]
    assert [row["threads"] for row in rows] == [1, 2]
    assert {"median", "p95", "threads", "delegate", "peak"} <= set(done.stdout.split())


def test_time_of_a_megapixel_counts_the_overlap(path):
    row = benchmark.measure([path], threads=[1], rounds=3)["models"][0]
    kept = 2 * (32 - 2 * row["overlap"])
    assert row["ms_per_megapixel"] == pytest.approx(row["window_ms"] * 1e6 / kept**2, rel=0.01)
    assert row["window_ms"] <= row["window_p95_ms"]


def test_all_files_take_turns(path, monkeypatch):
    order = []
    monkeypatch.setattr(benchmark, "_time_window", lambda model, lr: (order.append(model), (1.0, 2.0))[1])
    monkeypatch.setattr(benchmark, "peak_memory", lambda path: None)
    found = benchmark.measure([path, path], threads=[1], rounds=3)
    assert [order[0], order[1]] * 3 == order
    assert [row["window_ms"] for row in found["models"]] == [2.0, 2.0]
    assert "unknown" in benchmark.table(found)


def test_table_is_aligned_whatever_the_names_and_numbers():
    row = {"threads": 1, "delegate": "XNNPACK", "window": 128, "window_ms": 8.0, "window_p95_ms": 12345.6}
    row |= {"network_ms": 7.1, "ms_per_megapixel": 1234567.0, "peak_mib": None, "megabytes": 0.01}
    rows = [row | {"file": "a.tflite"}, row | {"file": "of-a-study-" * 5 + ".tflite", "peak_mib": 10.0, "threads": 16}]
    machine = {"processor": "x", "processors": 2, "load": 0.1, "celsius_before_and_after": [None]}
    lines = benchmark.table({"machine": machine, "method": "m", "models": rows}).splitlines()[3:]
    assert len({len(line) for line in lines}) == 1 and lines[0].split()[-1] == "size"
    end = lines[0].index("p95") + 3
    assert all(line[:end].endswith("12345.6 ms") for line in lines[1:])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from Linux's /proc")
def test_peak_memory_is_that_of_a_fresh_process_and_not_of_this_one(path):
    ballast = np.ones(2**26, np.float64)  # 512 MiB
    assert 0 < benchmark.peak_memory(path) < 100
    assert ballast[0] == 1


def test_mistakes_are_reported(path):
    with pytest.raises(InputError, match="rounds must be above 0"):
        benchmark.main([str(path), "--rounds", "0"])
    with pytest.raises(InputError, match="expected a .tflite file"):
        benchmark.main(["missing.tflite"])


def test_what_the_checks_add_is_one_table(path, tmp_path, monkeypatch, capsys):
    # T-53: every step takes a second here, so with all of them it is three times the base.
    seconds = iter(range(10**6))
    model = calibrated(tmp_path, monkeypatch)
    monkeypatch.setattr(benchmark_trust.Applicability, "of", lambda fields: Verdicts([IN_SCOPE]))
    monkeypatch.setattr(benchmark_trust.time, "perf_counter", lambda: float(next(seconds)))
    monkeypatch.setattr(benchmark, "peak_memory", lambda path: None)
    flags = ["--threads", "1", "--rounds", "2", "--trust", "--json", str(tmp_path / "out.json")]
    benchmark.main([str(model), *flags])
    (row,) = json.loads((tmp_path / "out.json").read_text())["trust"]
    found = [row[f"{step}_ms"] for step in benchmark_trust.STEPS]
    assert found == [1000, 1000, 2000, 3000] and row["ratio"] == 3.0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split()[-2:] == ["applicability", "ratio"] and lines[-1].split()[-1] == "3.00"
    monkeypatch.setattr(benchmark_trust.Applicability, "of", lambda fields: None)
    (row,) = benchmark_trust.measure([path], [1], 1, 60)
    assert row["uncertainty_ms"] is row["applicability_ms"] is None and row["ratio"] == 1.0
