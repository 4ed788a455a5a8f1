"""Series of a volume method in the queue: grouping, completeness, late images, recovery, retention (G-14, issue 17)."""

import dataclasses

import pytest
from gateway_queue_helpers import (
    MEMBER,
    arrival,
    claim,
    complete,
    derived,
    due,
    events,
    read,
    send_all,
    states,
)

from tfmisr.edge.errors import InputError
from tfmisr.gateway import commitments, metrics, operating, queue, rerouting, series, series_processor, upkeep
from tfmisr.gateway import entries as discarding
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


def test_g14_objects_are_grouped_by_series_and_sender_and_sent_on_at_once(entries):
    entries.add(arrival(1))
    entries.add(arrival(2, dataclasses.replace(MEMBER, uid="1.2.4")))
    entries.add(arrival(3))
    entries.add(arrival(4, calling_ae="CT2"))
    assert [(row["id"], row["images"]) for row in series.collecting(entries)] == [(1, 2), (2, 1), (3, 1)]
    assert due(entries, "a") == due(entries, "b") == [(n, "original") for n in (1, 2, 3, 4)]
    assert entries.claim() is None  # none of them is processed by itself


def test_g14_a_series_that_grew_meanwhile_is_not_taken(entries):
    entries.add(arrival(1))
    seen = complete(entries, 1)
    entries.add(arrival(2))
    assert series.claim(entries, seen) is None
    task = claim(entries, 2)
    assert (task.files, task.method, task.attempts) == (("objects/1.dcm", "objects/2.dcm"), "spline", 1)
    assert claim(entries, 2) is None  # once
    assert "series complete" in events(entries)


def test_g14_a_derived_series_follows_all_objects_of_its_source_at_each_destination(entries):
    for number in (1, 2):
        entries.add(arrival(number))
    task = claim(entries, 2)
    series.processed(entries, task, derived(7, 8))
    assert states(entries) == ["grouped"] * 4
    assert due(entries, "a") == [(1, "original"), (2, "original")]
    entries.sent(entries.due("a", 1)[0], "a", "")
    assert due(entries, "a") == [(2, "original")]
    (delivery,) = entries.due("a", 10)
    entries.not_sent(delivery, "a", "status C000", None)
    assert due(entries, "a") == []  # behind an original in quarantine
    operating.release(entries, [f"delivery:{delivery.id}"])
    send_all(entries, "a")
    assert due(entries, "a") == [(3, "derived"), (4, "derived")]
    assert [each.file for each in entries.due("a", 10)] == ["results/7.dcm", "results/8.dcm"]
    assert due(entries, "b") == [(1, "original"), (2, "original")]  # its rule sends no result there


def test_g14_a_late_object_is_sent_on_and_recorded_and_starts_nothing(entries, settings):
    entries.add(arrival(1))
    task = claim(entries, 1)
    entries.add(arrival(2))  # while the job runs
    series.processed(entries, task, derived(7))
    entries.add(arrival(3))
    for number in (2, 3, 3):
        entries.add(arrival(number))  # once more
    assert states(entries, "series") == ["processed"]
    assert entries.rows("SELECT late FROM series")[0][0] == 2
    assert events(entries).count("late") == 2
    assert {number for number, kind in due(entries, "b") if kind == "original"} == {1, 2, 4}
    assert series.collecting(entries) == []
    assert "late images 2" in operating.status(entries, settings)


def test_g14_an_image_that_was_missing_opens_its_series_again(entries, settings):
    """Where no derived series was made; then the time alone says when it is complete."""
    entries.add(arrival(1, dataclasses.replace(MEMBER, expected=1)))
    series.finish(entries, claim(entries, 1), PASSED, "1 slice is missing")
    entries.add(arrival(2, dataclasses.replace(MEMBER, expected=1)))
    assert states(entries) == ["collecting"] * 2
    (row,) = series.collecting(entries)
    assert (row["images"], row["late"]) == (2, 1)
    watch = series_processor.Watch(iter([0.0, 60.0]).__next__)
    assert watch.complete([row]) == {}
    assert watch.complete([row]) == {1: (2, "none came for 60 s")}
    assert "series opened again" in events(entries)
    series.finish(entries, claim(entries, 2), FAILED, "failed with ValueError")
    discarding.discard(entries, settings, ["series:1"])
    entries.add(arrival(3))
    assert states(entries) == [PASSED] * 3  # the operator gave it up


