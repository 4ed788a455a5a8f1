"""What an operator does with quarantined and sent objects: discard, send elsewhere, send again."""

import dataclasses
import time

import gateway_helpers
import pytest
from gateway_helpers import Archive, configuration, image, running, uid_of, wait_for

from tfmisr.edge.errors import InputError
from tfmisr.gateway import commitments, entries, operating, queue, rerouting, schema, upkeep, validation
from tfmisr.gateway.__main__ import main
from tfmisr.gateway.schema import Arrival

OBJECT = Arrival("1.2.3", "1.2.840", "1.2.1", "aa", 10, "objects/1.dcm", "MODALITY", "m", 2, ("a", "b"), ("a",), "")


@pytest.fixture
def node(tmp_path):
    """A configuration of destinations a, b and c, its settings and a queue with one object, whose file is there."""
    rule = '[[rules]]\nmodality = ["CR"]\nsend = "original only"\ndestinations = ["c"]\n'
    path = tmp_path / "gateway.toml"
    path.write_text(configuration({"a": 9, "b": 9, "c": 9}, rules=rule), encoding="utf-8")
    settings = validation.read(path)
    for folder in ("objects", "quarantine", "results"):
        (tmp_path / "spool" / folder).mkdir(parents=True)
    (tmp_path / "spool" / "results" / "1.dcm").write_bytes(b"result")
    source = gateway_helpers.image(tmp_path, 1)
    source.rename(tmp_path / "spool" / "objects" / "1.dcm")
    entries_of = queue.Queue(tmp_path / "spool" / "queue.db")
    entries_of.add(OBJECT)
    yield path, settings, entries_of
    entries_of.close()


def deliveries(entries_of) -> list[tuple]:
    rows = entries_of.rows("SELECT kind, destination, state FROM deliveries ORDER BY destination, kind")
    return [tuple(row) for row in rows]


def give_up(entries_of, destination: str, kind: str = "original") -> str:
    """Quarantines a delivery and returns its name."""
    (delivery,) = [each for each in entries_of.due(destination, 9) if each.kind == kind]
    entries_of.not_sent(delivery, destination, "status C000", None)
    return f"delivery:{delivery.id}"


def process(entries_of) -> None:
    entries_of.processed(entries_of.claim(), "results/1.dcm", "2.25.1", "1.2.1", "cc")


def send(entries_of, destination: str) -> None:
    while due := entries_of.due(destination, 1):
        entries_of.sent(due[0], destination, "")


def run(*words: str) -> int:
    return main(list(words))


def test_discard_asks_for_yes_and_spares_an_unsent_original(node, capsys):
    """Nothing is changed by a refusal, also where another name of the same command is right."""
    path, settings, entries_of = node
    process(entries_of)
    original = give_up(entries_of, "a")
    command = ["quarantine", "discard", str(path), original]
    with pytest.raises(InputError, match="add --yes"):
        run(*command)
    other = dataclasses.replace(OBJECT, digest="bb", file="quarantine/1.dcm")
    (settings.node.spool / other.file).write_bytes(b"other")
    entries_of.add_conflict(other)
    with pytest.raises(InputError, match="including_unsent_originals"):
        run("quarantine", "discard", str(path), "conflict:1", original, "--yes")
    assert (settings.node.spool / other.file).is_file()
    assert len(deliveries(entries_of)) == 3
    assert run(*command, "--yes", "--including_unsent_originals") == 0
    assert deliveries(entries_of) == [("original", "b", "queued")]  # its result would have waited for it for ever
    assert run("quarantine", "discard", str(path), "conflict:1", "--yes") == 0
    assert not (settings.node.spool / other.file).exists()
    assert run("audit", str(path)) == 0
    out = capsys.readouterr().out
    assert f"object 1\tdiscarded\ta\taa\t{original} status C000" in out
    assert "-\tdiscarded\tMODALITY\tbb\tconflict:1" in out
    for name in ("conflict:1", original, "delivery:99", "delivery:2", "nothing", "processing:1"):
        with pytest.raises(InputError, match="expected a name that `quarantine list` prints"):
            run("quarantine", "discard", str(path), name, "--yes", "--including_unsent_originals")


