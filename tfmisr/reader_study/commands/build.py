"""The sub-command `build`: from a study file to a frozen study."""

import dataclasses
import os

from tfmisr.edge.text import counted
from tfmisr.reader_study import design


def add_parser(subparsers):
    """Adds the sub-command's parser and returns it."""
    parser = subparsers.add_parser(
        "build",
        help="make a frozen study of a study file",
        description="Makes the images of all cases and arms, and writes one folder that is never changed again.",
    )
    parser.add_argument(
        "study_file", metavar="STUDY.toml", help="what is judged, and how; `demo` writes one to begin with"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--data_dir", metavar="DIR", help="where prepared datasets are kept (default: the file's)")
    parser.add_argument("--manual_dir", nargs="+", metavar="DIR", help="folders with the dataset's source files")
    return parser


def run(arguments) -> int:
    """Runs the sub-command; see `--help`."""
    wanted = design.read(arguments.study_file)
    folders = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir and tuple(arguments.manual_dir)}
    given = {name: _absolute(folder) for name, folder in folders.items() if folder}
    wanted = dataclasses.replace(wanted, cases=dataclasses.replace(wanted.cases, **given))
    from tfmisr.reader_study import building

    study = building.build(wanted, arguments.output)
    cases = len(study.plan.cases)
    counts = {"case": cases, "arm": len(study.plan.arms), "training case": len(study.plan.training)}
    print(f"study {study.hash[:12]}: {', '.join(counted(count, noun) for noun, count in counts.items())}")
    if (patients := study.values["patients"]) < cases:
        print(f"note: the {cases} cases are of {counted(patients, 'patient')}; the analysis takes cases as independent")
    print(f"next: python -m tfmisr.reader_study readers {arguments.output} --add NAME...")
    return 0


def _absolute(folder):
    """Returns what was typed, which counts from where the command runs, for use beside what the study file says."""
    if isinstance(folder, tuple):
        return tuple(map(os.path.abspath, folder))
    return os.path.abspath(folder)
