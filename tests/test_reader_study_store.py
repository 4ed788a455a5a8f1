"""Readers and answers in the database: durability, integrity checks, and blinding until the export."""

import collections
import csv
import json
import os
import shutil
import sqlite3

import numpy as np
import pytest
from reader_study_helpers import ARMS, Time, answer, build, checks, read_all

import tfmisr
from tfmisr.edge.errors import InputError
from tfmisr.reader_study import csv_export, exporting, frozen, ordering, screens, simulated, verification
from tfmisr.reader_study.answer import Refused
from tfmisr.reader_study.store import Store


@pytest.fixture
def clock():
    return Time()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built")).folder


@pytest.fixture
def store(built, tmp_path, clock):
    shutil.copytree(built, tmp_path / "study")
    with Store(frozen.Study(tmp_path / "study"), clock) as found:
        found.add_reader("anna")
        yield found


@pytest.fixture
def reader(store):
    return {label: number for number, label in store.readers()}["anna"]


def edit(store, query, *values):
    """Changes the database behind the program's back, as somebody with the file could."""
    with sqlite3.connect(store.database.path) as database:
        for name in ("audit_no_update", "audit_no_delete"):
            database.execute(f"DROP TRIGGER IF EXISTS {name}")
        assert database.execute(query, values).rowcount == 1
    database.close()


#
def test_database_keeps_what_it_has_acknowledged(store):
    assert store.database.rows("PRAGMA journal_mode") == [("wal",)]
    assert store.database.rows("PRAGMA synchronous") == [(2,)]  # FULL


#
def test_reader_gets_the_order_of_the_study_and_its_label(store, reader):
    plain = [ordering.Trial(t.case, t.arms, t.session, t.training, t.repeat) for t in store.trials(reader)]
    assert plain == ordering.order(store.study.plan, "anna")
    tokens = [token for trial in store.trials(reader) for _, token in store.panes(trial)]
    assert len(set(tokens)) == len(tokens) and {len(token) for token in tokens} == {32}


#
def test_only_hashes_of_tokens_are_kept(store):
    token = store.add_reader("ben")
    assert len(token) == 43  # 256 bits
    content = b"".join(path.read_bytes() for path in store.study.folder.glob("study.db*"))
    assert token.encode() not in content
    assert store.label(store.reader_of(token)) == "ben"
    new = store.reissue("ben")
    assert store.reader_of(token) is None and store.label(store.reader_of(new)) == "ben"
    admin = store.new_admin()
    assert store.is_admin(admin) and not store.is_admin(new) and not store.is_admin("")
    assert store.reader_of(admin) is None


@pytest.mark.parametrize("label", ["", " x", "a/b", "a\nb", "<b>", "x" * 41, "simulated-1", "anna"])
def test_inadmissible_label_is_refused(store, label):
    with pytest.raises(InputError):
        store.add_reader(label)


#
def test_answer_is_final_and_a_second_one_is_refused_and_recorded_in_the_audit_log(store, reader):
    trial = store.trials(reader)[0]
    store.commit(reader, trial.token, answer({"quality": 4, "usefulness": 3}))
    with pytest.raises(Refused, match="has been answered"):
        store.commit(reader, trial.token, answer({"quality": 1, "usefulness": 1}))
    assert store.answers(trial) == {"quality": 4, "usefulness": 3}
    rows = store.database.rows("SELECT actor, details FROM audit WHERE event = 'refused'")
    assert rows[0][0] == "anna" and json.loads(rows[0][1])["answers"] == {"quality": 1, "usefulness": 1}


#
def test_answer_that_is_sent_again_because_its_receipt_was_lost_counts_once(store, reader):
    trial, sent = store.trials(reader)[0], answer()
    store.commit(reader, trial.token, sent)
    store.commit(reader, trial.token, sent)
    assert store.database.rows("SELECT count(*) FROM commits") == [(1,)]
    assert store.waiting(reader)[0].position == 2


#
@pytest.mark.parametrize(
    "values",
    [
        {"quality": 4},
        {"quality": 4, "usefulness": 6},
        {"quality": 4, "usefulness": 0},
        {"quality": 4, "usefulness": True},
        {"quality": 4, "usefulness": 2.0},
        {"quality": 4, "usefulness": "3"},
        {"quality": 4, "usefulness": 3, "more": 1},
        {"preference": "left"},
        [4, 3],
    ],
)
def test_all_questions_need_an_answer_from_1_to_5(store, reader, values):
    with pytest.raises(InputError):
        store.commit(reader, store.trials(reader)[0].token, answer(values))
    assert store.last(reader) is None


