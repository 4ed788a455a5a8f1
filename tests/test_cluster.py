"""`tfmisr.cluster`: isolated processes, retries and quarantine, addresses, TLS (S-01, S-05, S-06, S-09)."""

import collections
import math
import os
import pathlib
import subprocess
import sys
import time

import pytest

from tfmisr import cli, cluster
from tfmisr.cluster import addresses, isolation, runner, security
from tfmisr.cluster.connection import Options
from tfmisr.edge.errors import InputError

FUNCTION = "cluster_functions:attempt"
POISONS = {13: "crash", 57: "exit", 90: "hang", 140: "memory"}
REASONS = {13: "by SIGKILL", 57: "with exit status 3", 90: "time-out of 2 s", 140: "more memory than --memory_limit"}


def tries_in(folder) -> collections.Counter:
    return collections.Counter(path.name.partition("-")[0] for path in folder.iterdir())


def jobs(folder, poisons, count=200):
    for i in range(count):
        yield str(i), {"name": str(i), "number": i, "folder": str(folder), "do": poisons.get(i)}


@pytest.mark.parametrize("address,poisons", [("", POISONS), ("local:2", {13: "crash"})])
def test_s05_poison_among_200_costs_its_own_retries_and_nothing_else(tmp_path, address, poisons):
    if address:
        pytest.importorskip("distributed")
    options = Options(processes=2, memory_limit=2 * 10**8)
    with cluster.connect(address, options) as client:
        outcomes = {o.key: o for o in cluster.run(client, FUNCTION, jobs(tmp_path, poisons), retries=2, timeout=2)}
    assert outcomes.keys() == {str(i) for i in range(200)}
    bad = {int(key): outcome for key, outcome in outcomes.items() if outcome.error}
    assert bad.keys() == poisons.keys()
    for number, outcome in bad.items():
        assert REASONS[number] in outcome.error
        assert (outcome.tries, outcome.quarantined, outcome.value) == (3, True, None)
    assert all(outcomes[str(i)].value == [str(i), i] for i in set(range(200)) - set(poisons))
    assert tries_in(tmp_path) == {str(i): 3 if i in poisons else 1 for i in range(200)}


