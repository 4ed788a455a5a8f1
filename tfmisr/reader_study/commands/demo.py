"""The sub-command `demo`: a whole study on images of nobody, read by nobody, from the study file to the report."""

import pathlib
import shutil

from tfmisr import cli
from tfmisr.edge.errors import InputError

STUDY_FILE = pathlib.Path(__file__).resolve().parent.parent / "demonstration.toml"
_MOST_READERS = 20


def add_parser(subparsers):
    """Adds the sub-command's parser and returns it."""
    parser = subparsers.add_parser(
        "demo",
        help="build, read by simulated readers and analyse a study of the built-in images",
        description="Writes DIR/STUDY.toml, a study file to begin your own with, DIR/study, which `serve` serves, "
        "and DIR/report. Its readers are simulated, from stated assumptions, and every file "
        "says so.",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--readers", type=int, default=4, metavar="N", help="simulated readers (default: 4)")
    parser.add_argument("--data_dir", metavar="DIR", help="where prepared datasets are kept")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the answers (default: 0)")
    return parser


def run(arguments) -> int:
    """Runs the sub-command; see `--help`."""
    output = pathlib.Path(arguments.output)
    if not 1 <= arguments.readers <= _MOST_READERS:
        raise InputError(f"--readers must be 1 to {_MOST_READERS}. Received: {arguments.readers}")
    if arguments.seed < 0:
        raise InputError(f"--seed must be 0 or more. Received: {arguments.seed}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"a study is frozen once it is built; choose a new folder. Received: {output}")
    import tensorflow_datasets  # noqa: F401  where it is missing nothing is to be written

    from tfmisr.reader_study.__main__ import main

    cli.require_writable(output)
    shutil.copyfile(STUDY_FILE, output / "STUDY.toml")
    data = ["--data_dir", arguments.data_dir] if arguments.data_dir else []
    main(["build", str(output / "STUDY.toml"), "--output", str(output / "study"), *data])
    _read(output / "study", arguments.readers, arguments.seed)
    main(["analyse", str(output / "study"), "--output", str(output / "report"), "--force"])
    print(f"read it yourself: python -m tfmisr.reader_study readers {output / 'study'} --add me")
    print(f"            then: python -m tfmisr.reader_study serve {output / 'study'}")
    return 0


def _read(folder, readers, seed):
    """Lets simulated readers answer everything, by the mixed model of `tfmisr.reader_study.statistics.simulation`.

    Where the study file has a margin, each arm is liked better than the one before it; elsewhere, all alike.
    """
    import numpy as np

    from tfmisr.reader_study import simulated
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.statistics.simulation import Assumptions
    from tfmisr.reader_study.store import Store

    study, rng = Study(folder), np.random.default_rng([seed, 5])
    arms, cases = list(study.plan.arms), [*study.plan.cases, *study.plan.training]
    better = tuple(map(float, range(len(arms))))
    with Store(study) as store:
        judged = study.values["analysis"]["margins"]
        said = {key: Assumptions(better if key in judged else (0.0,) * len(arms)) for key in store.keys}
        seen = {key: assumptions.draw(readers, len(cases), rng) for key, assumptions in said.items()}
        for reader in range(readers):

            def answer(trial, reader=reader):
                place = arms.index(trial.arms[0]), reader, cases.index(trial.case)
                return {key: int(said[key].answer(seen[key][place], rng)) for key in store.keys}

            simulated.read(store, f"simulated-{reader + 1}", answer, seed)