def test_g11_a_series_whose_job_the_end_of_the_node_interrupts_begins_again(entries, settings):
    entries.add(arrival(1))
    for attempt in (1, 2):
        assert claim(entries, 1).attempts == attempt
        assert series.recover(entries, 3) == 1
    task = claim(entries, 1)
    series.finish(entries, task, RECEIVED, "interrupted by the end of the node", uncount=True)
    assert claim(entries, 1).attempts == 3
    series.recover(entries, 3)
    assert states(entries, "series") == [FAILED]
    assert claim(entries, 1) is None
    line = "series:1  series 1, 3 attempts: the node ended while it was processed"
    assert line in operating.quarantine(entries, settings)
    assert operating.release(entries, ["series:1"]) == 1
    assert claim(entries, 1).attempts == 1
    with pytest.raises(InputError, match="expected a name that"):
        operating.release(entries, ["series:1"])


def test_g12_a_quarantined_series_can_be_given_up(entries, settings):
    entries.add(arrival(1))
    series.finish(entries, claim(entries, 1), FAILED, "failed with ValueError")
    with pytest.raises(InputError, match="no rule is for the series of series:1"):
        rerouting.release_by_rules(entries, settings, ["series:1"])
    assert discarding.discard(entries, settings, ["series:1"]) == 1
    assert states(entries, "series") == states(entries) == [PASSED]  # its objects may be removed now
    with pytest.raises(InputError, match="quarantine list"):
        discarding.discard(entries, settings, ["series:1"])


def test_g12_images_of_a_derived_series_are_sent_again_elsewhere_or_given_up_alone(entries, settings):
    entries.add(arrival(1, original_to=()))
    series.processed(entries, claim(entries, 1), derived(7, 8))
    for name in ("results/7.dcm", "results/8.dcm"):
        (settings.node.spool / name).touch()
    first, second = entries.due("a", 10)
    for delivery in (first, second):
        entries.not_sent(delivery, "a", "status C000", None)
    with pytest.raises(InputError, match="no rule is for"):
        rerouting.release_by_rules(entries, settings, [f"delivery:{first.id}"])
    assert rerouting.release(entries, settings, [f"delivery:{first.id}"], "archive") == 1
    assert [each.file for each in entries.due("archive", 10)] == ["results/7.dcm"]
    assert discarding.discard(entries, settings, [f"delivery:{second.id}"]) == 1  # no unsent original
    assert due(entries, "a") == []
    rerouting.resend(entries, settings, ["2.25.8"], "", "archive", results=True)
    assert [each.file for each in entries.due("archive", 10)] == ["results/7.dcm", "results/8.dcm"]


def test_g12_a_series_waits_between_attempts(entries):
    entries.add(arrival(1))
    series.finish(entries, claim(entries, 1), RECEIVED, "failed with ValueError", 100.0)
    assert claim(entries, 1) is None
    assert operating.retry(entries) == 1
    assert claim(entries, 1).attempts == 2


def test_g15_objects_stay_until_their_series_is_done(entries):
    entries.add(arrival(1, original_to=("a",)))
    send_all(entries, "a")
    assert upkeep.remove_done(entries, -1) == []  # collecting
    task = claim(entries, 1)
    assert upkeep.remove_done(entries, -1) == []  # processing
    series.processed(entries, task, derived(7))
    assert upkeep.remove_done(entries, -1) == ["objects/1.dcm"]  # its derived series is on its own now
    assert states(entries, "series") == ["processed"]
    assert due(entries, "a") == [(2, "derived")]
    send_all(entries, "a")
    assert set(upkeep.remove_done(entries, -1)) == {"results/7.dcm"}
    assert not entries.rows("SELECT 1 FROM series UNION SELECT 1 FROM series_instances")


def test_g15_images_of_a_derived_series_are_kept_until_they_are_committed(entries):
    commitments.begin(entries, ["a"])
    entries.add(arrival(1, original_to=()))
    series.processed(entries, claim(entries, 1), derived(7))
    send_all(entries, "a")
    assert set(commitments.due(entries, "a", 10).values()) == {("1.2.840", "2.25.7")}
    assert "results/7.dcm" not in upkeep.remove_done(entries, -1)
    (number,) = commitments.due(entries, "a", 10)
    commitments.request(entries, "a", "9.9", [number], 60)
    commitments.report(entries, ["a"], "9.9", [commitments.Reference("1.2.840", "2.25.7")], {})
    assert "results/7.dcm" in upkeep.remove_done(entries, -1)


