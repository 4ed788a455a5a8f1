"""Every command of README.md and docs/ works: its flags and values are parsed, and with --run_large it is run.

A command that is not run needs a line in `NOT_RUN`, with the reason and, where there is one, the test that runs it.
"""

import argparse
import glob
import pathlib
import re
import shlex
import shutil
import sys
from unittest import mock

import documents
import pytest

from tfmisr import __main__ as tfmisr_command
from tfmisr import config
from tfmisr.training import process_flags

# Regular expressions of commands that are parsed and not run, with the reason.
NOT_RUN = {
    r"python3 -m venv ": ".ci/run runs these lines as they stand in README",
    r"pip install ": "installs from the network; .ci/run installs the wheel with and without extras",
    r"(sbatch|kubectl) ": "tests/test_examples_archive.py and tests/test_distributed_examples.py, with processes "
    "in the place of nodes",
    r"python -m tfmisr\.upscale .*(s3|tcp|tls)://": "a store and schedulers; tests/test_cluster*.py",
    r"python -m tfmisr\.upscale .*--uncertainty ": "needs calibrated models; tests/test_upscale_trust.py",
    r"python -m tfmisr\.card .*--output ": "needs a result of observe or of CT slices; tests/test_card_evidence.py",
    r"python -m tfmisr\.dicom_check out.dcm out_uncertainty": "the same; tests/test_half_width_check.py",
    r"python -m tfmisr\.volume (?!\./series --output \./thin --minutes 5)": "minutes, and one output for all; "
    "tests/test_volume_command.py",
    r"python -m tfmisr\.evaluate .*--volumes ": "needs volumes, and minutes; tests/test_evaluate_volumes.py",
    r"python -m tfmisr\.observe ": "needs 30 patients; tests/test_observers.py",
    r"python -m tfmisr\.fit --uncertainty ": "trains on a run; tests/test_uncertainty_training.py",
    r"python -m tfmisr\.calibrate ": "needs 9 patients; tests/test_calibrate.py has a folder of DICOM files",
    r"openssl |python -m tfmisr\.card sign |python -m tfmisr\.upscale .*--require_signature ": "need keys; "
    "tests/test_signature.py",
    r"python -m tfmisr\.(fit --preset slices_x4 .*all-ct|export runs/sfrc-x4) ": "need a list of patients that the "
    "page describes; tests/test_split_list.py",
    r"KERAS_BACKEND=jax ": "the backend of a process is fixed; tests/test_backends.py",
    r"python benchmarks/": "benchmarks take minutes to hours and the archive; their flags are looked up",
    r"python -m tfmisr\.fit$": "prepares the built-in images for half a minute; .ci/run runs it",
    r"python -m tfmisr\.prepare chest_xray14": "needs the archive of 45 GB; tests/test_chest_xray14.py has a small one",
    r"python -m tfmisr\.tune ": "a process for each trial; tests/test_tune*.py and tests/test_docs_python.py",
    r"python -m tfmisr\.tuning\.parameter_study_report .*--shorter ": "two studies; tests/test_tune_study.py has them",
    r"python -m tfmisr\.fit --preset srgan": "downloads the weights of VGG19; tests/test_gan.py has a small network",
    r"make -C examples/cpp$": "tests/test_cpp_example.py",
    r"examples/cpp/enlarge ": "tests/test_cpp_example.py",
    r"(dciodvfy|dcentvfy) ": "programs of dicom3tools; tests/test_derived_*.py run them where they are installed",
    r"(install|systemctl|pip wheel|(sh|python) examples/gateway/\S+) ": "install a service; "
    "tests/test_gateway_packaging.py",
    r"curl ": "asks a running node; tests/test_gateway_dicomweb.py, where curl stores and dicomweb-client fetches",
    r"python -m tfmisr\.gateway ": "a node and its peers; tests/test_gateway_*.py",
    r"python -m tfmisr\.reader_study serve ": "serves until Ctrl-C; tests/test_study_server.py",
}
# What is appended to a command, so that it takes seconds; of two equal flags the later one counts.
APPENDED = {
    "fit": "--steps 2 --batch_size 2 --patch_size 16",
    "export": "--calibration_images 4 --images 1 --rounds 1 --max_psnr_drop 99 --max_ssim_drop 1",
    "export.benchmark": "--rounds 1",
    "models": "--names cnn5",
    "upscale": "--force",  # the images are not of the kind that the shipped models are for
    "reader_study demo": "--readers 3 --data_dir {phantoms}",
    "reader_study build": "--data_dir {phantoms}",
    "reader_study simulate size": "--studies 20 --readers 3 4 --cases 10 20",
}
# Appended to a training that names neither a network nor a run.
SMALL = "--model cnn5/num_layers=2,num_filters=4"
# What is replaced: the archive by a folder of small images, large networks by small ones, a study that nobody has read
# by one that was, a pattern of file names by one that fits.
REPLACED = {
    r" --manual_dir( /\S+)+": "",
    r"chest_xray14/512": "scans",
    r"volume \./series (.*)--minutes 5": r"volume ./thick \1--steps 2",
    r"--model srresnet ": "--model srresnet/num_filters=4,num_blocks=1 ",
    r"plain/best( --dataset \./scans --)": r"plain/num_filters=4,num_layers=3\1",
    r"(study (?:close|analy[sz]e)) study\b": r"\1 demo/study",
    re.escape('"^(case[0-9]+)_"'): '"(.)"',
}
# Runs of another page, with their networks.
RUNS = {
    "runs/a": SMALL,
    "runs/b": SMALL,
    "runs/ct": SMALL,
    "runs/plain": "--model plain/num_filters=4,num_layers=3",
}


