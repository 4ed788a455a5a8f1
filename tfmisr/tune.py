"""python -m tfmisr.tune: hyperparameter search or a parameter study, on one machine or on many.

Each trial is a run of `python -m tfmisr.fit` in a separate process and folder. The same command resumes an interrupted
sweep.
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

# Flags that are fields of `Sweep`.
_SWEEP_FIELDS = (
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
# Flags of this process only.
_PROCESS_FLAGS = ("train_best", "export_best", "retry_failed", "worker_timeout", "chief_timeout")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.tune",
        description="Searches hyperparameters with Keras Tuner, with a process for each trial, or runs a parameter "
        "study. The same command resumes an interrupted search. With KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and "
        "KERASTUNER_ORACLE_PORT in the environment it is the chief of a distributed search (its ID contains "
        '"chief") or one of its workers; all share --workdir.',
    )
    recipe = parser.add_mutually_exclusive_group()
    for flag, text in (
        ("parameter_study", "predefined grid search with a report: " + ", ".join(parameter_studies.names())),
        ("preset", "recipe that the trials start from: " + ", ".join(presets.names())),
    ):
        recipe.add_argument(f"--{flag}", default=argparse.SUPPRESS, metavar="NAME", help=text)
    text = "config.json of a run that the trials start from"
    recipe.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help=text)
    cli.add_old_flag(recipe, "--study", "--parameter_study")
    _add_search(parser.add_argument_group("search"))
    _add_limits(parser.add_argument_group("limits: a network beyond one is recorded and not trained"))
    _add_end(parser.add_argument_group("after the search"))
    _add_workers(parser.add_argument_group("resuming and distributed search"))
    config.add_arguments(parser.add_argument_group("the runs (--workdir: the sweep's folder)"))
    return parser


def _add_search(group):
    group.add_argument("--tuner", choices=TUNERS, help="search algorithm (default: random; of a parameter study: grid)")
    text = ".json or .toml file of the search space (default: the model's search_space)"
    group.add_argument("--space", metavar="FILE", help=text)
    text = "maximum number of trials; may be increased when a sweep is resumed"
    group.add_argument("--max_trials", type=int, metavar="N", help=text)
    group.add_argument("--objective", choices=list(OBJECTIVES), help="at a run's last step (default: val_psnr)")
    text = "hyperband: steps of its shortest trials (default: 1/27 of --steps)"
    group.add_argument("--min_steps", type=int, metavar="N", help=text)
    text = "hyperband: reduction factor: one of N trials continues, with N times the steps (default: 3)"
    group.add_argument("--factor", type=int, metavar="N", help=text)
    group.add_argument("--trial_hours", type=float, metavar="H", help="time limit of a trial")


def _add_limits(group):
    group.add_argument("--max_params", type=int, metavar="N", help="parameters of the network")
    text = "latency of one tile in LiteRT, float32, one thread, on the trial's machine"
    group.add_argument("--max_ms", type=float, metavar="MS", help=text)
    group.add_argument("--tile", type=int, metavar="N", help="side of that tile in LR pixels (default: 128)")


def _add_end(group):
    text = "train the best trial's configuration for STEPS steps"
    group.add_argument("--train_best", type=int, metavar="STEPS", help=text)
    text = "export the best trial's run, or that of --train_best"
    group.add_argument("--export_best", action="store_true", help=text)


def _add_workers(group):
    group.add_argument("--retry_failed", action="store_true", help="run failed trials again")
    text = "time without a heartbeat after which a worker is considered lost (default: 120 s)"
    group.add_argument("--worker_timeout", type=float, default=120, metavar="S", help=text)
    text = "time that a worker waits for the chief (default: 60 min)"
    group.add_argument("--chief_timeout", type=float, default=60, metavar="MIN", help=text)
    cli.add_old_flag(group, "--patience", "--worker_timeout")
    cli.add_old_flag(group, "--chief_patience", "--chief_timeout")


def _sweep(arguments) -> tuple[Sweep, str]:
    """Returns the sweep of a command line, and the source of its search space for error messages."""
    given = dict(vars(arguments))
    sweep_fields = {name: given.pop(name) for name in _SWEEP_FIELDS}
    study, file = given.pop("parameter_study", None), given.pop("space")
    for name in _PROCESS_FLAGS:
        del given[name]
    fields, search_space = parameter_studies.parameter_study(study) if study else ({}, None)
    base = config.parse(argparse.Namespace(**given), fields)
    if study:
        sweep_fields["tuner"] = sweep_fields["tuner"] or "grid"
    if file:
        from tfmisr.tuning import space

        search_space = space.read(file)
    sweep_fields = {name: value for name, value in sweep_fields.items() if value is not None}
    sweep = Sweep(base, space=search_space, **sweep_fields).resumed(given.keys() | fields.keys())
    return sweep, file or (f"the parameter study {study}" if study else "the model")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    # As the first process of a container it has no default handler of SIGTERM.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run(arguments, functools.partial(print, flush=True))
    return 0


def run(arguments: argparse.Namespace, report: Callable[[str], None] = lambda text: None) -> outcomes.Search | None:
    """Runs a search.

    Args:
        arguments: The parsed flags, or `tfmisr.options.parsed`.
        report: Called with the results as text, before the best run is trained or exported.

    Returns:
        The results; `None` in a worker of a distributed search.

    Raises:
        InputError: An invalid configuration, data that cannot be used, or no trial was completed.
    """
    for name in ("worker_timeout", "chief_timeout", "train_best"):
        if getattr(arguments, name) is not None and not getattr(arguments, name) > 0:
            raise InputError(f"{name} must be above 0. Received: {getattr(arguments, name)}")
    sweep, source = _sweep(arguments)
    cli.check_writable(sweep.folder)
    cli.check_text(sweep.folder, "--workdir")
    from tfmisr.tuning import space

    # Validated before TensorFlow is imported; only the model's space needs it.
    search_space = space.DeclaredSpace(sweep.space, sweep.base, source) if sweep.space is not None else None
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from tfmisr.tuning import driver, service

    search_space = search_space or space.ModelSpace(sweep.base)
    role = service.role()
    name = "" if role == "single" else f", {os.environ['KERASTUNER_TUNER_ID']}"
    print(f"sweep: {sweep.folder}{name}", flush=True)
    if role == "worker":
        timeouts = arguments.worker_timeout, 60 * arguments.chief_timeout
        driver.work(sweep, search_space, *timeouts, arguments.retry_failed)
        return None
    best = driver.lead(sweep, search_space, arguments.worker_timeout, arguments.retry_failed)
    return _end(sweep, best, arguments, report)


def _end(sweep, best, arguments, report) -> outcomes.Search:
    from tfmisr.tuning import driver, parameter_study_report, results

    if best is None:
        raise InputError(f"no trial was completed; the reasons are in {sweep.folder / 'study.csv'}")
    table, direction = sweep.folder / "study.csv", OBJECTIVES[sweep.objective]
    lines = [parameter_study_report.terminal_summary(table, sweep.objective, direction), _best(sweep, best)]
    lines.append(parameter_study_report.bicubic_comparison(table, sweep.objective, direction))
    folder = results.home(sweep.folder, best["trial"])
    search = outcomes.Search(sweep.folder, best, "\n".join(filter(None, lines)), folder)
    report(str(search))
    if arguments.train_best:
        folder = driver.train_best(sweep, arguments.train_best)
    if arguments.export_best:
        if not (folder / "model.keras").is_file():
            raise InputError(f"the best trial stopped at step {best['steps']}; add --train_best STEPS to export it")
        driver.export(sweep, folder)
    return dataclasses.replace(search, run=folder)


def _best(sweep, best) -> str:
    """Returns lines with the best setting, its mean score over its seeds, and the trial that best.json holds."""
    from tfmisr.tuning import results

    repeats = results.repeated(results.read_all(sweep.folder), best, sweep.objective)
    values = " ".join(f"{key}={value}" for key, value in best["values"].items() if key != "seed" or len(repeats) == 1)
    scored = f"best setting: {values or 'the only one'}: {sweep.objective} {results.mean(repeats, sweep.objective):.4f}"
    if len(repeats) == 1:
        return f"{scored} (trial {best['trial']}, one seed)"
    trials = ", ".join(result["trial"] for result in repeats)
    first = f"best.json is the first of them, trial {best['trial']}, with {best[sweep.objective]:.4f}"
    return f"{scored}, mean of {len(repeats)} seeds (trials {trials})\n{first}"


tfmisr._make_callable(__name__)

if __name__ == "__main__":
    cli.run(main)