def test_a_discarded_object_is_removed_later_and_comes_back_if_it_is_sent_again(node):
    """Its file stays for keep_hours; the sender that repeats it gets what an acknowledgment promises."""
    _, settings, entries_of = node
    process(entries_of)
    names = [give_up(entries_of, name) for name in ("a", "b")]
    entries.discard(entries_of, settings, names, unsent_originals=True)
    assert deliveries(entries_of) == []
    assert upkeep.remove_done(entries_of, 3600) == []
    assert entries_of.add(OBJECT) == queue.DUPLICATE
    assert deliveries(entries_of) == [
        ("original", "a", "queued"),
        ("result", "a", "queued"),
        ("original", "b", "queued"),
    ]
    names = [give_up(entries_of, name) for name in ("a", "b")]
    entries.discard(entries_of, settings, names, unsent_originals=True)
    assert upkeep.remove_done(entries_of, -1) == ["objects/1.dcm", "results/1.dcm"]
    assert [row[0] for row in entries_of.rows("SELECT DISTINCT event FROM events")] == ["discarded"]


def test_discarded_processing_lets_the_original_pass_alone(node):
    _, settings, entries_of = node
    entries_of.finish(entries_of.claim(), schema.FAILED, "took too long")
    assert entries.discard(entries_of, settings, ["processing:1"]) == 1
    assert entries_of.rows("SELECT state FROM instances")[0][0] == schema.PASSED
    assert operating.quarantine(entries_of, settings) == []
    send(entries_of, "a")
    send(entries_of, "b")
    assert upkeep.remove_done(entries_of, -1) == ["objects/1.dcm"]


def test_release_to_another_destination_takes_the_result_along(node):
    """The original first (G-14); a result that is released alone brings its original, which c never had."""
    path, _, entries_of = node
    original = give_up(entries_of, "a")
    assert run("quarantine", "release", str(path), original, "--destination", "c") == 0
    process(entries_of)
    expected = [("original", "b", "queued"), ("original", "c", "queued"), ("result", "c", "queued")]
    assert deliveries(entries_of) == expected
    assert [each.kind for each in entries_of.due("c", 9)] == ["original"]
    with pytest.raises(InputError, match="unknown destination d; expected a, b, c"):
        run("quarantine", "release", str(path), original, "--destination", "d")
    send(entries_of, "c")
    assert deliveries(entries_of)[1:] == [("original", "c", "sent"), ("result", "c", "sent")]
    assert run("resend", str(path), "2.25.1", "--destination", "a") == 0
    assert deliveries(entries_of)[:2] == [("original", "a", "queued"), ("result", "a", "queued")]


def test_release_by_the_present_rules(node):
    """The rule of now sends to c, without a result; where none applies, nothing is changed."""
    path, _, entries_of = node
    original = give_up(entries_of, "a")
    assert run("quarantine", "release", str(path), original, "--present_rules") == 0
    assert deliveries(entries_of) == [("original", "b", "queued"), ("original", "c", "queued")]
    entries_of.finish(entries_of.claim(), schema.FAILED, "took too long")
    assert run("quarantine", "release", str(path), "processing:1", "--present_rules") == 0
    assert tuple(entries_of.rows("SELECT state, model, result_to FROM instances")[0]) == (schema.PASSED, "", "")
    other = give_up(entries_of, "b")
    path.write_text(path.read_text().replace('"CR"', '"MR"'), encoding="utf-8")
    with pytest.raises(InputError, match="no rule of the configuration applies"):
        run("quarantine", "release", str(path), other, "--present_rules")
    assert deliveries(entries_of)[0] == ("original", "b", "failed")


@pytest.mark.parametrize("model, scale, kept", [("bicubic", 2, False), ("m", 2, True)])
def test_a_result_of_the_former_model_is_not_taken_for_that_of_the_present_rules(node, model, scale, kept):
    """It may be complete where its end was not recorded, and a worker uses what it finds."""
    _, settings, entries_of = node
    entries_of.finish(entries_of.claim(), schema.FAILED, "its end could not be recorded")
    rule = dataclasses.replace(settings.rules[0], send="original and result", model=model, scale=scale)
    assert rerouting.release_by_rules(entries_of, dataclasses.replace(settings, rules=(rule,)), ["processing:1"]) == 1
    assert (settings.node.spool / "results" / "1.dcm").exists() == kept
    assert entries_of.claim().model == model