class _Parsed(Exception):
    """Ends a command when its arguments have been parsed."""


def parsed(command, capsys):
    """Parses a command's arguments as the command does; returns its name and them.

    Fails where the command does not accept them, or where a flag is a hidden one: an old name.
    """
    module, *arguments = shlex.split(command.partition("python -m tfmisr.")[2])
    if "--status" in arguments:  # prints and exits, as --help does
        arguments[arguments.index("--status") :] = ["--help"]
    original = argparse.ArgumentParser.parse_args

    def parse_and_end(parser, args=None, namespace=None):
        namespace = original(parser, args, namespace)
        old = {f for a in _actions(parser) if a.help is argparse.SUPPRESS for f in a.option_strings}
        assert not old & set(arguments), f"{command}: {old & set(arguments)} is an old name"
        raise _Parsed(namespace)

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse_and_end),
        mock.patch.object(sys, "argv", ["tfmisr"]),
    ):
        commands = {**tfmisr_command.COMMANDS, module: ""}
        with mock.patch.object(tfmisr_command, "COMMANDS", commands):
            try:
                tfmisr_command.call([module, *arguments])
            except _Parsed as end:
                return module, end.args[0]
            except SystemExit as end:
                if "--help" in arguments and not end.code:
                    return module, None
                pytest.fail(f"{command}\n{capsys.readouterr().err}")


def _actions(parser):
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)


