"""The sub-command `simulate`: sample size (readers and cases) by simulation, and exports of simulated readers."""

import argparse
import dataclasses
import json
import math
import pathlib
import typing
from collections.abc import Callable, Sequence

from tfmisr import cli
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.files import atomic_write, write_text
from tfmisr.reader_study.csv_export import csv_text

if typing.TYPE_CHECKING:
    from tfmisr.reader_study.statistics.simulation import Assumptions, SampleSize

_TERMS = ("reader", "case", "reader:arm", "case:arm")
_DEVIATIONS = (0.5, 0.8, 0.3, 0.5)
_THRESHOLDS = (-2.0, -0.5, 1.0, 2.5)
_LARGEST = 100_000
# Column of the table to the words for its target.
_TARGETS = {
    "half_width_most": "a half width, in four of five studies, of at most",
    "power": "a power of",
    "below_margin": "a power to show non-inferiority of",
}


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "simulate",
        help="sample size by simulation, or an export of simulated readers",
        description="`size` finds how many readers and cases a study needs; `export` writes the files of the "
        "sub-command export for simulated readers, marked as such in every file.",
    )
    parts = parser.add_subparsers(metavar="WHAT", dest="what", required=True)
    _add_size(parts)
    _add_export(parts)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    return _size(arguments) if arguments.what == "size" else _export(arguments)


def _add_size(parts: argparse._SubParsersAction) -> None:
    parser = parts.add_parser(
        "size",
        help="readers and cases for a required precision, power or non-inferiority",
        description="Simulates studies of two arms from an ordinal mixed model and reports, for each number of readers "
        "and cases, the 95 %% interval of the difference in mean score over readers and cases.",
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the table, the plot and the assumptions"
    )
    parser.add_argument(
        "--readers", type=int, nargs="+", default=[3, 4, 5, 6, 8, 10], metavar="N", help="default: 3 to 10"
    )
    parser.add_argument("--cases", type=int, nargs="+", default=[10, 20, 40, 80], metavar="N", help="default: 10 to 80")
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--half_width", type=float, metavar="X", help="required half width in points, in four of five studies"
    )
    target.add_argument("--power", type=float, metavar="P", help="required power to find the difference")
    target.add_argument("--noninferior", type=float, metavar="P", help="required power to show non-inferiority")
    parser.add_argument(
        "--margin", type=float, default=0.5, metavar="X", help="non-inferiority margin, in points (default: 0.5)"
    )
    parser.add_argument(
        "--studies", type=int, default=300, metavar="N", help="simulated studies of each size (default: 300)"
    )
    _add_assumptions(parser)
    parser.add_argument(
        "--effect", type=float, metavar="X", help="log odds ratio between the arms (default: 1, or the pilot's)"
    )
    parser.add_argument("--pilot", metavar="FILE", help="results.json of a study to take the assumptions from")
    parser.add_argument("--question", metavar="NAME", help="question of the pilot (default: the primary one)")
    parser.add_argument(
        "--pair",
        nargs=2,
        metavar="ARM",
        help="arms of the pilot, the second compared with the first (default: first, last)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")


def _add_assumptions(parser: argparse.ArgumentParser) -> None:
    default = " ".join(f"{t}={s}" for t, s in zip(_TERMS, _DEVIATIONS, strict=True))
    parser.add_argument(
        "--spread",
        type=_term,
        nargs="+",
        default=[],
        metavar="TERM=SD",
        help=f"standard deviations on the logit scale (default: {default}, or the pilot's)",
    )
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        metavar="X",
        help="between the categories, on the logit scale (default: -2 -0.5 1 2.5)",
    )