#
def test_trials_are_answered_in_their_order_by_their_reader(store, reader):
    with pytest.raises(Refused, match="another trial comes first"):
        store.commit(reader, store.trials(reader)[1].token, answer())
    store.add_reader("ben")
    with pytest.raises(InputError, match="expected a trial of this reader"):
        store.commit(reader + 1, store.trials(reader)[0].token, answer())


#
def test_last_answer_may_be_changed_where_the_study_allows_it_and_the_old_one_is_kept(tmp_path):
    with Store(build(tmp_path, reading={"allow_back": True})) as store:
        store.add_reader("anna")
        first, second, third = store.trials(1)[:3]
        for trial in (first, second):
            store.commit(1, trial.token, answer({"quality": 1, "usefulness": 1}))
        assert screens.state(store, 1)["previous"]["answers"] == {"quality": 1, "usefulness": 1}
        store.commit(1, second.token, answer({"quality": 5, "usefulness": 5}))
        with pytest.raises(Refused):
            store.commit(1, first.token, answer())
        assert store.answers(second) == {"quality": 5, "usefulness": 5}
        assert store.waiting(1)[0].id == third.id
        logged = store.database.rows("SELECT details FROM audit WHERE event = 'answer' ORDER BY seq")
        assert [json.loads(row[0])["version"] for row in logged] == [1, 1, 2]
        assert '\\"quality\\": 1' in logged[1][0]
        assert verification.integrity_errors(store) == []


#
def test_older_page_does_not_replace_an_answer_that_it_has_not_seen(tmp_path):
    with Store(build(tmp_path, training=0, reading={"allow_back": True})) as store:
        store.add_reader("anna")
        trial, low, high = store.trials(1)[0], {"quality": 1, "usefulness": 1}, {"quality": 5, "usefulness": 5}
        first, second = answer(low), answer(high)
        store.commit(1, trial.token, first, seen=0)
        with pytest.raises(Refused, match="another version of this answer is stored") as refused:
            store.commit(1, trial.token, second, seen=0)
        assert refused.value.stored == {"version": 1, "answers": low}
        assert screens.state(store, 1)["previous"]["version"] == 1
        store.commit(1, trial.token, first, seen=0)  # sent again: its receipt was lost
        store.commit(1, trial.token, second, seen=1)
        store.commit(1, trial.token, second, seen=1)
        for late in (first, answer(low)):  # the receipt was lost, and another page has replaced the answer since
            with pytest.raises(Refused, match="another version"):
                store.commit(1, trial.token, late, seen=0)
        with pytest.raises(Refused, match="another version"):
            store.commit(1, store.trials(1)[1].token, answer(), seen=1)
        assert store.stored(trial) == {"version": 2, "answers": high}
        assert store.database.rows("SELECT version FROM commits") == [(1,), (2,)]
        refusals = store.database.rows("SELECT details FROM audit WHERE event = 'refused'")
        assert [json.loads(row[0])["seen"] for row in refusals] == [0, 0, 0, 1]
        assert verification.integrity_errors(store) == []


#
def test_zoom_and_interpolation_are_stored_logged_and_exported(store, reader, tmp_path):
    views = ({"zoom": 1.5, "interpolation": "nearest"}, {"zoom": 1, "interpolation": None}, {})
    for number, changes in enumerate(views):
        store.commit(reader, store.trials(reader)[number].token, answer(**changes))
    assert verification.integrity_errors(store) == []
    logged = [json.loads(row[0]) for row in store.database.rows("SELECT details FROM audit WHERE event = 'answer'")]
    found = [(row.get("zoom"), row.get("interpolation")) for row in logged]
    assert found == [(1.5, "nearest"), (1, None), (None, None)]
    exporting.export(store, tmp_path / "out", force=True)
    with open(tmp_path / "out" / "ratings.csv", newline="") as file:
        found = [(row["zoom"], row["interpolation"]) for row in csv.DictReader(file)]
    assert found == [("1.5", "nearest")] * 2 + [("1.0", "")] * 2 + [("", "")] * 2


#
@pytest.mark.parametrize("trial,value", [(1, "2"), (1, "NULL"), (2, "1")])
def test_edited_zoom_is_found(store, reader, trial, value):
    for number, changes in enumerate(({"zoom": 1.5}, {})):
        store.commit(reader, store.trials(reader)[number].token, answer(**changes))
    edit(store, f"UPDATE commits SET zoom = {value} WHERE trial = {trial}")
    assert verification.integrity_errors(store) == [f"the answer of anna to trial {trial} was changed"]


