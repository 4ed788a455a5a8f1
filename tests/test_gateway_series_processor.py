"""The thread that has derived series made: limits, attempts, ends (G-11, G-14)."""

import dataclasses
import json
import sqlite3

import pytest
from gateway_queue_helpers import MEMBER, arrival, due, read, states

from tfmisr.gateway import metrics, operating, queue, series, series_processor, series_work
from tfmisr.gateway.schema import FAILED, PASSED, RECEIVED
from tfmisr.gateway.spool import Spool


@pytest.fixture
def entries(tmp_path):
    made = queue.Queue(tmp_path / "queue.db")
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path):
    made = read(tmp_path, 'volume = "spline"')
    Spool(made.node.spool).create()
    return made


@pytest.fixture
def processor(entries, settings, monkeypatch):
    """A processor whose process answers with `replies`, without a thread."""
    made = series_processor.SeriesProcessor(settings, Spool(settings.node.spool), entries, metrics.Metrics())
    made.replies, made.requests = [], []

    def call(function, payload, limits):
        made.requests.append((json.loads(payload), limits))
        return made.replies.pop(0)

    monkeypatch.setattr(made, "_call", call)
    return made


def image(settings, number: int, uid: str = "2.25.7") -> dict:
    path = settings.node.spool / "results" / f"series-1-{number:05d}.dcm"
    path.touch()
    return {"file": str(path), "uid": uid, "sop_class": "1.2.840", "syntax": "1.2.1", "digest": "d", "size": 3}


def test_g14_a_series_is_complete_with_its_number_of_images_or_after_a_time_without_one():
    now = [0.0]
    watch = series_processor.Watch(lambda: now[0])
    rows = [
        {"id": 1, "expected": 0, "seconds": 60.0, "images": 5, "late": 0},
        {"id": 2, "expected": 3, "seconds": 60.0, "images": 2, "late": 0},
    ]
    assert watch.complete(rows) == {}
    now[0] = 59.0
    rows[1]["images"] = 3
    assert watch.complete(rows) == {2: (3, "3 were expected")}
    rows[0]["images"] = 6  # the time begins again
    del rows[1]
    now[0] = 61.0
    assert watch.complete(rows) == {}
    now[0] = 120.9
    assert watch.complete(rows) == {}
    now[0] = 121.0
    assert watch.complete(rows) == {1: (6, "none came for 60 s")}
    assert series_processor.Watch(lambda: now[0]).complete(rows) == {}  # after a restart it begins again


def test_g14_a_complete_series_is_processed_with_the_limits_of_the_configuration(entries, settings, processor):
    entries.add(arrival(1, dataclasses.replace(MEMBER, expected=2, spacing="1.5")))
    assert not processor._next()
    entries.add(arrival(2, dataclasses.replace(MEMBER, expected=2, spacing="1.5")))
    processor.replies = [{"value": {"images": [image(settings, 1)], "remarks": "skipped 1 localizer"}}]
    assert processor._next()
    ((payload, limits),) = processor.requests
    assert payload["sources"] == [str(settings.node.spool / f"objects/{n}.dcm") for n in (1, 2)]
    assert (payload["spacing"], payload["method"], payload["record_times"]) == (1.5, "spline", False)
    assert (limits.seconds, limits.memory) == (3600.0, 4_000_000_000)
    assert entries.rows("SELECT file FROM instances WHERE id = 3")[0][0] == "results/series-1-00001.dcm"
    assert "series 1: 1 images by spline; skipped 1 localizer" in "\n".join(operating.audit(entries))
    assert not processor._next()


def test_g14_a_series_that_stays_incomplete_is_refused_until_the_rest_comes(entries, settings, processor):
    """Slices that are missing at an end would not be found by their positions."""
    now = [0.0]
    processor._watch = series_processor.Watch(lambda: now[0])
    member = dataclasses.replace(MEMBER, expected=3)
    for number in (1, 2):
        entries.add(arrival(number, member))
    assert not processor._next()
    now[0] = 60.0
    assert processor._next()
    assert entries.rows("SELECT reason FROM series")[0][0] == "3 images were expected, 2 came"
    assert states(entries) == [PASSED] * 2
    entries.add(arrival(3, member))
    assert not processor._next()
    now[0] = 120.0
    processor.replies = [{"value": {"images": [image(settings, 1)], "remarks": ""}}]
    assert processor._next()
    assert states(entries, "series") == ["processed"]


def test_g11_a_job_that_fails_is_tried_again_then_quarantined(entries, settings, processor, caplog):
    entries.add(arrival(1, dataclasses.replace(MEMBER, expected=1)))
    limit = "took more memory than --memory_limit, 4,000 MB"
    processor.replies = [{"error": "ended its process by SIGKILL"}] * 2 + [{"error": limit}]
    for attempt in (1, 2, 3):
        assert processor._next()
        assert entries.rows("SELECT attempts FROM series")[0][0] == attempt
        assert not processor._next()  # it waits, or is in quarantine
        operating.retry(entries)
    assert states(entries, "series") == [FAILED]
    assert "series 1 quarantined, 3 attempts: took more memory than volume_memory_gb, 4,000 MB" in caplog.text
    assert due(entries, "a") == [(1, "original")]


def test_g18_a_job_that_the_end_of_the_node_interrupts_is_not_counted(entries, settings, processor):
    entries.add(arrival(1, dataclasses.replace(MEMBER, expected=1)))
    processor.replies = [{"error": "ended its process by SIGKILL"}]
    processor.stop()
    assert processor._next()
    assert tuple(entries.rows("SELECT state, attempts FROM series")[0]) == (RECEIVED, 0)


def test_g14_files_of_a_derived_series_that_is_not_recorded_are_removed(entries, settings, processor):
    entries.add(arrival(1, dataclasses.replace(MEMBER, expected=1)))
    entries.add(arrival(7, None, sop_instance_uid="2.25.7", digest="theirs"))
    processor.replies = [{"value": {"images": [image(settings, 1)], "remarks": ""}}]
    assert processor._next()
    assert states(entries, "series") == [PASSED]
    assert list((settings.node.spool / "results").iterdir()) == []


def test_g04_no_series_is_processed_while_the_disk_is_below_its_reserve(entries, settings, processor):
    entries.add(arrival(1, dataclasses.replace(MEMBER, expected=1)))
    processor._spool.reserve = 1e18
    assert not processor._next()
    assert states(entries, "series") == ["collecting"]


def test_g11_an_end_that_could_not_be_recorded_leads_to_another_attempt(entries, settings, processor, monkeypatch):
    entries.add(arrival(1, dataclasses.replace(MEMBER, expected=1)))
    processor.replies = [{"value": {"images": [image(settings, 1)], "remarks": ""}}]
    with monkeypatch.context() as patch, pytest.raises(sqlite3.OperationalError):
        patch.setattr(series, "processed", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError("disk full")))
        processor._next()
    assert states(entries, "series") == ["processing"]
    assert not processor._next()
    assert tuple(entries.rows("SELECT state, reason FROM series")[0]) == (RECEIVED, "its end could not be recorded")


def test_reasons_hold_no_identifiers():
    sources = ["/spool/objects/" + "ab" * 16 + ".dcm", "/spool/objects/" + "cd" * 16 + ".dcm"]
    text = f"expected one series, found 1.2.840.10008.99.7 and 2.25.12\nin {sources[1]}: 3.5 mm, 1.2.3; see --tilt"
    found = series_work.without_identifiers(text, sources)
    assert "10008" not in found and "/spool" not in found and "cdcd" not in found and "\n" not in found
    assert found.endswith("in image 2: 3.5 mm, 1.2.3")
