"""The sub-command `build`: from a study file to a frozen study."""

import argparse
import dataclasses
import os

from tfmisr.edge.text import counted
from tfmisr.reader_study import study_file


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "build",
        help="build a frozen study from a study file",
        description="Computes the images of all cases and arms and writes a study folder, which is then never changed.",
    )
    parser.add_argument("study_file", metavar="STUDY.toml", help="the study's design; `demo` writes one to start with")
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--data_dir", metavar="DIR", help="folder of the prepared datasets (default: the file's)")
    parser.add_argument("--manual_dir", nargs="+", metavar="DIR", help="folders with the dataset's source files")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    design = study_file.read(arguments.study_file)
    folders = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir and tuple(arguments.manual_dir)}
    overrides = {name: _absolute(folder) for name, folder in folders.items() if folder}
    design = dataclasses.replace(design, cases=dataclasses.replace(design.cases, **overrides))
    from tfmisr.reader_study import building

    study = building.build(design, arguments.output)
    cases = len(study.plan.cases)
    counts = {"case": cases, "arm": len(study.plan.arms), "training case": len(study.plan.training)}
    print(f"study {study.hash[:12]}: {', '.join(counted(count, noun) for noun, count in counts.items())}")
    if (patients := study.values["patients"]) < cases:
        print(f"note: the {cases} cases are of {counted(patients, 'patient')}; the analysis assumes independent cases")
    print(f"next: python -m tfmisr.reader_study readers {arguments.output} --add NAME...")
    return 0


def _absolute(folder: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Returns absolute paths: flags are relative to the working directory, not to the study file's folder."""
    if isinstance(folder, tuple):
        return tuple(map(os.path.abspath, folder))
    return os.path.abspath(folder)