#
def test_address_of_the_server_is_kept(store):
    assert store.url() is None
    store.record_url("https://reading.example:8765")
    assert store.url() == "https://reading.example:8765" and verification.integrity_errors(store) == []


#
def test_times_are_the_servers_and_idle_time_is_apart(store, reader, clock):
    store.commit(
        reader, store.trials(reader)[0].token, answer(elapsed_ms=9000.0, first_input_ms=2500.0, idle_ms=6000.0)
    )
    clock.forward(seconds=10)
    store.commit(
        reader, store.trials(reader)[1].token, answer(elapsed_ms=9000.0, first_input_ms=2500.0, idle_ms=7500.0)
    )
    slow, fast = (kept for _, _, kept in store.commits(reader))
    assert slow["committed_at"] == "2026-01-02T03:04:05.000+00:00"
    assert slow["shown_at"] == "2026-01-02T03:03:56.000+00:00"
    assert slow["first_input_at"] == "2026-01-02T03:03:58.500+00:00"
    assert (slow["idle_ms"], slow["active_ms"], slow["too_fast"]) == (6000, 3000, 0)
    assert (fast["active_ms"], fast["too_fast"]) == (1500, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"idle_ms": 6000.0},
        {"first_input_ms": 5001.0},
        {"elapsed_ms": float("nan")},
        {"elapsed_ms": -1.0},
        {"elapsed_ms": 1e12},
        {"elapsed_ms": "1"},
        {"window_width": float("inf")},
        {"window_width": 0},
        {"window_width": -400.0},
        {"zoom": 0},
        {"zoom": -1.0},
        {"zoom": float("nan")},
        {"zoom": "1"},
        {"zoom": True},
        {"interpolation": "bicubic"},
        {"interpolation": ["smooth"]},
        {"submission": "short"},
        {"submission": None},
    ],
)
def test_impossible_times_are_refused(changes):
    with pytest.raises(InputError):
        answer(**changes)


#
def test_second_session_is_refused_before_its_day(tmp_path, clock):
    with Store(build(tmp_path, order={"sessions": 2, "washout_days": 28, "repeats": 0.0}), clock) as store:
        store.add_reader("anna")
        first = [trial for trial in store.trials(1) if trial.session == 1]
        read_all(store, 1, len(first))
        later = store.waiting(1)[0]
        assert screens.state(store, 1)["phase"] == "waiting"
        assert screens.state(store, 1)["not_before"] == "2026-01-30T03:04:05+00:00"
        assert screens.state(store, 1)["trial"] is None
        with pytest.raises(Refused, match="the next session has not begun"):
            store.commit(1, later.token, answer())
        clock.forward(days=28)
        assert screens.state(store, 1)["phase"] == "reading"
        store.commit(1, later.token, answer())


#
def test_page_gets_neither_case_nor_arm_nor_repeat_flag(store, reader):
    forbidden = ("armadillo", "buffalo", "caracal", "case-", "repeat", store.study.hash)
    for trial in store.trials(reader):
        state = screens.state(store, reader)
        text = json.dumps(state)
        assert not any(word in text for word in forbidden)
        assert set(state["trial"]) == {"token", "training", "preference", "panes", "shown"}
        store.commit(reader, trial.token, answer())
    assert screens.state(store, reader)["phase"] == "done"


#
def test_display_check_is_kept_with_its_time(store, reader):
    store.record_display(reader, screens.display_check(checks()))
    assert store.displays(reader) == [{"at": "2026-01-02T03:04:05.000+00:00", **checks()}]
    for name, value in (
        ("ambient", "bright"),
        ("redraw_ms", float("nan")),
        ("user_agent", "x" * 301),
        ("dark_square", 1),
    ):
        with pytest.raises(InputError, match=f"{name} is out of range"):
            screens.display_check({**checks(), name: value})
    with pytest.raises(InputError, match="expected dark_square"):
        screens.display_check({**checks(), "more": 1})


