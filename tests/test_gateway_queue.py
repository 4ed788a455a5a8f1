"""The queue and spool of the gateway: states, order, duplicates, recovery and retention."""

import dataclasses
import errno
import os
import sqlite3
import time

import gateway_helpers
import pytest

from tfmisr import dicom_check
from tfmisr.edge.errors import InputError
from tfmisr.gateway import backoff, incoming, metrics, operating, processor, queue, schema, upkeep, validation, work
from tfmisr.gateway.schema import Arrival
from tfmisr.gateway.spool import Spool

assert gateway_helpers  # skips these tests where the gateway is not installed

OBJECT = Arrival("1.2.3", "1.2.840", "1.2.1", "aa", 10, "objects/1.dcm", "CT1", "m", 0, ("a", "b"), ("a",), "")


@pytest.fixture
def entries(tmp_path):
    made = queue.Queue(tmp_path / "queue.db")
    yield made
    made.close()


def due(entries, destination: str) -> list:
    return [(each.instance, each.kind) for each in entries.due(destination, 10)]


def test_g01_commits_are_flushed_to_the_disk(entries):
    assert entries.rows("PRAGMA synchronous")[0][0] == 2  # FULL
    assert entries.rows("PRAGMA journal_mode")[0][0] == "wal"


def test_g03_one_row_for_a_uid(entries):
    assert entries.add(OBJECT) == queue.NEW
    assert entries.add(OBJECT) == queue.DUPLICATE
    assert entries.add(dataclasses.replace(OBJECT, digest="bb")) == queue.CONFLICT
    assert entries.rows("SELECT digest FROM instances")[0][0] == "aa"
    other = dataclasses.replace(OBJECT, digest="bb", file="quarantine/1.dcm")
    assert [entries.add_conflict(other), entries.add_conflict(other)] == [True, False]
    with pytest.raises(InputError, match="two objects cannot have one UID"):
        operating.release(entries, ["conflict:1"])


def test_g14_a_result_waits_for_its_original_at_each_destination(entries):
    entries.add(OBJECT)
    task = entries.claim()
    assert entries.claim() is None
    entries.processed(task, "results/1.dcm", "2.25.1", "1.2.1", "cc")
    assert due(entries, "a") == due(entries, "b") == [(1, "original")]
    (delivery,) = entries.due("a", 10)
    entries.not_sent(delivery, "a", "status C000", None)
    assert due(entries, "a") == []  # behind an original in quarantine
    assert operating.release(entries, [f"delivery:{delivery.id}"]) == 1
    entries.sent(delivery, "a", "")
    assert due(entries, "a") == [(1, "result")]
    assert entries.due("a", 10)[0].file == "results/1.dcm"
    assert due(entries, "b") == [(1, "original")]  # b gets no result


def test_what_the_node_made_is_known_by_its_uid(entries):
    entries.add(OBJECT)
    entries.processed(entries.claim(), "results/1.dcm", "2.25.1", "1.2.1", "cc")
    result = dataclasses.replace(OBJECT, sop_instance_uid="2.25.1", digest="cc")
    assert entries.add(result) == queue.DUPLICATE
    assert entries.add(dataclasses.replace(result, digest="dd")) == queue.CONFLICT


def test_g11_attempts_that_the_end_of_the_process_interrupts_count(entries):
    """An image that ends the node itself is quarantined after its attempts; one that the node interrupts is not."""
    entries.add(OBJECT)
    for attempt in (1, 2):
        assert entries.claim().attempts == attempt
        assert entries.recover(3) == 1
    task = entries.claim()
    entries.finish(task, schema.RECEIVED, "interrupted", uncount=True)
    assert entries.claim().attempts == 3
    entries.recover(3)
    assert entries.rows("SELECT state FROM instances")[0][0] == schema.FAILED
    assert entries.claim() is None
    assert due(entries, "a") == [(1, "original")]
    assert operating.release(entries, ["processing:1"]) == 1
    assert entries.claim().attempts == 1


def test_g12_an_attempt_in_the_future_is_not_due(entries):
    entries.add(dataclasses.replace(OBJECT, original_to=("a",)))
    (delivery,) = entries.due("a", 10)
    entries.not_sent(delivery, "a", "status C000", 100.0)
    assert due(entries, "a") == []
    assert backoff.failed(entries, "a", "no association", 5, 900) == pytest.approx(5, rel=0.2)
    assert backoff.failed(entries, "a", "no association", 5, 900) == pytest.approx(10, rel=0.2)
    assert backoff.remaining(entries, "a") > 7
    assert backoff.remaining(entries, "b") == 0
    assert operating.retry(entries) == 1
    assert due(entries, "a") == [(1, "original")]
    assert backoff.remaining(entries, "a") == 0