def test_g14_what_the_node_made_starts_no_series_and_goes_nowhere_again(entries):
    entries.add(arrival(1))
    series.processed(entries, claim(entries, 1), derived(7))
    again = arrival(7, sop_instance_uid="2.25.7", digest="made7", original_to=("b",), calling_ae="a")
    assert entries.add(again) == queue.DUPLICATE
    assert series.collecting(entries) == []
    assert due(entries, "b") == [(1, "original")]
    assert entries.add(dataclasses.replace(again, digest="other")) == queue.CONFLICT


def test_g14_a_derived_series_that_came_from_elsewhere_is_not_made_a_second_time(entries):
    """As from another gateway: two contents under one UID would contradict each other."""
    entries.add(arrival(1))
    entries.add(arrival(8, None, sop_instance_uid="2.25.8", digest="theirs"))
    task = claim(entries, 1)
    with pytest.raises(InputError, match="received before"):
        series.processed(entries, task, derived(7, 8))
    assert entries.rows("SELECT COUNT(*) FROM instances")[0][0] == 2  # nothing of it was recorded
    series.finish(entries, task, PASSED, "an image of it was received before")
    assert states(entries) == [PASSED, PASSED]


def test_g03_the_same_objects_from_another_sender_add_its_destinations(entries):
    entries.add(arrival(1))
    series.processed(entries, claim(entries, 1), derived(7))
    other = arrival(1, calling_ae="CT2", original_to=("c",), result_to=("c",))
    assert entries.add(other) == queue.DUPLICATE
    assert due(entries, "c") == [(1, "original")]
    send_all(entries, "c")
    assert due(entries, "c") == [(2, "derived")]
    alone = dataclasses.replace(other, series=None, model="m", result_to=("c",))
    assert entries.add(alone) == queue.DUPLICATE  # an object is processed with its series or alone, not both
    assert states(entries)[0] == "grouped"
    assert entries.claim() is None


def test_g03_an_object_that_passed_joins_a_series_when_a_rule_says_so(entries):
    entries.add(arrival(1, None, result_to=(), reason="by rule"))
    entries.add(arrival(1))
    assert [row["images"] for row in series.collecting(entries)] == [1]
    entries.add(arrival(1))
    assert [row["images"] for row in series.collecting(entries)] == [1]


def test_a_queue_of_an_earlier_release_gets_the_tables(tmp_path):
    made = queue.Queue(tmp_path / "queue.db")
    with made.transaction() as db:
        db.execute("DROP TABLE series_instances")
        db.execute("DROP TABLE series")
    made.close()
    made = queue.Queue(tmp_path / "queue.db")
    made.add(arrival(1))
    assert states(made, "series") == ["collecting"]
    made.close()


def test_g20_an_arriving_object_reads_no_whole_table(entries):
    """The index of results' UIDs is a partial one, which serves only queries that repeat its condition."""
    queries = []
    entries._connection.set_trace_callback(queries.append)
    entries.known("1.2.3.4")
    entries._connection.set_trace_callback(None)
    assert len(queries) == 2
    for query in queries:
        plan = [row["detail"] for row in entries.rows(f"EXPLAIN QUERY PLAN {query}")]
        assert all("USING INDEX" in step for step in plan), plan


def test_a_clock_that_was_ahead_delays_no_series(entries):
    entries.add(arrival(1))
    with entries.transaction() as db:
        db.execute("UPDATE series SET first_at = first_at + 1e6, last_at = last_at + 1e6, next_attempt = 1e11")
    upkeep.correct_times(entries, 100.0)
    row = entries.rows("SELECT s.*, i.received_at FROM series s, instances i")[0]
    assert abs(row["last_at"] - row["received_at"]) < 60
    assert row["next_attempt"] < 1e10


def test_g17_metrics_count_series_and_name_none(entries, settings):
    entries.add(arrival(1))
    registry = metrics.Metrics().registry
    registry.register(metrics.QueueMetrics(entries, Spool(settings.node.spool), lambda: 0))
    found = {(m.name, tuple(m.labels.values())): m.value for f in registry.collect() for m in f.samples}
    assert found["tfmisr_gateway_series", ("collecting",)] == 1
    assert 0 <= found["tfmisr_gateway_oldest_waiting_series_seconds", ()] < 60
    assert found["tfmisr_gateway_late_images", ()] == 0