def test_starting_a_process_on_a_busy_machine_is_no_time_of_its_input(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(1)\nwork = time.sleep\n")
    monkeypatch.syspath_prepend(tmp_path)
    with cluster.connect("", Options(processes=1)) as client:
        work = [("short", 0), ("long", 5)]
        outcomes = {o.key: o for o in cluster.run(client, "slow_to_import:work", work, retries=0, timeout=0.5)}
    assert outcomes["short"].error is None
    assert outcomes["long"].error == "took longer than the time-out of 0.5 s"


def test_a_process_that_does_not_start_is_ended(tmp_path, monkeypatch):
    (tmp_path / "never_imported.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(isolation, "STARTING_SECONDS", 0.3)
    with cluster.connect("", Options(processes=1)) as client:
        (outcome,) = cluster.run(client, "never_imported:work", [("", 0)], retries=0, timeout=0.2)
    assert outcome.error == "its process did not start within 0.3 s"


def test_s05_last_try_is_alone(tmp_path):
    others = {"name": "slow", "folder": str(tmp_path), "seconds": 0.3}
    work = [("bad", {"name": "bad", "folder": str(tmp_path), "do": "exit"}), *((f"{i}", others) for i in range(4))]
    with cluster.connect("", Options(processes=2)) as client:
        order = [outcome.key for outcome in cluster.run(client, FUNCTION, work, retries=1)]
    assert order[-1] == "bad"  # after all others have ended
    assert max(tmp_path.iterdir(), key=lambda path: int(path.name.split("-")[1])).name.startswith("bad")


def test_refused_input_is_not_tried_again_and_texts_of_bugs_are_not_repeated(tmp_path):
    work = [(do, {"name": do, "folder": str(tmp_path), "do": do}) for do in ("refuse", "bug")]
    with cluster.connect("", Options()) as client:
        outcomes = {o.key: o for o in cluster.run(client, FUNCTION, work, retries=1)}
    refused, bug = outcomes["refuse"], outcomes["bug"]
    assert (refused.error, refused.tries, refused.quarantined) == ("expected something else", 1, False)
    assert (bug.error, bug.tries, bug.quarantined) == ("failed with KeyError", 2, True)  # not the patient's name


def test_numbers_survive_and_processes_end_with_the_run():
    with cluster.connect("", Options(processes=2)) as client:
        numbers = [0.1, -1e-320, math.inf, 2**60, None, True]
        found = list(
            cluster.run(client, FUNCTION, [(str(i), {"name": "n", "number": n}) for i, n in enumerate(numbers)])
        )
        children = {child._process for child in isolation._children}
    assert sorted((o.key, o.value[1]) for o in found) == [(str(i), number) for i, number in enumerate(numbers)]
    assert children and all(process.poll() is not None for process in children)


def test_stopping_early_ends_what_is_under_way():
    start = time.monotonic()
    work = [("fast", {"name": "fast"}), *((str(i), {"name": "x", "seconds": 30}) for i in range(3))]
    with cluster.connect("", Options(processes=2)) as client:
        assert next(cluster.run(client, FUNCTION, work)).key == "fast"
    assert time.monotonic() - start < 20


def test_a_full_disk_stops_the_run(monkeypatch):
    class Full:
        def __init__(self):
            self.running = []

        def window(self):
            return 1

        def submit(self, *_):
            import concurrent.futures

            future = concurrent.futures.Future()
            future.set_result(None)
            return future

        def replies(self, futures):
            return [{"error": "No space left on device", "final": False, "errno": 28}] * len(futures)

        def cancel(self, futures):
            self.running = futures

    with pytest.raises(OSError, match="No space left") as error:
        list(runner.run(Full(), FUNCTION, [("a", 1), ("b", 2)]))
    assert error.value.errno == 28


def test_child_ends_with_its_parent(tmp_path):
    code = (
        "import os, threading, time; from tfmisr.cluster import isolation as i\n"
        "child = i.Child(); print(child._process.pid, flush=True)\n"
        "threading.Thread(target=child.call, args=('time:sleep', '30', i.Limits()), daemon=True).start()\n"
        "time.sleep(1); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    process = int(done.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(process):
        time.sleep(0.05)
    assert not _runs(process)


def _runs(process):
    try:
        return "Z" not in pathlib.Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    "address", ["tcp://", "http://x:1", "local:0", "local:", "local:two", "slurm:", "10.0.0.1:8786", "ssh:x"]
)
def test_wrong_address_is_reported_with_all_forms(address):
    with pytest.raises(InputError, match="tcp://HOST:PORT, tls://HOST:PORT, local:N, slurm:FILE or kubernetes:FILE"):
        addresses.check(address)


def test_unreachable_scheduler_is_reported_within_seconds():
    pytest.importorskip("distributed")
    start = time.monotonic()
    with pytest.raises(InputError, match="no Dask scheduler answers at tcp://127.0.0.1:9 within 1 s"):
        with cluster.connect("tcp://127.0.0.1:9", Options(seconds=1)):
            pass
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    "kind,text,message",
    [
        ("slurm", "jobqueue: {pbs: {}}", "expected the keys jobqueue: slurm:"),
        ("slurm", "jobqueue: {slurm: {cores: 1, memory: 2GB}}", "needs dask-jobqueue"),
        ("slurm", "- a\n- b", "expected a YAML mapping, found list"),
        ("slurm", "a: [", "not readable as YAML"),
        ("kubernetes", "kind: Pod", "expected a resource of kind DaskCluster"),
        ("kubernetes", "kind: DaskCluster", "needs dask-kubernetes"),
    ],
)
def test_files_of_launchers(tmp_path, monkeypatch, kind, text, message):
    pytest.importorskip("distributed")
    if "needs" in message:
        for name in ("dask_jobqueue", "dask_kubernetes"):
            monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    (tmp_path / "file.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        with cluster.connect(f"{kind}:{tmp_path / 'file.yaml'}"):
            pass
    with pytest.raises(InputError, match="found no file"):
        addresses.check(f"{kind}:{tmp_path / 'other.yaml'}")


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'tfmisr\[cluster\]'"):
        with cluster.connect("local:1"):
            pass


def test_help_imports_no_dask():
    code = "import sys; from tfmisr import upscale; upscale._parser().format_help(); print('dask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    "address,warned",
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://127.8.8.8:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://localhost.evil.org:8786", True),
        ("tcp://10.0.0.7:8786", True),
        ("tcp://scheduler:8786", True),
        ("tls://scheduler:8786", False),
    ],
)
def test_s09_warning_without_tls_beyond_loopback(address, warned):
    assert bool(security.warning(address)) == warned