def test_deliveries_to_a_destination_that_is_none_any_more_can_be_moved(node, capsys):
    """A renamed destination: what a node still records about the old number changes nothing."""
    path, _, entries_of = node
    old = entries_of.due("a", 9)[0]
    path.write_text(path.read_text().replace('name = "a"', 'name = "new"'), encoding="utf-8")
    assert run("quarantine", "list", str(path)) == 0
    assert f"delivery:{old.id}  original of object 1: a is no destination" in capsys.readouterr().out
    with pytest.raises(InputError, match="with --destination"):
        run("quarantine", "release", str(path), f"delivery:{old.id}")
    assert run("quarantine", "release", str(path), f"delivery:{old.id}", "--destination", "new") == 0
    entries_of.sent(old, "a", "")
    assert deliveries(entries_of) == [("original", "b", "queued"), ("original", "new", "queued")]


def test_what_was_not_committed_can_be_moved_or_discarded(node):
    """An archive that says it lacks the object: it is an unsent original."""
    path, settings, entries_of = node
    commitments.begin(entries_of, ["b"])
    send(entries_of, "b")
    due = commitments.due(entries_of, "b", 9)
    commitments.request(entries_of, "b", "9.9", due, 60)
    commitments.report(entries_of, ["b"], "9.9", [], {next(iter(due.values())): "failure reason 0112"})
    name = f"commitment:{next(iter(due))}"
    with pytest.raises(InputError, match="including_unsent_originals"):
        entries.discard(entries_of, settings, [name])
    assert run("quarantine", "release", str(path), name, "--destination", "c") == 0
    assert [row[:2] for row in deliveries(entries_of)] == [("original", "a"), ("original", "c")]
    assert entries_of.rows("SELECT * FROM commitments") == []


def test_resend_queues_what_was_sent_and_refuses_what_is_gone(node):
    path, settings, entries_of = node
    process(entries_of)
    send(entries_of, "a")
    send(entries_of, "b")
    uid = gateway_helpers.pydicom.dcmread(settings.node.spool / OBJECT.file, specific_tags=["SeriesInstanceUID"])
    series = str(uid.SeriesInstanceUID)
    assert run("resend", str(path), "--series", series, "--destination", "b") == 0
    assert deliveries(entries_of)[2] == ("original", "b", "queued")
    assert run("resend", str(path), "1.2.3", "--destination", "a", "--results") == 0
    assert {row[2] for row in deliveries(entries_of)} == {"queued"}
    assert [each.kind for each in entries_of.due("a", 9)] == ["original"]
    for words in (["1.2.9"], ["--series", "1.2.9"], ["1.2.3", "1.2.9"]):
        with pytest.raises(InputError, match="the spool still has"):
            run("resend", str(path), *words, "--destination", "a")
    with pytest.raises(InputError, match="Received: neither"):
        run("resend", str(path), "--destination", "a")
    (settings.node.spool / OBJECT.file).unlink()
    with pytest.raises(InputError, match="object 1 is missing"):
        run("resend", str(path), "1.2.3", "--destination", "a")


@pytest.mark.large
def test_a_running_node_sends_again(tmp_path):
    archive = Archive()
    path = image(tmp_path, 1)
    with running(tmp_path, configuration({"archive": archive.port})) as node:
        assert node.send(path) == [0x0000]
        archive.wait(1)
        wait_for(lambda: node.rows("SELECT state FROM deliveries") == [("sent",)], "the record")
        assert main(["resend", str(node.config), uid_of(path), "--destination", "archive"]) == 0
        wait_for(lambda: archive.uids() == [uid_of(path)] * 2, "the object once more")
        time.sleep(0.2)
    archive.close()
    assert archive.arrived[0] == archive.arrived[1]