def test_g15_only_what_is_sent_everywhere_and_processed_is_removed(entries):
    entries.add(OBJECT)
    (first,), (second,) = entries.due("a", 10), entries.due("b", 10)
    entries.sent(first, "a", "")
    assert upkeep.remove_done(entries, -1) == []  # b lacks it, and it is not processed
    entries.sent(second, "b", "")
    assert upkeep.remove_done(entries, -1) == []  # its result is to come
    task = entries.claim()
    entries.processed(task, "results/1.dcm", "2.25.1", "1.2.1", "cc")
    assert upkeep.remove_done(entries, -1) == []
    entries.sent(entries.due("a", 10)[0], "a", "")
    assert upkeep.remove_done(entries, 3600) == []  # not old enough
    assert upkeep.remove_done(entries, -1) == ["objects/1.dcm", "results/1.dcm"]
    assert not entries.rows("SELECT 1 FROM instances UNION SELECT 1 FROM deliveries")
    assert entries.add(OBJECT) == queue.NEW
    assert entries.rows("SELECT id FROM instances")[0][0] == 2  # numbers name results, and never come again


def test_g15_what_is_quarantined_is_kept(entries):
    entries.add(dataclasses.replace(OBJECT, original_to=("a",), result_to=()))
    entries.sent(entries.due("a", 10)[0], "a", "")
    entries.finish(entries.claim(), schema.FAILED, "took longer than the time-out")
    assert upkeep.remove_done(entries, -1) == []


def test_an_error_of_the_commit_leaves_no_row(entries):
    with pytest.raises(sqlite3.IntegrityError), entries.transaction() as db:
        db.execute("INSERT INTO destinations VALUES ('a', 1, 0, '')")
        db.execute("INSERT INTO destinations VALUES ('a', 1, 0, '')")
    assert not entries.rows("SELECT * FROM destinations")


def test_a_queue_of_a_later_version_is_refused(tmp_path, entries):
    with entries.transaction() as db:
        db.execute("PRAGMA user_version=2")
    with pytest.raises(InputError, match="expected a queue of version 1"):
        queue.Queue(tmp_path / "queue.db")


def test_a_damaged_queue_is_named(tmp_path):
    (tmp_path / "queue.db").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match="cannot be read"):
        queue.Queue(tmp_path / "queue.db")


def test_objects_without_their_queue_are_not_removed(tmp_path):
    spool = Spool(tmp_path)
    spool.create()
    spool.check_complete()
    (tmp_path / "objects" / "a.dcm").write_bytes(b"x")
    with pytest.raises(InputError, match="restore it, or move the objects away"):
        spool.check_complete()
    queue.Queue(spool.database).close()
    spool.check_complete()


def test_g02_the_start_removes_what_was_never_acknowledged(tmp_path):
    spool = Spool(tmp_path)
    spool.create()
    for name in ("incoming/1-0.part", "objects/a.dcm", "objects/b.dcm", "results/1.dcm", "results/.9.x-1.dcm"):
        (tmp_path / name).write_bytes(b"x")
    assert spool.sweep(["objects/a.dcm", "results/1.dcm"]) == 3
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["1.dcm", "a.dcm"]


def test_g04_a_full_disk_while_data_arrive_is_kept_for_the_status(tmp_path, monkeypatch):
    monkeypatch.setattr(incoming, "_folder", tmp_path)
    written = []

    def write(descriptor, data):
        if sum(written) > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(min(len(data), 4))  # a disk may take a part only
        return written[-1]

    file = incoming.IncomingFile()
    monkeypatch.setattr(os, "write", write)
    assert file.write(b"12345678") == 8
    assert file.error is None
    assert file.write(b"12345678") == 8
    assert file.error.errno == errno.ENOSPC
    assert file.write(b"more") == 4
    with pytest.raises(OSError, match="No space"):
        file.sync()
    assert incoming.receiving() == 1
    assert file.take()
    assert incoming.receiving() == 0
    file.close()
    assert not list(tmp_path.iterdir())


def test_no_file_can_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr(incoming, "_folder", tmp_path / "none")
    file = incoming.IncomingFile()
    assert file.write(b"data") == 4
    with pytest.raises(FileNotFoundError):
        file.sync()
    file.close()


def test_an_object_that_comes_again_by_another_rule_is_sent_to_its_destinations_too(entries):
    """It is acknowledged to both senders: the second one's destination must get it as well, and only once."""
    entries.add(dataclasses.replace(OBJECT, model="", original_to=("a",), result_to=()))
    again = dataclasses.replace(OBJECT, calling_ae="CT2", original_to=("a", "b"), result_to=("b",))
    assert entries.add(again) == entries.add(again) == queue.DUPLICATE
    assert due(entries, "a") == due(entries, "b") == [(1, "original")]
    task = entries.claim()
    assert (task.model, task.attempts) == ("m", 1)
    assert entries.add(dataclasses.replace(again, result_to=("a", "b"))) == queue.DUPLICATE  # while it is processed
    entries.processed(task, "results/1.dcm", "2.25.1", "1.2.1", "cc")
    assert entries.add(dataclasses.replace(again, original_to=("c",), result_to=("c",))) == queue.DUPLICATE
    for name in ("a", "b", "c"):
        entries.sent(entries.due(name, 10)[0], name, "")
        assert due(entries, name) == [(1, "result")]
    assert entries.rows("SELECT COUNT(*) FROM deliveries")[0][0] == 6


