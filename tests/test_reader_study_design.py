"""Study files: defaults, old and new names, and one line for every mistake."""

import pathlib

import pytest
from reader_study_helpers import ANCHORS

from tfmisr.edge.errors import InputError
from tfmisr.reader_study import design, study_file

EXAMPLE = pathlib.Path(design.__file__).parent / "demonstration.toml"


def values(**changes):
    return {
        "title": "A study",
        "cases": {"dataset": "chest_phantom", "count": 5},
        "arms": [{"name": "first", "model": "bicubic"}, {"name": "second", "model": "truth"}],
        "questions": [{"key": "quality", "text": "How good?", "anchors": ANCHORS}],
        **changes,
    }


def question(**changes):
    return {"questions": [{"key": "quality", "text": "How good?", "anchors": ANCHORS, **changes}]}


#
def test_example_is_a_valid_study():
    pytest.importorskip("tomllib") if __import__("sys").version_info >= (3, 11) else pytest.importorskip("tomli")
    found = study_file.read(EXAMPLE)
    assert [arm.name for arm in found.arms] == ["bilinear", "bicubic", "lanczos", "original"]
    assert [q.key for q in found.questions] == ["quality", "usefulness", "lesion"]
    assert (found.reference, found.display.panes, found.folder) == ("original", ("lr", "rated"), EXAMPLE.parent)
    assert 0.1 <= found.order.repeats <= 0.2


def test_missing_tables_have_defaults():
    found = study_file.from_dict(values(preference={"text": "Which?"}), "here")
    assert found.order == design.Order() and found.reading == design.Reading()
    assert (found.pairs, found.reference) == ((("first", "second"),), "second")


def test_reference_and_its_former_name_truth_are_the_same():
    def of(name):
        arms = [{"name": "first", "model": "bicubic"}, {"name": "second", "model": name}]
        return study_file.from_dict(values(arms=arms, display={"panes": ["rated", name]}), "here")

    assert of("reference") == of("truth")
    # What frozen studies store.
    assert (of("reference").arms[1].model, of("reference").display.panes) == ("truth", ("rated", "truth"))
    with pytest.raises(InputError, match="panes must be rated"):
        study_file.from_dict(values(display={"panes": ["rated", "truth", "reference"]}), "here")


#
@pytest.mark.parametrize(
    "changes,expected",
    [
        ({"titel": "x"}, "here has an unknown entry: titel; did you mean title?"),
        ({"order": {"repeat": 0.1}}, r"\[order\] has an unknown entry: repeat; did you mean repeats?"),
        ({"order": {"repeats": 0.7}}, r"repeats must be in \[0, 0.5\]. Received: 0.7"),
        ({"order": {"repeats": "some"}}, r"\[order\] repeats must be a number. Received: 'some'"),
        ({"order": {"repeats": float("nan")}}, "repeats must be a number"),
        ({"order": {"min_distance": 6}}, "min_distance must be at most 5, the number of cases. Received: 6"),
        ({"order": {"sessions": 3}}, "sessions must be 1 to 2, the number of arms. Received: 3"),
        ({"arms": [{"name": "first", "model": "bicubic"}]}, "two or more arms"),
        ({"arms": [{"name": "a", "model": "x"}, {"name": "A", "model": "y"}]}, "with different names"),
        ({"arms": [{"name": "a"}, {"name": "b", "model": "y"}]}, "expected model, found none"),
        ({"arms": {}}, r"at least one \[\[arms\]\]"),
        ({"questions": []}, r"at least one \[\[questions\]\]"),
        (question(anchors=ANCHORS[:4]), "must have 5 anchors, for 1 to 5. Received: 4"),
        (question(key="Image quality"), "a question's key must be one lower-case word"),
        (question(key="preference"), "a question's key must be one lower-case word"),
        ({"cases": {"count": 5}}, "either dataset or files"),
        ({"cases": {"count": 5, "files": ["*.png"], "data_dir": "x"}}, "apply to dataset, not to files"),
        ({"cases": {"count": 5, "files": ["*.png"], "patient_pattern": "("}}, "must be a regular expression"),
        ({"cases": {"count": 5, "files": ["*.png"], "patient_pattern": "x"}}, "must have one group"),
        ({"cases": {"count": 1, "dataset": "x"}}, "count must be at least 2. Received: 1"),
        ({"cases": {"dataset": "x"}}, r"\[cases\]: expected count, found none"),
        ({"cases": {"count": True, "dataset": "x"}}, "count must be a whole number. Received: True"),
        ({"scale": 5}, "scale must be 2, 3, 4 or 8. Received: 5"),
        ({"scale": 2.0}, "scale must be a whole number"),
        ({"display": {"panes": ["lr"]}}, "panes must be rated"),
        ({"display": {"interpolation": "lanczos"}}, "interpolation must be smooth or nearest"),
        ({"analysis": {"reference": "third"}}, "expected one of the arms first, second. Received: third"),
        ({"analysis": {"margins": {"beauty": 0.5}}}, "expected one of the questions quality. Received: beauty"),
        ({"analysis": {"margins": {"quality": -1}}}, "margins quality must be above 0. Received: -1"),
        ({"preference": {"text": "Which?", "pairs": [["first", "first"]]}}, "must be of two different arms"),
        ({"preference": {"text": "Which?", "pairs": [["first"]]}}, "must be a list of pairs of arms"),
    ],
)
def test_error_states_what_was_expected(changes, expected):
    with pytest.raises(InputError, match=expected):
        study_file.from_dict(values(**changes), "here")


#
@pytest.mark.parametrize(
    "changes",
    [
        {"title": "The FIRST study"},
        {"instructions": "Some are made by second."},
        question(text="Better than first?"),
        question(key="first"),
        question(anchors=[*ANCHORS[:4], "like the Second"]),
        {"preference": {"text": "first or other?"}},
    ],
)
def test_arm_in_a_text_for_readers_is_refused(changes):
    with pytest.raises(InputError, match="readers would see the arm's name"):
        study_file.from_dict(values(**changes), "here")


def test_unreadable_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="expected a study file at"):
        study_file.read(tmp_path / "nothing.toml")
    (tmp_path / "broken.toml").write_text("title = [")
    with pytest.raises(InputError, match="is not a TOML file"):
        study_file.read(tmp_path / "broken.toml")
