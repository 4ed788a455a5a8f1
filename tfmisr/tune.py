"""python -m tfmisr.tune: a search of hyperparameters or a study of them, on one machine or on many.

Each trial is a run of `python -m tfmisr.fit` in a process and a folder of its own. The same command goes on where an
interrupted sweep stopped.
"""

import argparse
import dataclasses
import functools
import os
import signal
from collections.abc import Callable

import tfmisr
from tfmisr import cli, config, presets
from tfmisr.edge.errors import InputError
from tfmisr.evaluation import outcomes
from tfmisr.tuning import parameter_studies
from tfmisr.tuning.sweep import OBJECTIVES, TUNERS, Sweep

# Flags that are fields of the sweep.
_OF_SWEEP = (
    "tuner",
    "objective",
    "max_trials",
    "max_params",
    "max_ms",
    "tile",
    "min_steps",
    "factor",
    "trial_hours",
)
# Flags of this process alone.
_HERE = ("train_best", "export_best", "retry_failed", "patience", "chief_patience")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.tune",
        description="Searches hyperparameters with Keras Tuner, a process for each trial, or runs a study. With "
        "KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT in the environment the same command is "
        'the chief (its ID holds "chief") or one of its workers; all share --workdir.',
    )
    recipe = parser.add_mutually_exclusive_group()
    for flag, text in (
        ("study", "a grid with its report: " + ", ".join(parameter_studies.names())),
        ("preset", "recipe that the trials start from: " + ", ".join(presets.names())),
    ):
        recipe.add_argument(f"--{flag}", default=argparse.SUPPRESS, metavar="NAME", help=text)
    recipe.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help="the same from a config.json")
    _add_search(parser.add_argument_group("search"))
    _add_limits(parser.add_argument_group("limits: a network beyond one is noted and not trained"))
    _add_end(parser.add_argument_group("at the end"))
    _add_workers(parser.add_argument_group("going on, and many machines"))
    config.add_arguments(parser.add_argument_group("the runs (--workdir: the sweep's folder)"))
    return parser


def _add_search(group):
    group.add_argument("--tuner", choices=TUNERS, help="who proposes the trials (default: random; of a study: grid)")
    group.add_argument("--space", metavar="FILE", help=".json or .toml file (default: the model's search_space)")
    group.add_argument("--max_trials", type=int, metavar="N", help="trials at most; may grow when a sweep goes on")
    group.add_argument("--objective", choices=list(OBJECTIVES), help="at a run's last step (default: val_psnr)")
    group.add_argument("--min_steps", type=int, metavar="N", help="hyperband: of its shortest trials (default: 1/27)")
    group.add_argument("--factor", type=int, metavar="N", help="hyperband: one trial of so many goes on (default: 3)")
    group.add_argument("--trial_hours", type=float, metavar="H", help="a trial that takes longer has failed")


def _add_limits(group):
    group.add_argument("--max_params", type=int, metavar="N", help="parameters of the network")
    group.add_argument(
        "--max_ms", type=float, metavar="MS", help="one window in LiteRT, float32, one thread, on the trial's machine"
    )
    group.add_argument("--tile", type=int, metavar="N", help="side of that window in LR pixels (default: 128)")


def _add_end(group):
    group.add_argument("--train_best", type=int, metavar="STEPS", help="train the best trial's run for so many steps")
    group.add_argument("--export_best", action="store_true", help="export the best trial's run, or the one just said")


def _add_workers(group):
    group.add_argument("--retry_failed", action="store_true", help="run the trials again that failed")
    group.add_argument(
        "--patience", type=float, default=120, metavar="S", help="silence that makes a worker lost (default: 120 s)"
    )
    group.add_argument(
        "--chief_patience", type=float, default=60, metavar="MIN", help="wait for the chief so long (default: 60 min)"
    )


