"""Answers that leave with the database file, backups, rights of files, and bounds on connections."""

import http.client
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from reader_study_helpers import ROOT, Client, answer, build, process, read_all, served

from tfmisr.edge.errors import InputError
from tfmisr.reader_study import __main__ as command
from tfmisr.reader_study import frozen, verification
from tfmisr.reader_study.store import Store

pytest.importorskip("uvicorn")
from tfmisr.reader_study import connections

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither these rights nor SIGTERM")


@pytest.fixture
def study(tmp_path):
    return build(tmp_path)


def copied(folder, target, *left_out):
    """Copies a study as a person does, without some files."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*left_out))
    return frozen.Study(target)


def answered(study):
    with Store(study) as store:
        assert verification.integrity_errors(store) == []
        return [row["answered"] for row in store.progress()]


@posix
def test_database_file_alone_holds_every_answer_while_it_is_served_and_after_sigterm(study, tmp_path):
    with Store(study) as store:
        token = store.add_reader("anna")
    with process(study.folder) as (url, server):
        client = Client(url, token)
        for _ in range(3):
            state = client.get("/api/state")
            assert client.commit(state["trial"]["token"]) == 200
        assert answered(copied(study.folder, tmp_path / "copy", "*-wal", "*-shm")) == [3]
        Client.close_all()
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    assert not list(study.folder.glob("*-wal"))
    assert answered(study) == [3]


def test_copy_that_lacks_answers_is_refused(study, tmp_path, monkeypatch):
    """As where a process is killed between the end of a transaction and the copying of the WAL file."""
    with Store(study) as store:
        reader = store.reader_of(store.add_reader("anna"))
        trial = store.trials(reader)[0]
        with sqlite3.connect(study.folder / "study.db") as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM commits").fetchall()  # what is read cannot be overwritten
            store.commit(reader, trial.token, answer())
            lacking = copied(study.folder, tmp_path / "copy", "*-wal", "*-shm")
        other.close()
    with pytest.raises(InputError, match="answers are missing. study.db-wal was not copied with it"):
        Store(lacking)
    (tmp_path / "copy" / "study.head").unlink()
    assert answered(lacking) == [0]


def test_older_database_beside_a_newer_head_is_refused(study, tmp_path):
    with Store(study) as store:
        reader = store.reader_of(store.add_reader("anna"))
    shutil.copy(study.folder / "study.db", tmp_path / "older.db")
    with Store(study) as store:
        read_all(store, reader, until=2)
    shutil.copy(tmp_path / "older.db", study.folder / "study.db")
    with pytest.raises(InputError, match="answers are missing"):
        Store(study)


def test_full_disk_after_an_answer_is_stored_is_no_error(study, monkeypatch):
    from tfmisr.reader_study import database

    with Store(study) as store:
        reader = store.reader_of(store.add_reader("anna"))

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(database, "write_text", full)
            read_all(store, reader, until=1)
    assert answered(study) == [1]


@posix
def test_backup_of_a_study_that_is_served_is_a_study(study, tmp_path, capsys):
    with Store(study) as store:
        token = store.add_reader("anna")
        with served(store) as url:
            client = Client(url, token)
            assert client.commit(client.get("/api/state")["trial"]["token"]) == 200
            assert command.main(["backup", str(study.folder), str(tmp_path / "copy")]) == 0
            assert client.commit(client.get("/api/state")["trial"]["token"]) == 200
    assert "last hash" in capsys.readouterr().out
    assert answered(frozen.Study(tmp_path / "copy")) == [1] and answered(study) == [2]
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "copy" / "study.db").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="a backup is a new folder"):
        command.main(["backup", str(study.folder), str(tmp_path / "copy")])
    assert {path.name for path in tmp_path.iterdir()} == {"source", "study", "copy"}


@posix
def test_others_on_the_machine_cannot_read_a_study(study):
    assert study.folder.stat().st_mode & 0o777 == 0o700
    Store(study).database.close()
    os.chmod(study.folder / "study.db", 0o666)  # as an earlier release left it
    with Store(study) as store:
        store.add_reader("anna")
        modes = {path.name: path.stat().st_mode & 0o777 for path in study.folder.iterdir() if path.is_file()}
    assert modes["study.db"] == 0o660 and not any(mode & 0o007 for name, mode in modes.items() if "study.db" in name)
    assert modes["study.json"] == 0o600


def connect(url, count):
    host, port = url.removeprefix("http://").split(":")
    return [socket.create_connection((host, int(port)), timeout=5) for _ in range(count)]


def is_closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def phase(url, token):
    """Asks until the server has noticed that other connections were closed."""
    for _ in range(100):
        try:
            return Client(url, token).get("/api/state")["phase"]
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    return None


def test_half_open_requests_end_and_readers_get_through(study, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS_FOR_A_REQUEST", 0.4)
    with Store(study) as store:
        token = store.add_reader("anna")
        with served(store, connections.Listener(("127.0.0.1", 0), max_connections=5)) as url:
            idle = connect(url, 12)
            for connection in idle:
                connection.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            assert all(map(is_closed, idle))  # 7 at once, 5 after the time-out
            client = Client(url, token)
            trial = client.get("/api/state")["trial"]
            time.sleep(0.6)  # a reader who looks at an image keeps the connection
            assert client.commit(trial["token"]) == 200
            for connection in idle:
                connection.close()


def test_answers_are_not_delayed_by_nagles_algorithm(study):
    with Store(study) as store, connections.Listener(("127.0.0.1", 0)) as listener:
        with served(store, listener) as url:
            client = Client(url, store.add_reader("anna"))
            client.get("/api/state")
            ((accepted, _),) = listener._accepted
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@posix
def test_server_with_few_descriptors_stays_and_logs_little(study, tmp_path):
    with Store(study) as store:
        token = store.add_reader("anna")
    serve = f"{sys.executable} -m tfmisr.reader_study serve {study.folder} --port 0"
    with open(tmp_path / "log", "wb") as log:
        shell = ["bash", "-c", f"ulimit -n 80; exec {serve}"]
        server = subprocess.Popen(shell, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            url = server.stdout.readline().split(" at ")[1].split(";")[0]
            idle = connect(url, 200)
            assert sum(map(is_closed, idle[-100:])) == 100
            for connection in idle:
                connection.close()
            assert phase(url, token) == "reading"
        finally:
            Client.close_all()
            server.send_signal(signal.SIGTERM)
            server.wait(20)
            server.stdout.close()
    assert (tmp_path / "log").stat().st_size < 5000


def test_too_few_descriptors_are_told():
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40));"
        "from tfmisr.reader_study import connections; connections.Listener(('127.0.0.1', 0))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert "the server needs at least 64 file descriptors (ulimit -n), found 40" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


def test_log_passes_some_lines_a_minute_and_counts_the_others(monkeypatch):
    limit, now = connections.LogLimit(lines=2, seconds=60), [0.0]
    monkeypatch.setattr(connections.time, "monotonic", lambda: now[0])
    limit.since = 0.0
    records = [logging.LogRecord("asyncio", logging.ERROR, "", 0, "line %d", (i,), None) for i in range(5)]
    assert [limit.filter(record) for record in records] == [True, True, False, False, False]
    now[0] = 61.0
    later = logging.LogRecord("asyncio", logging.ERROR, "", 0, "line %d", (9,), None)
    assert limit.filter(later) and later.getMessage() == "line 9 (3 lines of log left out before it)"