def _add_export(parts: argparse._SubParsersAction) -> None:
    parser = parts.add_parser(
        "export",
        help="a complete export of simulated readers",
        description="Writes study.json, ratings.csv and, on request, preferences.csv of simulated readers.",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="output folder; existing files are replaced")
    parser.add_argument(
        "--arms",
        nargs="+",
        default=["bicubic", "cnn", "gan", "reference"],
        metavar="NAME",
        help="names of the arms; the last is the reference",
    )
    parser.add_argument(
        "--effects", type=float, nargs="+", metavar="X", help="log odds ratio of each arm (default: 0, 1, 2, ...)"
    )
    parser.add_argument("--readers", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--cases", type=int, default=20, metavar="N", help="default: 20")
    parser.add_argument("--training", type=int, default=2, metavar="N", help="training cases (default: 2)")
    parser.add_argument(
        "--repeats", type=float, default=0.15, metavar="X", help="share of images rated twice (default: 0.15)"
    )
    parser.add_argument("--preferences", action="store_true", help="also every pair of arms side by side")
    _add_assumptions(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N")


def _term(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if name not in _TERMS or not 0 <= number <= 20:
        raise argparse.ArgumentTypeError(
            f"expected TERM=SD, TERM one of {', '.join(_TERMS)}, SD 0 to 20. Received: {text}"
        )
    return name, number


def _size(arguments: argparse.Namespace) -> int:
    _check_size(arguments)
    from tfmisr.reader_study.report import plots
    from tfmisr.reader_study.statistics.simulation import simulate_sample_size

    output = pathlib.Path(arguments.output)
    cli.check_writable(output)
    effect = 1.0 if arguments.effect is None else arguments.effect
    assumptions = _pilot(arguments) if arguments.pilot else _stated((0.0, effect), arguments)
    is_sufficient, target, column = _target(arguments)
    margin = arguments.margin if column == "below_margin" else None
    rows = []
    for readers in sorted(set(arguments.readers)):
        for cases in sorted(set(arguments.cases)):
            size = simulate_sample_size(assumptions, readers, cases, arguments.studies, margin, arguments.seed)
            rows.append(_row(size))
    smallest = min((row for row in rows if is_sufficient(row)), key=lambda row: row["readings"], default=None)
    cli.require_writable(output)
    write_text(output / "sample_size.csv", csv_text(list(rows[0]), rows))
    facts = {"simulated": True, "assumptions": dataclasses.asdict(assumptions), "studies": arguments.studies}
    facts |= {"seed": arguments.seed, "wanted": {column: target}, "smallest": smallest}
    write_text(output / "sample_size.json", json.dumps(facts, indent=1) + "\n")
    mean = assumptions.mean_scores()
    title = f"Simulated studies; true difference {mean[1] - mean[0]:+.2f} points"
    with atomic_write(output / "sample_size.png") as temporary:
        plots.sizes(rows, column, target, title).savefig(temporary, format="png")
    _print_sizes(rows, column, target, smallest, mean[1] - mean[0], output)
    return 0


def _check_size(arguments: argparse.Namespace) -> None:
    for name in ("readers", "cases"):
        values = getattr(arguments, name)
        if not all(2 <= n <= _LARGEST for n in values):
            raise InputError(f"--{name} must be 2 or more. Received: {' '.join(map(str, values))}")
    if arguments.seed < 0:
        raise InputError(f"--seed must be 0 or more. Received: {arguments.seed}")
    if not 10 <= arguments.studies <= _LARGEST:
        raise InputError(f"--studies must be 10 to {_LARGEST}. Received: {arguments.studies}")
    for name in ("power", "noninferior"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < 1:
            raise InputError(f"--{name} must lie between 0 and 1. Received: {value}")
    for name in ("half_width", "margin"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < 100:
            raise InputError(f"--{name} must be above 0. Received: {value}")
    if (arguments.question or arguments.pair) and not arguments.pilot:
        raise InputError("--question and --pair select from a pilot; give --pilot FILE")


def _target(arguments: argparse.Namespace) -> tuple[Callable[[dict], bool], float, str]:
    """Returns whether a row meets the target, the target, and its column."""
    if arguments.power is not None:
        return lambda row: row["power"] >= arguments.power, arguments.power, "power"
    if arguments.noninferior is not None:
        return lambda row: row["below_margin"] >= arguments.noninferior, arguments.noninferior, "below_margin"
    target = 0.5 if arguments.half_width is None else arguments.half_width
    return lambda row: row["half_width_most"] <= target, target, "half_width_most"


def _stated(
    effects: Sequence[float],
    arguments: argparse.Namespace,
    thresholds: Sequence[float] = _THRESHOLDS,
    deviations: dict[str, float] | None = None,
) -> "Assumptions":
    """Returns the given assumptions, with the flags' thresholds and standard deviations in their place."""
    from tfmisr.reader_study.statistics.simulation import Assumptions

    thresholds = tuple(arguments.thresholds or thresholds)
    if list(thresholds) != sorted(set(thresholds)) or not all(map(math.isfinite, (*thresholds, *effects))):
        raise InputError(f"--thresholds must increase. Received: {' '.join(map(str, thresholds))}")
    deviations = dict(zip(_TERMS, _DEVIATIONS, strict=True)) if deviations is None else deviations
    return Assumptions(tuple(effects), thresholds, {**deviations, **dict(arguments.spread)})


def _pilot(arguments: argparse.Namespace) -> "Assumptions":
    """Returns the estimates of a pilot study's ordinal model with reader:arm and case:arm terms as assumptions."""
    path = pathlib.Path(arguments.pilot)
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        questions = results["questions"]
        name = arguments.question or results["study"]["primary"] or next(iter(questions))
        if name not in questions:
            close = hint(name, questions)
            raise InputError(f"expected one of the pilot's questions {', '.join(questions)}. Received: {name}{close}")
        model = questions[name]["model"].get("within_arms") or questions[name]["model"]
        if "log_odds" not in model:
            raise InputError(f"the pilot {path} has no ordinal model of {name}; state the assumptions instead")
        arms = model["log_odds"]
        pair = arguments.pair or [next(iter(arms)), list(arms)[-1]]
        if not set(pair) <= set(arms):
            raise InputError(f"expected two of the pilot's arms {', '.join(arms)}. Received: {' '.join(pair)}")
        effects = [float(arms[arm]) for arm in pair]
        if arguments.effect is not None:
            effects[1] = effects[0] + arguments.effect
        return _stated(effects, arguments, tuple(map(float, model["thresholds"])), dict(model["deviations"]))
    except OSError as error:
        raise InputError(f"expected the results.json of a study at {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"expected the results.json of a study at {path}; missing or invalid: {error!r}") from error


def _row(size: "SampleSize") -> dict:
    row = {"simulated": 1, **dataclasses.asdict(size)}
    below = row.pop("below")
    return row if below is None else {**row, "below_margin": below}


def _print_sizes(
    rows: list[dict], column: str, target: float, smallest: dict | None, difference: float, output: pathlib.Path
) -> None:
    print(f"simulated studies; true difference {difference:+.2f} points")
    print(f"{'readers':>8}{'cases':>8}{'readings':>10}{'half width':>12}{'in 4 of 5':>12}{'power':>8}")
    for row in rows:
        ends = f"{row['half_width']:>12.2f}{row['half_width_most']:>12.2f}{row['power']:>8.2f}"
        print(f"{row['readers']:>8}{row['cases']:>8}{row['readings']:>10}{ends}")
    what = f"{_TARGETS[column]} {target:g}"
    if smallest:
        size = f"{smallest['readers']} readers and {smallest['cases']} cases"
        print(f"smallest of these with {what}: {size}, {smallest['readings']} readings")
    else:
        print(f"none of these reaches {what}; try more readers first: more cases cannot make up for few readers")
    print(f"table, plot and assumptions in {output}")


def _export(arguments: argparse.Namespace) -> int:
    for name, bound in (("readers", 1), ("cases", 1), ("training", 0), ("seed", 0)):
        if not bound <= getattr(arguments, name) <= _LARGEST:
            raise InputError(f"--{name} must be {bound} or more. Received: {getattr(arguments, name)}")
    if not 0 <= arguments.repeats <= 1:
        raise InputError(f"--repeats must be 0 to 1. Received: {arguments.repeats}")
    if len(arguments.arms) < 2 or len(set(arguments.arms)) < len(arguments.arms):
        raise InputError(f"--arms must be two or more different names. Received: {' '.join(arguments.arms)}")
    effects = arguments.effects or [float(i) for i in range(len(arguments.arms))]
    if len(effects) != len(arguments.arms):
        raise InputError(f"--effects must be one number an arm, {len(arguments.arms)}. Received: {len(effects)}")
    if arguments.thresholds and len(arguments.thresholds) != 4:
        raise InputError(f"--thresholds must be 4, between 5 categories. Received: {len(arguments.thresholds)}")
    from tfmisr.reader_study.statistics import simulated_export
    from tfmisr.reader_study.statistics.ratings import SIMULATED

    keys = ("readers", "cases", "training", "repeats", "preferences", "seed")
    study = simulated_export.SimulatedStudy(tuple(arguments.arms), **{key: getattr(arguments, key) for key in keys})
    paths = simulated_export.write(study, _stated(effects, arguments), arguments.output)
    print(f"{SIMULATED}: wrote {', '.join(map(str, paths))}")
    return 0