def _sweep(arguments) -> tuple[Sweep, str]:
    """Returns the sweep of a command line, and where its search space comes from."""
    given = dict(vars(arguments))
    own = {name: given.pop(name) for name in _OF_SWEEP}
    study, file = given.pop("study", None), given.pop("space")
    for name in _HERE:
        del given[name]
    fields, described = parameter_studies.study(study) if study else ({}, None)
    base = config.parse(argparse.Namespace(**given), fields)
    if study:
        own["tuner"] = own["tuner"] or "grid"
    if file:
        from tfmisr.tuning import space

        described = space.read(file)
    own = {name: value for name, value in own.items() if value is not None}
    sweep = Sweep(base, space=described, **own).as_begun(given.keys() | fields.keys())
    return sweep, file or (f"the study {study}" if study else "the model")


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    # Where this is the first process of a container, nothing else would end it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run(arguments, functools.partial(print, flush=True))
    return 0


def run(arguments: argparse.Namespace, say: Callable[[str], None] = lambda text: None) -> outcomes.Search | None:
    """Searches what the parsed flags, or `tfmisr.options.parsed`, say.

    Args:
        arguments: The flags.
        say: Called with the outcome before the best run is trained or exported, where that is asked for.

    Returns:
        What was found; `None` in a worker of a chief elsewhere.
    """
    for name in ("patience", "chief_patience", "train_best"):
        if getattr(arguments, name) is not None and not getattr(arguments, name) > 0:
            raise InputError(f"{name} must be above 0. Received: {getattr(arguments, name)}")
    sweep, where = _sweep(arguments)
    cli.check_writable(sweep.folder)
    cli.check_text(sweep.folder, "--workdir")
    from tfmisr.tuning import space

    # Told before TensorFlow is loaded; the model's own space needs it.
    searched = space.Declared(sweep.space, sweep.base, where) if sweep.space is not None else None
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from tfmisr.tuning import driver, service

    searched = searched or space.Own(sweep.base)
    place = service.role()
    print(
        f"sweep: {sweep.folder}" + ("" if place == "single" else f", {os.environ['KERASTUNER_TUNER_ID']}"), flush=True
    )
    if place == "worker":
        patience = arguments.patience, 60 * arguments.chief_patience
        driver.work(sweep, searched, *patience, arguments.retry_failed)
        return None
    best = driver.lead(sweep, searched, arguments.patience, arguments.retry_failed)
    return _end(sweep, best, arguments, say)


def _end(sweep, best, arguments, say=print) -> outcomes.Search:
    from tfmisr.tuning import driver, parameter_study_report, results

    if best is None:
        raise InputError(f"no trial was completed; the reasons are in {sweep.folder / 'study.csv'}")
    table, direction = sweep.folder / "study.csv", OBJECTIVES[sweep.objective]
    lines = [parameter_study_report.told(table, sweep.objective, direction), _best(sweep, best)]
    lines.append(parameter_study_report.against_bicubic(table, sweep.objective, direction))
    folder = results.home(sweep.folder, best["trial"])
    found = outcomes.Search(sweep.folder, best, "\n".join(filter(None, lines)), folder)
    say(str(found))
    if arguments.train_best:
        folder = driver.train_best(sweep, arguments.train_best)
    if arguments.export_best:
        if not (folder / "model.keras").is_file():
            raise InputError(f"the best trial stopped at step {best['steps']}; add --train_best STEPS to export it")
        driver.export(sweep, folder)
    return dataclasses.replace(found, run=folder)


def _best(sweep, best) -> str:
    """Returns the best setting's score, the mean over its seeds as the rows above have it, and what best.json holds."""
    from tfmisr.tuning import results

    repeats = results.repeated(results.read_all(sweep.folder), best, sweep.objective)
    values = " ".join(f"{key}={value}" for key, value in best["values"].items() if key != "seed" or len(repeats) == 1)
    scored = f"best setting: {values or 'the only one'}: {sweep.objective} {results.mean(repeats, sweep.objective):.4f}"
    if len(repeats) == 1:
        return f"{scored} (trial {best['trial']}, one seed)"
    trials = ", ".join(result["trial"] for result in repeats)
    own = f"best.json is the first of them, trial {best['trial']}, with {best[sweep.objective]:.4f}"
    return f"{scored}, mean of {len(repeats)} seeds (trials {trials})\n{own}"


tfmisr._make_callable(__name__)

if __name__ == "__main__":
    cli.run(main)