@pytest.mark.parametrize(
    "address,given,message",
    [
        ("tls://h:1", (), "tls://h:1 needs --tls_ca"),
        ("tls://h:1", ("tls_ca", "tls_key"), "--tls_cert is missing"),
        ("tls://h:1", ("tls_ca", "tls_cert", "absent"), "--tls_key: expected a PEM file"),
        ("tcp://h:1", ("tls_ca", "tls_cert", "tls_key"), "certificates are for tls://"),
        ("kubernetes:f", ("tls_ca", "tls_cert", "tls_key"), "part of its FILE"),
    ],
)
def test_s09_wrong_certificates(tmp_path, address, given, message):
    (tmp_path / "pem").touch()
    files = {name: str(tmp_path / "pem") for name in given if name != "absent"}
    if "absent" in given:
        files["tls_key"] = str(tmp_path / "absent")
    with pytest.raises(InputError, match=message):
        security.check(address, Options(**files))


def test_s09_tls_between_client_scheduler_and_workers(tmp_path):
    distributed = pytest.importorskip("distributed")
    _certificate(tmp_path)
    options = Options(tls_ca=f"{tmp_path}/cert.pem", tls_cert=f"{tmp_path}/cert.pem", tls_key=f"{tmp_path}/key.pem")
    with cluster.connect("local:1", options) as client:
        (found,) = cluster.run(client, FUNCTION, [("a", {"name": "a", "number": 1})])
        address = client._client.scheduler.address
        workers = list(client._client.scheduler_info()["workers"])
        with pytest.raises((OSError, TypeError), match="TLS"):
            distributed.Client(address, timeout=2, set_as_default=False)  # without a certificate
    assert found.value == ["a", 1]
    assert all(name.startswith("tls://127.0.0.1") for name in (address, *workers))


def _certificate(folder):
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    if subprocess.run([*command.split(), *files], capture_output=True).returncode:
        pytest.skip("needs openssl to make a certificate")


def test_s09_dask_sees_neither_keys_nor_objects(tmp_path):
    pytest.importorskip("distributed")
    seen = []
    with cluster.connect("local:1") as client:
        submit = client._client.submit
        client._client.submit = lambda *a, **k: (seen.append((a, k)), submit(*a, **k))[1]
        list(cluster.run(client, FUNCTION, [("Doe^John/1.dcm", {"name": "a"})]))
        list(cluster.run(client, FUNCTION, [("Doe^John/1.dcm", {"name": "a"})]))
    keys = [k["key"] for _, k in seen]
    assert len(set(keys)) == 2  # a digest with a secret: the same name has another key in each run
    for (function, *arguments), key in zip([a for a, _ in seen], keys, strict=True):
        assert key.startswith("attempt-") and "Doe" not in key
        assert function is isolation.work
        assert all(isinstance(argument, str | float | int | None) for argument in arguments)


def flags(*arguments):
    parser = cli.Parser()
    parser.add_argument("--processes", type=int, default=1)
    cluster.add_flags(parser, "upscaled")
    return cluster.options(parser.parse_args(arguments))


@pytest.mark.parametrize(
    "text,size", [("2GB", 2 * 10**9), ("1.5 gib", 3 * 2**29), ("300M", 3 * 10**8), ("200000000", 2 * 10**8)]
)
def test_s06_memory_limit_is_a_size(text, size):
    assert flags("--memory_limit", text).memory_limit == size


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("--memory_limit", "much"), "memory_limit must be a size"),
        (("--memory_limit", "2KB"), "at least 100MB"),
        (("--retries", "-1"), "retries must be at least 0"),
        (("--timeout", "0"), "timeout must be above 0"),
        (("--timeout", "nan"), "timeout must be above 0"),
        (("--cluster", "local"), "cluster must be"),
        (("--tls_ca", "x"), "go with --cluster"),
    ],
)
def test_wrong_flags(arguments, message):
    with pytest.raises(InputError, match=message):
        flags(*arguments)


def test_status_flag_reports_a_missing_ledger(tmp_path):
    with pytest.raises(InputError, match="expected the ledger of a run"):
        flags("--status", str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_process_can_start_a_cluster_twice():
    """Dask's defaults that were loaded in a configuration's block were gone after it: the second start failed."""
    code = (
        "from tfmisr import cluster\n"
        "if __name__ == '__main__':\n"
        "    for _ in range(2):\n"
        "        with cluster.connect('local:1', cluster.Options()) as client:\n"
        "            assert [o.value for o in cluster.run(client, 'operator:abs', [('a', -2)])] == [2]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1000:]
