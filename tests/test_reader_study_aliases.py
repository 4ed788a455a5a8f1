"""What the previous release called `study`: the command, its sub-commands, modules and names work, and warn."""

import importlib
import runpy
import sys

import pytest

from tfmisr import __main__ as program
from tfmisr.reader_study import __main__ as reader_study
from tfmisr.reader_study import commands

MOVED = "python -m tfmisr.study is now python -m tfmisr.reader_study\n"


def run_old(monkeypatch, *arguments):
    """Runs `python -m tfmisr.study` in this process and returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["study", *arguments])
    for name in [name for name in sys.modules if name.split(".")[:2] == ["tfmisr", "study"]]:
        monkeypatch.delitem(sys.modules, name)
    # The command ends the process; its handlers of exit and output are not for the tests' process.
    monkeypatch.setattr("tfmisr.cli.run", lambda main: sys.exit(main()))
    with pytest.warns(DeprecationWarning, match="tfmisr.study is now tfmisr.reader_study"):
        with pytest.raises(SystemExit) as done:
            runpy.run_module("tfmisr.study", run_name="__main__")
    return done.value.code


@pytest.mark.parametrize("arguments", [(), *((name,) for name in (*commands.names(), "analyse"))])
def test_old_command_has_all_sub_commands_and_prints_one_line(arguments, monkeypatch, capsys):
    assert run_old(monkeypatch, *arguments, "--help") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: python -m tfmisr.reader_study {' '.join(arguments)}".replace("analyse", "analyze"))
    assert err == MOVED + ("analyse is now analyze\n" if arguments == ("analyse",) else "")


def test_old_command_works(tmp_path, monkeypatch, capsys):
    size = ("--readers", "2", "--cases", "4", "--arms", "a", "b", "--training", "0")
    assert run_old(monkeypatch, "simulate", "export", "--output", str(tmp_path / "export"), *size) == 0
    assert (tmp_path / "export" / "ratings.csv").is_file()
    assert capsys.readouterr().err == MOVED


def test_old_program_and_sub_command_print_today_s_name(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        program.call(["study", "close", "--help"])
    assert "tfmisr study is now tfmisr reader_study" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        reader_study.main(["analyse", "--help"])
    assert capsys.readouterr().err == "analyse is now analyze\n"


@pytest.mark.parametrize(
    "module,name,today",
    [
        ("design", "read", "tfmisr.reader_study.study_file.read"),
        ("design", "from_dict", "tfmisr.reader_study.study_file.from_dict"),
        ("frozen", "Shown", "tfmisr.reader_study.frozen.Presentation"),
        ("audit", "broken", "tfmisr.reader_study.audit.integrity_errors"),
        ("verification", "broken", "tfmisr.reader_study.verification.integrity_errors"),
        ("exporting", "RATINGS", "tfmisr.reader_study.csv_export.RATING_COLUMNS"),
        ("simulated", "read", "tfmisr.reader_study.simulated.answer_all_trials"),
        ("statistics.invented", "Invented", "tfmisr.reader_study.statistics.simulated_export.SimulatedStudy"),
        ("statistics.noninferiority", "judge", "tfmisr.reader_study.statistics.noninferiority.evaluate"),
        ("statistics.summary", "summarise", "tfmisr.reader_study.statistics.summary.summarize"),
        ("statistics.influence", "contributions", "tfmisr.reader_study.statistics.influence.pseudovalues"),
        ("report.words", "tested", "tfmisr.reader_study.report.sentences.number_of_tests"),
        ("commands.analyse", "run", "tfmisr.reader_study.commands.analyze.run"),
    ],
)
def test_old_modules_and_names_are_today_s(module, name, today, recwarn):
    home, _, attribute = today.rpartition(".")
    old = importlib.import_module(f"tfmisr.study.{module}")
    assert getattr(old, name) is getattr(importlib.import_module(home), attribute)
    assert all(warning.category is DeprecationWarning for warning in recwarn)
