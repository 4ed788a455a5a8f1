import copy
import csv
import html
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
import reader_study_helpers

from tfmisr.edge.errors import InputError
from tfmisr.reader_study import __main__ as study
from tfmisr.reader_study.report import formats, page, pair_sentences, sentences, table, tables
from tfmisr.reader_study.statistics import agreement, ratings, summary

STAMP = "SIMULATED READERS"


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Few resamples: the precision of the intervals of agreement does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A complete export of simulated readers."""
    folder = tmp_path_factory.mktemp("exported")
    study.main(
        [
            "simulate",
            "export",
            "--output",
            str(folder),
            "--cases",
            "6",
            "--arms",
            "low",
            "net",
            "truth",
            "--preferences",
        ]
    )
    return folder


@pytest.fixture(scope="module")
def report(exported, tmp_path_factory):
    """Its report."""
    folder = tmp_path_factory.mktemp("report")
    assert study.main(["analyze", str(exported), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def found(exported):
    """Its results; not to be changed."""
    return results(exported)


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def changed(exported, folder, change, name="ratings.csv"):
    """A copy of the export with each row of a table changed, or dropped, by a function."""
    if folder != exported:
        shutil.copytree(exported, folder, dirs_exist_ok=True)
    found = rows(exported / name)
    kept = [row for row in (change(dict(row)) for row in found) if row]
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(kept)
    return folder


def described(exported, folder, change):
    """A copy of the export with a changed study.json."""
    shutil.copytree(exported, folder, dirs_exist_ok=True)
    values = json.loads((exported / "study.json").read_text())
    change(values)
    (folder / "study.json").write_text(json.dumps(values))
    return folder


def results(folder):
    found = ratings.read_study(folder / "study.json")
    answers = ratings.read_ratings(folder / "ratings.csv", found)
    return summary.summarize(
        found, answers, ratings.read_preferences(folder / "preferences.csv", found, answers.readers)
    )


def test_r24_one_command_writes_page_numbers_and_tables(report):
    names = {path.name for path in report.iterdir()}
    assert {"report.html", "results.json", "means.csv", "counts.csv", "pairs.csv", "noninferiority.csv"} <= names
    assert {
        "agreement.csv",
        "reader_pairs.csv",
        "within_reader.csv",
        "times.csv",
        "flow.csv",
        "preferences.csv",
    } <= names
    found = json.loads((report / "results.json").read_text(encoding="utf-8"))
    text = (report / "report.html").read_text(encoding="utf-8")
    assert found["study"]["hash"] in text
    assert {"tfmisr", "numpy", "scipy", "python", "answers taken by"} <= set(found["versions"])
    assert all(version in text for version in (found["versions"]["numpy"], found["versions"]["scipy"]))


def test_simulated_readers_are_stamped_on_every_page_table_and_file(report):
    for path in report.iterdir():
        if path.suffix == ".csv":
            assert all(row["warning"] == STAMP for row in rows(path)), path.name
        else:
            assert STAMP in path.read_text(encoding="utf-8")
    text = (report / "report.html").read_text(encoding="utf-8")
    assert json.loads((report / "results.json").read_text(encoding="utf-8"))["warning"] == STAMP
    assert text.count(f"<caption><strong>{STAMP}.</strong>") == text.count("<caption>")
    assert all(STAMP in svg for svg in re.findall("<svg.*?</svg>", text, re.DOTALL))
    assert '@top-center { content: "SIMULATED READERS"' in text  # of each printed page


def test_simulated_export_is_marked_in_every_row(exported):
    assert json.loads((exported / "study.json").read_text())["simulated"] is True
    for name in ("ratings.csv", "preferences.csv"):
        for row in rows(exported / name):
            assert row["reader"].startswith("simulated-") and STAMP in row["software_version"]


def test_report_is_stamped_if_and_only_if_a_reader_is_simulated(exported, tmp_path):
    def people(values):
        del values["simulated"]
        values["title"] = "A study"

    def one(values):
        people(values)
        values["export"] = {"readers": [{"label": "a", "simulated": False}, {"label": "b", "simulated": True}]}

    found = results(described(exported, tmp_path / "people", people))
    assert "warning" not in found and 'class="stamp"' not in page.page(found)
    assert all("warning" not in table.as_csv(t, False).partition("\n")[0] for t in tables.all_tables(found).values())
    assert results(described(exported, tmp_path / "one", one))["warning"] == STAMP


def test_r18_counts_and_means_are_those_of_the_first_readings(exported, report):
    first = [r for r in rows(exported / "ratings.csv") if r["training"] == r["repeat"] == "0"]
    for row in rows(report / "means.csv"):
        scores = [int(r["score"]) for r in first if (r["question"], r["arm"]) == (row["question"], row["arm"])]
        assert int(row["answers"]) == len(scores) == 18
        np.testing.assert_allclose(float(row["mean"]), np.mean(scores))
        np.testing.assert_allclose(float(row["sd"]), np.std(scores, ddof=1))
        assert 1 <= float(row["low"]) <= float(row["mean"]) <= float(row["high"]) <= 5
    for row in rows(report / "counts.csv"):
        assert sum(int(row[f"score_{i}"]) for i in range(1, 6)) == int(row["answers"])


def test_r18_bootstrap_over_readers_and_cases_is_on_the_page(found):
    shown = tables.all_tables(found)
    for name, ends in (("counts", {}), ("pairs", {"sign": True})):
        place = shown[name].header.index("bootstrap")
        records = [r for q in found["questions"].values() for r in _bootstrapped(q, name)]
        expected = [
            f"{formats.number(r['bootstrap_low'], **ends)} to {formats.number(r['bootstrap_high'], **ends)}"
            for r in records
        ]
        assert [row[place] for row in shown[name].rows] == expected


def _bootstrapped(question, name):
    return question["arms"].values() if name == "counts" else [pair["difference"] for pair in question["pairs"]]


def test_r24_plan_of_the_study_file_is_in_the_report(exported, found, tmp_path):
    plan = "First A & B, -0.5 at most."
    planned = results(described(exported, tmp_path, lambda values: values["analysis"].update(plan=plan)))
    assert planned["study"]["plan"] == plan
    assert "<dt>Analysis plan, as fixed in the study file</dt><dd>First A &amp; B, −0.5 at most.</dd>" in page.page(
        planned
    )
    assert found["study"]["plan"] == "" and "Analysis plan" not in page.page(found)


def test_r24_refused_analysis_leaves_no_folder(tmp_path):
    reader_study_helpers.build(tmp_path)
    with pytest.raises(InputError, match="the study is open"):
        study.main(["analyze", str(tmp_path / "study"), "--output", str(tmp_path / "report")])
    assert not (tmp_path / "report").exists()


def test_strengths_of_preferences_stand_in_a_table(found):
    shown = tables.all_tables(found)["strengths"]
    arms = found["preferences"]["arms"]
    assert [row[0] for row in shown.rows] == list(arms)
    for row, record, arm in zip(shown.rows, shown.records, arms.values(), strict=True):
        assert {key: record[key] for key in arm} == arm
        assert row[1] == formats.interval({"mean": arm["log_strength"], **arm}, sign=True)
    assert "strengths.csv" in page.page(found)


def test_r04_training_is_excluded(exported, found, tmp_path):
    spoiled = changed(exported, tmp_path, lambda r: {**r, "score": "1"} if r["training"] == "1" else r)
    assert results(spoiled)["questions"] == found["questions"]


def test_r21_repeats_count_for_agreement_within_readers_only(exported, found, tmp_path):
    spoiled = changed(exported, tmp_path, lambda r: {**r, "score": "1"} if r["repeat"] == "1" else r)
    before, after = found["questions"]["quality"], results(spoiled)["questions"]["quality"]
    assert before["agreement"]["within reader"] != after["agreement"]["within reader"]
    after["agreement"]["within reader"] = before["agreement"]["within reader"]
    assert before == after


def test_second_reading_without_its_flag_is_a_repeat(exported, found, tmp_path):
    unflagged = changed(exported, tmp_path, lambda r: {**r, "repeat": "0"})
    assert results(unflagged)["questions"] == found["questions"]


def test_repeat_without_its_first_reading_is_excluded(exported, tmp_path):
    again = next(row for row in rows(exported / "ratings.csv") if row["repeat"] == "1")
    image = [again[key] for key in ("reader", "case", "arm")]
    same = [row for row in rows(exported / "ratings.csv") if [row[key] for key in ("reader", "case", "arm")] == image]
    assert {row["repeat"] for row in same} == {"0", "1"}
    first = {row["position"] for row in same if row["repeat"] == "0"}
    lost = changed(exported, tmp_path, lambda r: None if r["reader"] == image[0] and r["position"] in first else r)
    part = results(lost)["flow"][0]
    assert (part["missing"], part["repeats"] - part["repeats_with_a_first_reading"]) == (1, 1)


def test_r24_flow_adds_up(found):
    for part in found["flow"]:
        assert part["answers"] == part["training"] + part["repeats"] + part["analysed"]
        assert part["possible"] == part["analysed"] + part["missing"] == 3 * 3 * 6
        assert part["repeats"] == part["repeats_with_a_first_reading"] == 3 * round(0.15 * 18)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"export": {"forced": True}}, "The study was open when its answers were exported"),
        (
            {"export": {"broken": ["audit row 5 was changed", "x"]}},
            "means than this program (2 findings): audit row 5 was",
        ),
        ({"export": {"readers": [{"label": "<b>", "answered": 0, "trials": 9}]}}, "not finished: <b> (0 of 9)"),
        ({"patients": 4}, "The 6 cases are of 4 patients"),
    ],
)
def test_r24_limitations_are_at_the_head_of_the_report(changes, said, exported, tmp_path, capsys):
    folder = described(exported, tmp_path / "described", lambda values: values.update(changes))
    found = results(folder)
    assert len(found["study"]["cautions"]) == 1 and said in found["study"]["cautions"][0]
    text = page.page(found)
    assert text.index(html.escape(said)) < text.index("Summary")
    assert study.main(["analyze", str(folder), "--output", str(tmp_path / "report")]) == 0
    assert said in capsys.readouterr().out


def test_r24_nothing_is_cautioned_of_without_a_reason(exported, found, tmp_path):
    assert found["study"]["cautions"] == [] and 'class="cautions"' not in page.page(found)
    finished = {"export": {"forced": False, "broken": [], "readers": [{"label": "a", "answered": 9, "trials": 9}]}}
    whole = results(described(exported, tmp_path, lambda values: values.update(finished | {"patients": 6})))
    assert whole["study"]["cautions"] == []


@pytest.mark.parametrize("broken", [{"readers": 3}, {"broken": 3}, {"readers": [{"trials": 3}]}])
def test_odd_notes_of_an_export_are_refused(broken, exported, tmp_path):
    with pytest.raises(InputError, match="missing or invalid"):
        results(described(exported, tmp_path, lambda values: values.update({"export": broken})))


def test_r17_reading_times_count_each_image_once(exported, found):
    trials = {
        (r["reader"], r["position"]): int(r["active_ms"])
        for r in rows(exported / "ratings.csv")
        if r["training"] == "0"
    }
    times = found["times"]["all"]
    assert times["images"] == len(trials)
    np.testing.assert_allclose(times["median"], np.median(list(trials.values())) / 1000)


def test_r19_all_pairs_of_all_questions_are_one_family(found):
    pairs = [p for q in found["questions"].values() for p in q["pairs"]]
    assert len(pairs) == 6
    smallest = min(pairs, key=lambda p: p["p_value"])
    assert smallest["p_holm"] == pytest.approx(min(1, 6 * smallest["p_value"]))


def test_r19_the_page_states_what_is_not_computed(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert "Answers of several readers to one case are not independent" in text
    assert "training block is excluded" in text and "intra-reader agreement only" in text


def test_r20_reference_and_margin_come_from_the_study_file(exported, found, tmp_path):
    verdicts = found["questions"]["quality"]["noninferiority"]
    assert [(v["arm"], v["reference"], v["margin"]) for v in verdicts] == [("low", "truth", 0.5), ("net", "truth", 0.5)]
    without = results(described(exported, tmp_path, lambda v: v["analysis"].update(margins={})))
    assert without["questions"]["quality"]["noninferiority"] == []
    assert "has no non-inferiority margin" in page.page(without)


@pytest.mark.parametrize(
    "ends, p_holm, listed, beside",
    [
        # The planned interval shows a difference and the adjusted test none, the other way round, and both agree.
        ((-2.6, -1.2), 0.086, None, "shows no difference, p 0.086"),
        (
            (-1.0, 0.2),
            0.03,
            "truth over low: difference +1.50, odds ratio 5, higher score in 75%, p 0.030",
            "shows truth over low, p 0.030",
        ),
        ((-2.6, -1.2), 0.03, "truth over low: difference +1.50, odds ratio 5, higher score in 75%, p 0.030", None),
        ((-1.0, 0.2), 0.086, "low and truth: difference −1.50, odds ratio 0.2, higher score in 25%, p 0.086", None),
    ],
)
def test_verdict_and_test_of_one_pair_are_one_statement(found, ends, p_holm, listed, beside):
    found = copy.deepcopy(found)
    question, pair = found["questions"]["quality"], {"first": "low", "second": "truth", "p_holm": p_holm}
    effects = {"difference": {"mean": -1.5, "low": None, "high": None}, "common_language": {"mean": 0.25}}
    question["pairs"] = [pair | effects | {"p_value": 0.01, "odds_ratio": 0.2, "note": ""}]
    question["noninferiority"] = [row for row in question["noninferiority"] if row["arm"] == "low"]
    question["noninferiority"][0]["difference"] |= dict(zip(("low", "high"), ends, strict=True))
    texts = next(iter(sentences.findings(found).values()))
    headings = "Scored higher (p adj", "No significant difference, which does not show equivalence (p adj"
    items = [item for text in texts if text.startswith(headings) for item in text.split("\n")[1:]]
    assert items == ([listed] if listed else [])
    reason = tables.noninferiority(found).rows[0][-1]
    assert any(reason in text for text in texts)
    # Three pairs of the other question and this one.
    assert reason.partition("which unlike the interval is adjusted for 4 tests, ")[2] == (beside or "")


def pair_of(first, second, mean, half, ratio, p_value, p_holm, answers=60):
    """A pair of results.json, as far as a sentence reads it."""
    difference = {"mean": mean, "low": mean - half, "high": mean + half, "answers": answers}
    tested = {"odds_ratio": ratio, "p_value": p_value, "p_holm": p_holm, "note": ""}
    return {"first": first, "second": second, "difference": difference, "common_language": {"mean": 0.6}, **tested}


@pytest.mark.parametrize(
    "second, said",
    [
        # An interval of other width, fewer answers, smaller odds, the adjustment alone, and nothing of these.
        (pair_of("c", "d", 0.3, 0.5, 2.0, 0.3, 0.6), "more in the second (95 % interval ± 0.50 against ± 0.20)."),
        (pair_of("c", "d", 0.3, 0.5, 2.0, 0.3, 0.6, 30), "± 0.20) from 30 answers against 60."),
        (
            pair_of("c", "d", -0.3, 0.2, 0.7, 0.3, 0.6),
            "because the test is of odds, and the odds ratio of the second is 1.43 against 2.",
        ),
        (
            pair_of("c", "d", 0.3, 0.2, 2.0, 0.02, 0.08),
            "because its p of 0.020 is significant alone but not after adjustment for 7 tests.",
        ),
        (
            pair_of("c", "d", 0.3, 0.2, 2.0, 0.051, 0.051),
            "because the two p values (0.003 and 0.051) lie close together.",
        ),
        (pair_of("c", "d", 0.3, 0.2, None, 0.3, 0.6), "lie close together."),
    ],
)
def test_an_equal_difference_that_is_not_significant_has_its_reason(second, said):
    question = {"pairs": [pair_of("a", "b", 0.3, 0.2, 2.0, 0.003, 0.02), second]}
    (sentence,) = pair_sentences.equal_differences(question, 7)
    start = "The difference of 0.30 between a and b is significant (adjusted p 0.020) and the same one of 0.30 between"
    assert sentence.startswith(f"{start} c and d is not (adjusted p {second['p_holm']:.3f}), because ")
    assert sentence.endswith(said)


@pytest.mark.parametrize("mean, words", [(0.34, "a similar one of 0.34"), (0.6, "a larger one of 0.60"), (0.2, None)])
def test_a_smaller_difference_needs_no_reason_and_a_larger_one_does(mean, words):
    pairs = [pair_of("a", "b", 0.3, 0.2, 2.0, 0.003, 0.02), pair_of("c", "d", mean, 0.9, 2.0, 0.3, 0.6)]
    found = list(pair_sentences.equal_differences({"pairs": pairs}, 2))
    assert [words in sentence for sentence in found] == ([True] if words else [])


def test_r19_summary_has_effect_sizes_and_adjusted_p_of_every_pair(found, report):
    text = (report / "report.html").read_text(encoding="utf-8").partition("Mean scores</h2>")[0]
    for question in found["questions"].values():
        for pair in question["pairs"]:
            assert f"p {html.escape(formats.p_text(pair['p_holm']))}" in text
    assert "(p adjusted by Holm&#x27;s method for 6 tests)" in text and "<li><ul>" not in text
    assert text.count("<ul>") == text.count("</ul></li>")


def test_report_is_one_file_that_loads_nothing(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text and "<script" not in text
    assert not re.search(r'(src|href)="(?!#)', re.sub(r"xmlns\S*|xlink:href=\"#[^\"]*\"", "", text))


def test_every_picture_is_well_formed_and_no_id_comes_twice(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    pictures = re.findall("<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 5
    for picture in pictures:
        assert "currentColor" in picture and 'aria-label="' in picture
        xml.etree.ElementTree.fromstring(picture)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert {reference for p in pictures for reference in re.findall(r"url\(#([^)]+)\)", p)} <= set(ids)


def test_names_from_the_study_cannot_become_markup(exported, tmp_path):
    evil = "<script>alert(1)</script>"

    def rename(values):
        values["title"] = values["questions"][0]["text"] = evil
        values["arms"][0]["name"] = "=$x_$ <b>"

    folder = described(exported, tmp_path, rename)
    changed(folder, folder, lambda r: {**r, "arm": "=$x_$ <b>"} if r["arm"] == "low" else r)
    (folder / "preferences.csv").unlink()
    found = results(folder)
    text = page.page(found)
    assert evil not in text and "<b>" not in text and "&lt;script&gt;" in text
    assert ",'=$x_$ <b>," in table.as_csv(tables.all_tables(found)["means"], True)  # no formula for a spreadsheet


def test_odds_ratios_are_formatted_with_and_without_limits():
    assert formats.ratio_text({"mean": 2.345, "low": 0.5, "high": 1e9}) == "2.35 (0.5 to > 999)"
    assert formats.ratio_text({"mean": 2.345, "low": None, "high": None}) == "2.35"
    assert formats.ratio_text({"mean": None, "low": None, "high": None}) == "–"


def test_same_answers_give_the_same_report_in_any_order(exported, report, tmp_path):
    lines = (exported / "ratings.csv").read_text().splitlines()
    shutil.copytree(exported, tmp_path / "turned")
    (tmp_path / "turned" / "ratings.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    study.main(["analyze", str(tmp_path / "turned"), "--output", str(tmp_path / "report")])
    for name in ("report.html", "means.csv", "agreement.csv"):
        assert (tmp_path / "report" / name).read_bytes() == (report / name).read_bytes(), name


ONLY_ONE = {
    "one reader": lambda r: r if r["reader"] == "simulated-1" else None,
    "one case": lambda r: r if r["case"] == "case-001" else None,
    "one answer": lambda r: r if (r["reader"], r["case"], r["arm"]) == ("simulated-1", "case-001", "net") else None,
    "two readers": lambda r: r if r["reader"] != "simulated-3" else None,
    "training only": lambda r: {**r, "training": "1"},
}
SCORES = {
    "all answers equal": lambda r: {**r, "score": "4"},
    "perfect agreement": lambda r: {**r, "score": str(1 + (int(r["case"][-1]) + len(r["arm"])) % 5)},
    "one arm always best": lambda r: {**r, "score": "5" if r["arm"] == "truth" else r["score"]},
    "arms apart": lambda r: {**r, "score": {"low": "1", "net": "3", "truth": "5"}[r["arm"]]},
    "one answer in three missing": lambda r: None if len(r["arm"]) * int(r["position"]) % 3 == 0 else r,
    "an arm nobody rated": lambda r: None if r["arm"] == "net" else r,
    "an unanswered question": lambda r: None if r["question"] == "usefulness" else r,
    "no times": lambda r: {**r, "active_ms": ""},
}


# Drawing takes the most time, and meets nothing new in the others.
PAGES = ("one reader", "one answer", "training only", "an arm nobody rated", "no times")


@pytest.mark.parametrize("what", [*ONLY_ONE, *SCORES])
def test_r22_degenerate_studies_give_a_report_with_sentences(what, exported, tmp_path):
    found = results(changed(exported, tmp_path, {**ONLY_ONE, **SCORES}[what]))
    text = json.dumps(found, allow_nan=False)
    shown = " ".join(part for t in tables.all_tables(found).values() for row in t.rows for part in row)
    shown += page.page(found) if what in PAGES else ""
    assert not re.search(r"\b(nan|inf|None)\b", shown)
    wanted = {
        "one reader": "this reader only",
        "one case": "this case only",
        "one answer": "one answer: no interval",
        "two readers": "two readers: one degree of freedom",
        "training only": "no answers",
        "all answers equal": "all answers are equal",
        "one arm always best": "no finite odds ratio",
        "arms apart": "no finite odds ratio",
    }
    assert wanted.get(what, "") in text


def wrong(column, value, at=3):
    def change(row, seen=[0]):  # noqa: B006  one counter a change
        seen[0] += 1
        return {**row, column: value} if seen[0] == at else row

    return change


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("score", "6", "on the scale in row 4"),
        ("score", "3.5", "whole number in column score, row 4"),
        ("score", "", "whole number in column score, row 4"),
        ("arm", "other", "known arm in row 4 .* Received: 'other'"),
        ("question", "other", "known question in row 4"),
        ("case", "other", "known case in row 4"),
        ("repeat", "yes", "0 or 1 in column repeat, row 4"),
        ("active_ms", "soon", "expected a number in column active_ms"),
        ("active_ms", "nan", "expected a number in column active_ms"),
        ("score", "nan", "whole number in column score, row 4"),
        ("score", "1e300", "on the scale in row 4"),
        ("study_hash", "another", "answers of different studies are not pooled"),
    ],
)
def test_wrong_answers_are_refused_with_row_and_value(column, value, message, exported, tmp_path):
    # Row 4 of the file; training rows may name cases that are not analyzed, so one of the others.
    rated = changed(exported, tmp_path, lambda r: r if r["training"] == "0" else None)
    with pytest.raises(InputError, match=message):
        results(changed(rated, tmp_path / "wrong", wrong(column, value)))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda v: v.pop("arms"), "missing or invalid"),
        (lambda v: v["arms"].append({"name": "net"}), "different names"),
        (lambda v: v["analysis"]["margins"].update(quality=-1), "margin above 0"),
        (lambda v: v["questions"][0].update(anchors=["one"]), "2 to 100 anchors"),
    ],
)
def test_wrong_studies_are_refused(change, message, exported, tmp_path):
    with pytest.raises(InputError, match=message):
        results(described(exported, tmp_path, change))


def test_folders_without_an_export_are_refused(exported, tmp_path):
    with pytest.raises(InputError, match="export or build"):
        study.main(["analyze", str(tmp_path / "nothing"), "--output", str(tmp_path / "r")])
    broken = changed(exported, tmp_path / "broken", lambda r: r)
    (broken / "ratings.csv").write_text("study_hash,reader\n")
    with pytest.raises(InputError, match="expected columns session, position"):
        study.main(["analyze", str(broken), "--output", str(tmp_path / "r")])
    (broken / "study.json").write_text("{")
    with pytest.raises(InputError, match="expected JSON"):
        study.main(["analyze", str(broken), "--output", str(tmp_path / "r")])
    assert not (tmp_path / "r").exists()


def test_r05_sample_size_from_a_pilot(report, tmp_path, capsys):
    arguments = [
        "simulate",
        "size",
        "--pilot",
        str(report / "results.json"),
        "--pair",
        "low",
        "truth",
        "--power",
        "0.5",
    ]
    assert (
        study.main([*arguments, "--readers", "3", "6", "--cases", "10", "--studies", "20", "--output", str(tmp_path)])
        == 0
    )
    found = json.loads((tmp_path / "sample_size.json").read_text())
    model = json.loads((report / "results.json").read_text())["questions"]["quality"]["model"]["within_arms"]
    assert found["assumptions"]["effects"] == [model["log_odds"]["low"], model["log_odds"]["truth"]]
    assert found["assumptions"]["deviations"] == model["deviations"] and found["simulated"] is True
    assert [(r["readers"], r["cases"]) for r in rows(tmp_path / "sample_size.csv")] == [("3", "10"), ("6", "10")]
    assert (tmp_path / "sample_size.png").stat().st_size > 5000
    assert "readings" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["size", "--readers", "1"], "--readers must be 2 or more"),
        (["size", "--seed", "-1"], "--seed must be 0 or more"),
        (["size", "--power", "1.5"], "--power must lie between 0 and 1"),
        (["size", "--half_width", "-1"], "--half_width must be above 0"),
        (["size", "--question", "quality"], "give --pilot"),
        (["size", "--pilot", "nothing.json"], "results.json of a study at nothing.json"),
        (["size", "--thresholds", "1", "0"], "--thresholds must increase"),
        (["export", "--arms", "a"], "--arms must be two or more"),
        (["export", "--effects", "1"], "--effects must be one number an arm, 4"),
        (["export", "--repeats", "2"], "--repeats must be 0 to 1"),
    ],
)
def test_wrong_simulations_are_refused(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        study.main(["simulate", *arguments, "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_help_and_analysis_leave_tensorflow_out(exported, tmp_path):
    program = (
        "import sys; from tfmisr.reader_study.__main__ import main\n"
        f"main(['analyse', {str(exported)!r}, '--output', {str(tmp_path)!r}]); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    program = (
        "import sys; from tfmisr.reader_study.__main__ import main\ntry: main(['simulate', 'size', '--help'])\n"
        "except SystemExit: assert not {'tensorflow', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_r17_a_study_folder_is_exported_and_analysed(tmp_path):
    from tfmisr.reader_study import simulated
    from tfmisr.reader_study.store import Store

    frozen = reader_study_helpers.build(tmp_path)
    with Store(frozen) as store:
        for label in ("simulated-a", "simulated-b"):
            rng = np.random.default_rng(len(label))
            simulated.read(store, label, lambda trial, rng=rng: {key: int(rng.integers(2, 6)) for key in store.keys})
        store.close_study()
    output = tmp_path / "report"
    assert study.main(["analyze", str(frozen.folder), "--output", str(output)]) == 0
    found = json.loads((output / "results.json").read_text())
    assert found["warning"] == STAMP and found["study"]["hash"] == frozen.hash
    assert found["study"]["arms"] == list(reader_study_helpers.ARMS) and found["study"]["reference"] == "caracal"
    assert found["flow"][0]["analysed"] == 2 * 3 * 4