#
@pytest.mark.parametrize(
    "query,expected",
    [
        ("UPDATE audit SET details = replace(details, '4', '5') WHERE seq = 5", "audit row 5 was changed"),
        ("UPDATE audit SET at = '2020' WHERE seq = 3", "audit row 3 was changed"),
        ("UPDATE audit SET actor = 'ben' WHERE seq = 4", "audit row 4 was changed"),
        ("DELETE FROM audit WHERE seq = 4", "audit row 4 is missing"),
        ("DELETE FROM audit WHERE seq = 1", "audit row 1 is missing"),
        ("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", "the answer of anna to trial 4 was changed"),
        (
            """UPDATE commits SET answers = '{"quality": 5, "usefulness": 5}' WHERE trial = 2""",
            "the answer of anna to trial 2 was changed",
        ),
        ("UPDATE commits SET active_ms = 1 WHERE trial = 3", "the answer of anna to trial 3 was changed"),
        ("DELETE FROM commits WHERE trial = 4", "the answer of anna to trial 4 was changed"),
        (
            """UPDATE trials SET arms = '["caracal"]' WHERE arms != '["caracal"]' AND id = (SELECT min(id) FROM trials
            WHERE arms != '["caracal"]')""",
            "the order of anna was changed",
        ),
        ("UPDATE trials SET training = 0 WHERE id = 1", "the order of anna was changed"),
        ("UPDATE panes SET digest = 'x' WHERE trial = 3", "the images of anna's trial 3 were changed"),
        ("UPDATE displays SET content = '{}'", "a display check was changed"),
        (
            "UPDATE readers SET label = 'ben' WHERE id = 1",
            "reader anna was added, removed, renamed or flagged as simulated or not",
        ),
        ("UPDATE readers SET simulated = 1", "reader anna was added, removed, renamed or flagged as simulated or not"),
        ("INSERT INTO meta VALUES ('closed_at', 'now')", "the study was closed, but not by this program"),
    ],
)
def test_edited_row_is_found(store, reader, query, expected):
    store.record_display(reader, checks())
    read_all(store, reader, 4)
    assert verification.integrity_errors(store) == []
    edit(store, query)
    assert expected in verification.integrity_errors(store)


#
@pytest.mark.parametrize(
    "query",
    [
        "UPDATE audit SET details = 'x' WHERE seq = 2",
        "UPDATE audit SET details = '{}' WHERE seq = 2",
        "UPDATE trials SET arms = 'x' WHERE id = 1",
    ],
)
def test_edit_that_leaves_no_sense_is_found(store, reader, query):
    read_all(store, reader, 2)
    edit(store, query)
    assert any("content that this program does not write" in line for line in verification.integrity_errors(store))


#
def test_audit_log_is_only_added_to(store):
    with pytest.raises(sqlite3.DatabaseError, match="append only"):
        store.database.execute("UPDATE audit SET actor = 'x'")
    with pytest.raises(sqlite3.DatabaseError, match="append only"):
        store.database.execute("DELETE FROM audit")