def check(command, capsys):
    """Checks a command without running it."""
    if command.startswith("python benchmarks/"):
        script, *arguments = shlex.split(command)[1:]
        text = (documents.ROOT / script).read_text(encoding="utf-8")
        unknown = [a for a in arguments if a.startswith("--") and f'"{a}"' not in text]
        assert not unknown, f"{command}: {script} has no {unknown}"
    elif "python -m tfmisr." in command:
        module, namespace = parsed(command, capsys)
        if module == "fit" and namespace is not None:
            process_flags.take(namespace)
            if not vars(namespace).get("uncertainty"):  # its other fields follow from that model
                config.parse(namespace)
    for extras in re.findall(r"pip install .*\[([a-z,-]+)\]", command):
        text = (documents.ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert set(extras.split(",")) <= set(re.findall(r"^([a-z-]+) = \[", text, re.MULTILINE)), command


@pytest.mark.parametrize("page", documents.PAGES, ids=documents.name)
def test_flags_and_values_of_every_command_are_accepted(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path in re.findall(r"--config (\S+)", "\n".join(documents.commands(page) + documents.mentions(page))):
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_text("{}")
    for command in documents.commands(page):
        check(command, capsys)
    for command in documents.mentions(page):
        if re.fullmatch(r"python -m tfmisr(\.[\w.]+)?|tfmisr \w+( \.\.\.)?|python -m tfmisr\.\w+ \.\.\.", command):
            continue  # the name of a command
        check(command, capsys)


def test_every_exception_is_of_some_command_and_no_command_is_unknown():
    commands = {command for page in documents.PAGES for command in documents.commands(page)}
    for pattern in NOT_RUN:
        assert any(re.match(pattern, command) for command in commands), f"needless exception: {pattern}"
    unknown = [c for c in commands if not c.startswith("python -m tfmisr.") and not _reason(c)]
    assert not unknown, f"neither a command of tfmisr nor an exception: {unknown}"


def test_ci_finds_the_two_lines_that_set_up_and_run():
    first_screen = "\n".join((documents.ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:50])
    for what in ("tfmisr.fit", "pytest"):
        assert re.search(rf"^python3 -m venv .*{what}", first_screen, re.MULTILINE)
    assert "| bicubic |" in first_screen


def _reason(command):
    return next((reason for pattern, reason in NOT_RUN.items() if re.match(pattern, command)), None)


def shortened(command, request):
    """Returns the arguments of `tfmisr` for a command that does the same in seconds."""
    for pattern, replacement in REPLACED.items():
        command = re.sub(pattern, replacement, command)
    arguments = shlex.split(command.partition("python -m tfmisr.")[2])
    if arguments[0] == "fit" and not {"--dataset", "--config"} & set(arguments):
        arguments += ["--dataset", "scans"]
    if arguments[0] == "fit" and not {"--model", "--config", "--initial_weights"} & set(arguments):
        arguments += SMALL.split()
    name = next(
        (n for n in sorted(APPENDED, key=len, reverse=True) if f"{' '.join(arguments)} ".startswith(f"{n} ")), ""
    )
    for argument in APPENDED.get(name, "").split():
        arguments.append(request.getfixturevalue("phantoms") if argument == "{phantoms}" else argument)
    return [path for argument in arguments for path in sorted(glob.glob(argument)) or [argument]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return documents.enter_inputs(tmp_path, monkeypatch)


def _prepare(commands, folder):
    """Makes what a page takes from another: runs, the table and the best trial of a search."""
    text = "\n".join(commands)
    made = set(re.findall(r"--workdir (\S+)", text))
    for run, network in RUNS.items():
        if run not in made and re.search(rf"{run}\b(?!/)", text):
            tfmisr_command.call(
                ["fit", "--dataset", "scans", "--workdir", run, *f"{network} {APPENDED['fit']}".split()]
            )
    if "runs/minute" in text:
        (folder / "runs" / "minute").mkdir(parents=True)
        shutil.copy(documents.ROOT / "docs" / "study" / "study.csv", "runs/minute")
        (folder / "runs" / "minute" / "best.json").write_text('{"dataset": "scans"}')


@pytest.mark.large
@pytest.mark.filterwarnings("ignore")  # of commands, not of the library
@pytest.mark.parametrize("page", documents.PAGES, ids=documents.name)
def test_every_command_runs(page, folder, request, monkeypatch, capsys):
    monkeypatch.setitem(tfmisr_command.COMMANDS, "tuning.parameter_study_report", "")
    commands = [command for command in documents.commands(page) if not _reason(command)]
    if not commands:
        pytest.skip("no command to run")
    _prepare(commands, folder)
    for command in dict.fromkeys(commands):
        arguments = shortened(command, request)
        try:
            status = tfmisr_command.call(arguments)
        except SystemExit as end:
            status = end.code
        assert not status, f"{command}\n{' '.join(arguments)}\n{capsys.readouterr()}"
