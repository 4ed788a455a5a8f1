"""The sub-command `demo`: a complete study on synthetic images with simulated readers, from study file to report."""

import argparse
import pathlib
import shutil

from tfmisr import cli
from tfmisr.edge.errors import InputError

STUDY_FILE = pathlib.Path(__file__).resolve().parent.parent / "demonstration.toml"
_MAX_READERS = 20


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "demo",
        help="build and analyze a study on the built-in images with simulated readers",
        description="Writes DIR/STUDY.toml, a study file to start your own from, DIR/study, which `serve` serves, "
        "and DIR/report. Its readers are simulated from stated assumptions, and every file is marked as such.",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--readers", type=int, default=4, metavar="N", help="simulated readers (default: 4)")
    parser.add_argument("--data_dir", metavar="DIR", help="folder of the prepared datasets")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the answers (default: 0)")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    output = pathlib.Path(arguments.output)
    if not 1 <= arguments.readers <= _MAX_READERS:
        raise InputError(f"--readers must be 1 to {_MAX_READERS}. Received: {arguments.readers}")
    if arguments.seed < 0:
        raise InputError(f"--seed must be 0 or more. Received: {arguments.seed}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"a study is frozen once it is built; choose a new folder. Received: {output}")
    import tensorflow_datasets  # noqa: F401  if it is missing, fail before anything is written

    from tfmisr.reader_study.__main__ import main

    cli.require_writable(output)
    shutil.copyfile(STUDY_FILE, output / "STUDY.toml")
    data = ["--data_dir", arguments.data_dir] if arguments.data_dir else []
    main(["build", str(output / "STUDY.toml"), "--output", str(output / "study"), *data])
    _simulate_readers(output / "study", arguments.readers, arguments.seed)
    main(["analyze", str(output / "study"), "--output", str(output / "report"), "--force"])
    print(f"read it yourself: python -m tfmisr.reader_study readers {output / 'study'} --add me")
    print(f"            then: python -m tfmisr.reader_study serve {output / 'study'}")
    return 0


def _simulate_readers(folder: pathlib.Path, readers: int, seed: int) -> None:
    """Answers all trials by the mixed model of `tfmisr.reader_study.statistics.simulation`.

    For questions with a non-inferiority margin, the latent mean increases by one logit from arm to arm; for the others
    all arms are equal.
    """
    import numpy as np

    from tfmisr.reader_study import simulated
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.statistics.simulation import Assumptions
    from tfmisr.reader_study.store import Store

    study, rng = Study(folder), np.random.default_rng([seed, 5])
    arms, cases = list(study.plan.arms), [*study.plan.cases, *study.plan.training]
    increasing = tuple(map(float, range(len(arms))))
    with Store(study) as store:
        margins = study.values["analysis"]["margins"]
        models = {key: Assumptions(increasing if key in margins else (0.0,) * len(arms)) for key in store.keys}
        latent = {key: model.draw(readers, len(cases), rng) for key, model in models.items()}
        for reader in range(readers):

            def answer(trial, reader=reader):
                index = arms.index(trial.arms[0]), reader, cases.index(trial.case)
                return {key: int(models[key].answer(latent[key][index], rng)) for key in store.keys}

            simulated.answer_all_trials(store, f"simulated-{reader + 1}", answer, seed)