#
def test_earlier_hash_reveals_a_truncated_audit_log(store, reader):
    read_all(store, reader, 2)
    _, noted = store.audit_head()
    read_all_from(store, reader, 2)
    assert verification.integrity_errors(store, noted) == []
    # The answer and its row of the log, both gone: only the noted hash knows.
    _, last = store.audit_head()
    edit(store, "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
    edit(store, "DELETE FROM commits WHERE trial = (SELECT max(trial) FROM commits)")
    assert verification.integrity_errors(store) == []
    assert "it was truncated" in verification.integrity_errors(store, last)[0]


def read_all_from(store, reader, start):
    for trial in store.trials(reader)[start:]:
        store.commit(reader, trial.token, answer())


#
@pytest.mark.parametrize("edited", ["DELETE FROM meta", "UPDATE meta SET value = '2020'"])
def test_study_that_was_opened_again_is_found(store, edited):
    store.close_study()
    assert verification.integrity_errors(store) == []
    edit(store, f"{edited} WHERE key = 'closed_at'")
    assert "the study was reopened, or its closing time was changed" in verification.integrity_errors(store)[0]


#
def test_changed_pixels_are_found(store):
    path = next((store.study.folder / "pixels").iterdir())
    path.write_bytes(b"\0" * path.stat().st_size)
    assert verification.integrity_errors(store) == [f"pixels {path.stem} were changed"]


def test_database_of_another_study_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = build(tmp_path / "a"), build(tmp_path / "b", seed=8)
    with Store(first):
        pass
    os.replace(first.folder / "study.db", second.folder / "study.db")
    with pytest.raises(InputError, match="belongs to another study"):
        Store(second)
    (first.folder / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match="cannot be used as the database of a study"):
        Store(first)


#
def test_export_is_refused_while_the_study_is_open_unless_forced_and_is_in_the_audit_log(store, reader, tmp_path):
    with pytest.raises(InputError, match="the study is open, and an export would end the blinding .1 of 1 readers"):
        exporting.export(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    exporting.export(store, tmp_path / "out", force=True)
    assert json.loads((tmp_path / "out" / "study.json").read_text())["export"]["forced"] is True
    store.close_study()
    with pytest.raises(Refused, match="the study is closed"):
        store.commit(reader, store.trials(reader)[0].token, answer())
    with pytest.raises(InputError, match="was closed at"):
        store.add_reader("ben")
    exporting.export(store, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "study.json").read_text())["export"]["forced"] is False
    rows = store.database.rows("SELECT details FROM audit WHERE event = 'unblinded' ORDER BY seq")
    assert [json.loads(row[0])["forced"] for row in rows] == [True, False]
    assert verification.integrity_errors(store) == []


#
def test_export_has_one_row_for_each_answered_question(tmp_path, clock):
    study = build(tmp_path, preference={"text": "Which?", "pairs": [["armadillo", "caracal"]]})
    with Store(study, clock) as store:
        store.add_reader("anna")
        trials = store.trials(1)
        read_all(store, 1, len(trials) - 1)
        store.close_study()
        exporting.export(store, tmp_path / "out")
    with open(tmp_path / "out" / "ratings.csv", newline="") as file:
        ratings = list(csv.DictReader(file))
    single = [trial for trial in trials if len(trial.arms) == 1]
    assert tuple(ratings[0]) == csv_export.RATING_COLUMNS
    expected = [
        (str(t.position), t.case, t.arms[0], question, score, str(int(t.repeat)), str(int(t.training)))
        for t in single
        for question, score in (("quality", "4"), ("usefulness", "3"))
    ]
    keys = ("position", "case", "arm", "question", "score", "repeat", "training")
    assert [tuple(row[key] for key in keys) for row in ratings] == expected
    first = ratings[0]
    assert (first["study_hash"], first["reader"], first["session"]) == (study.hash, "anna", "1")
    assert (first["shown_at"], first["idle_ms"], first["active_ms"]) == ("2026-01-02T03:04:00.000+00:00", "500", "4500")
    assert (first["window_center"], first["software_version"]) == ("2048.0", tfmisr.__version__)
    assert collections.Counter(row["arm"] for row in ratings if row["training"] == "1") == dict.fromkeys(ARMS, 2)
    with open(tmp_path / "out" / "preferences.csv", newline="") as file:
        preferences = list(csv.DictReader(file))
    pairs = [trial for trial in trials if len(trial.arms) == 2][:-1]
    assert [(p["case"], p["arm_left"], p["arm_right"], p["choice"]) for p in preferences] == [
        (t.case, *t.arms, "left") for t in pairs
    ]
    exported = json.loads((tmp_path / "out" / "study.json").read_text())
    assert exported["hash"] == study.hash and exported["export"]["readers"][0]["answered"] == len(trials) - 1
    assert frozen.digest({key: value for key, value in exported.items() if key != "export"}) == study.hash


#
def test_changed_answers_are_not_exported_unless_forced(store, reader, tmp_path):
    read_all(store, reader, 2)
    store.close_study()
    edit(store, "UPDATE commits SET idle_ms = 0 WHERE trial = 1")
    with pytest.raises(InputError, match="changed by other means"):
        exporting.export(store, tmp_path / "out")
    exporting.export(store, tmp_path / "out", force=True)
    assert json.loads((tmp_path / "out" / "study.json").read_text())["export"]["broken"]


#
def test_simulated_readers_are_called_so_in_every_row(store, tmp_path):
    rng = np.random.default_rng(0)

    def answer_of(trial):
        return {key: int(rng.integers(1, 6)) for key in store.keys}

    simulated.answer_all_trials(store, "simulated-1", answer_of)
    with pytest.raises(InputError, match="begins with simulated-"):
        simulated.answer_all_trials(store, "carl", answer_of)
    store.close_study()
    exporting.export(store, tmp_path / "out")
    with open(tmp_path / "out" / "ratings.csv", newline="") as file:
        ratings = list(csv.DictReader(file))
    assert {row["reader"] for row in ratings} == {"simulated-1"}
    assert all(row["software_version"].endswith(" simulated") for row in ratings)
    readers = json.loads((tmp_path / "out" / "study.json").read_text())["export"]["readers"]
    assert [(r["label"], r["simulated"]) for r in readers] == [("anna", False), ("simulated-1", True)]
    assert verification.integrity_errors(store) == []


def test_simulated_readers_have_different_times(store):
    for label in ("simulated-1", "simulated-2"):
        simulated.answer_all_trials(store, label, lambda trial: dict.fromkeys(store.keys, 3))
    one, other = ([kept["active_ms"] for _, _, kept in store.commits(number)] for number, _ in store.readers()[1:])
    assert not set(one) & set(other)
