"""The demonstration: one command from the study file to the report, with simulated readers."""

import json
import sys

import pytest

from tfmisr.edge.errors import InputError
from tfmisr.reader_study import __main__ as study
from tfmisr.reader_study.commands import demo


@pytest.mark.large
def test_one_command_builds_answers_and_analyzes_a_study_marked_as_simulated(tmp_path, capsys, phantoms):
    output = tmp_path / "demo"
    assert study.main(["demo", "--output", str(output), "--readers", "3", "--data_dir", phantoms]) == 0
    assert "SIMULATED READERS" in capsys.readouterr().out
    assert (output / "STUDY.toml").read_text() == demo.STUDY_FILE.read_text()
    results = json.loads((output / "report" / "results.json").read_text())
    assert results["warning"] == "SIMULATED READERS"
    means = [arm["mean"] for arm in results["questions"]["quality"]["arms"].values()]
    assert means == sorted(means)
    assert "SIMULATED READERS" in (output / "report" / "report.html").read_text()
    assert study.main(["verify", str(output / "study")]) == 0
    with pytest.raises(InputError, match="choose a new folder"):
        study.main(["demo", "--output", str(output)])


@pytest.mark.parametrize("arguments,said", [(("--readers", "0"), "1 to 20"), (("--seed", "-1"), "0 or more")])
def test_mistakes_write_nothing(tmp_path, arguments, said):
    with pytest.raises(InputError, match=said):
        study.main(["demo", "--output", str(tmp_path / "demo"), *arguments])
    assert not (tmp_path / "demo").exists()


def test_without_the_training_packages_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ModuleNotFoundError):
        study.main(["demo", "--output", str(tmp_path / "demo")])
    assert not (tmp_path / "demo").exists()