def test_g12_a_clock_that_is_set_back_delays_nothing(entries, monkeypatch):
    """A device that starts with a wrong year: what is due in many years is due now, what was sent grows old."""
    entries.add(dataclasses.replace(OBJECT, original_to=("a", "b"), result_to=()))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3e8)
    entries.not_sent(entries.due("a", 10)[0], "a", "status C000", 5.0)
    entries.sent(entries.due("b", 10)[0], "b", "")
    backoff.failed(entries, "a", "no association", 5, 900)
    entries.finish(entries.claim(), schema.RECEIVED, "failed", 5.0)
    monkeypatch.setattr(time, "time", lambda: now)
    assert (due(entries, "a"), entries.claim()) == ([], None)
    upkeep.correct_times(entries, 900.0)
    assert due(entries, "a") == [(1, "original")]
    assert backoff.remaining(entries, "a") == 0
    assert entries.claim().id == 1
    assert entries.rows("SELECT sent_at FROM deliveries WHERE state = 'sent'")[0][0] == now
    entries.not_sent(entries.due("a", 10)[0], "a", "status C000", 800.0)
    upkeep.correct_times(entries, 900.0)
    assert due(entries, "a") == []  # a time that the gateway may have set itself


def test_the_audit_trail_of_an_unsent_object_is_kept(entries):
    entries.add(OBJECT)
    assert upkeep.remove_done(entries, -1) == []
    assert [row[0] for row in entries.rows("SELECT event FROM events")] == ["received"]


def test_g11_an_end_that_could_not_be_recorded_is_tried_again(tmp_path, monkeypatch):
    """The disk is full while the result is recorded: the object does not stay in processing until the next start."""
    text = gateway_helpers.configuration({"archive": 9}, rules=gateway_helpers.BICUBIC.format('"archive"'))
    (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
    settings = validation.read(tmp_path / "gateway.toml")
    entries = queue.Queue(tmp_path / "queue.db")
    entries.add(OBJECT)
    worker = processor.Processor(settings, Spool(tmp_path), entries, metrics.Metrics())
    reply = {"value": {"uid": "2.25.1", "syntax": "1.2.1", "digest": "cc"}}
    monkeypatch.setattr(worker, "_call", lambda *_: reply)
    record = entries.processed

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(entries, "processed", full)
    with pytest.raises(sqlite3.OperationalError):
        worker._next()
    monkeypatch.setattr(entries, "processed", record)
    worker._next()
    with entries.transaction() as db:
        db.execute("UPDATE instances SET next_attempt = 0")
    worker._next()
    assert entries.rows("SELECT state FROM instances")[0][0] == schema.PROCESSED
    entries.close()


@pytest.mark.parametrize("times", [{}, {"record_times": "yes"}])
def test_a_result_that_is_made_again_has_the_same_bytes(tmp_path, times):
    """By another node or after `keep_hours` (D-02, D-06): an archive sees the same instance, not a conflict."""
    source = gateway_helpers.image(tmp_path, 1)
    payload = {"model": "bicubic", "scale": 2, "threads": 1, "source": str(source), **times}
    made = [work.upscale({**payload, "target": str(tmp_path / f"sr{number}.dcm")}) for number in range(2)]
    assert made[0]["uid"] == made[1]["uid"]
    first, second = ((tmp_path / f"sr{number}.dcm").read_bytes() for number in range(2))
    assert (first == second, made[0]["digest"] == made[1]["digest"]) == (not times, not times)
    assert dicom_check.violations(source, tmp_path / "sr1.dcm") == []


@pytest.mark.skipif(os.name == "nt" or not os.geteuid(), reason="root may write everywhere")
def test_g11_a_folder_that_cannot_be_written_is_no_refusal_of_the_image(tmp_path):
    """As the next test, for the folder of the results."""
    source = gateway_helpers.image(tmp_path, 1)
    folder = tmp_path / "results"
    folder.mkdir(mode=0o500)
    payload = {"model": "bicubic", "scale": 2, "threads": 1, "source": str(source), "target": str(folder / "1.dcm")}
    with pytest.raises(PermissionError):
        work.upscale(payload)


def test_g11_a_missing_file_is_no_refusal_of_the_image(tmp_path):
    """`refused` would say for ever that the image is not to be upscaled; the spool may be mounted again."""
    payload = {"model": "bicubic", "scale": 2, "threads": 1}
    with pytest.raises(FileNotFoundError):
        work.upscale({**payload, "source": str(tmp_path / "gone.dcm"), "target": str(tmp_path / "1.dcm")})
