"""python -m tfmisr.observe: detectability of known signals in upscaled images, for model observers.

Published evaluations agree that super-resolution can make an image easier to use and cannot add information: Zhang et
al., Impact of deep learning-based image super-resolution on binary signal detection, Journal of Medical Imaging 2021,
https://doi.org/10.1117/1.JMI.8.6.065501.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import pathlib
import typing

import tfmisr
from tfmisr import cli
from tfmisr.edge import shipped
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    from tfmisr.observers.outcome import Observation

_DEFAULT_TASKS = ("nodule_3mm", "line", "dot")


def _parser() -> argparse.ArgumentParser:
    from tfmisr.observers import catalog

    parser = cli.Parser(
        prog="python -m tfmisr.observe",
        description="Measures how well a known signal, inserted into real backgrounds before they are reduced, can be "
        "detected in HR, LR, interpolations and upscaled images, by model observers trained on other patients. Control "
        "arms are bicubic, back_projection and an unsharp mask. It is no substitute for a reader study.",
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help=f"one that comes with tfmisr ({', '.join(shipped.names())}), a run's folder, a .keras or .tflite file, an "
        "interpolation or a classical method",
    )
    parser.add_argument("--dataset", help="dataset's name or a folder (default: that of the first run)")
    parser.add_argument("--manual_dir", nargs="+", metavar="DIR", help="folders with its source files")
    parser.add_argument("--data_dir", metavar="DIR", help="where prepared datasets are kept")
    parser.add_argument("--patient_pattern", help="as for python -m tfmisr.fit")
    parser.add_argument(
        "--split",
        nargs="+",
        default=["test"],
        choices=("train", "validation", "test", "all"),
        help="one or more, of 30 patients together (default: test)",
    )
    parser.add_argument("--scale", type=int, metavar="S", help="default: the first model's, else 4")
    parser.add_argument("--degradation", metavar="TEXT", default="bicubic", help="as for python -m tfmisr.fit")
    parser.add_argument(
        "--task",
        nargs="+",
        default=list(_DEFAULT_TASKS),
        metavar="NAME",
        help=f"tasks, or JSON files with the fields of tfmisr.observers.tasks.Task: {', '.join(catalog.NAMES)} "
        f"(default: {' '.join(_DEFAULT_TASKS)})",
    )
    parser.add_argument(
        "--observer",
        default="cho",
        choices=catalog.OBSERVERS,
        help="cho: channelized Hotelling, which weighs frequencies by the noise (default); npw: matched filter; npwe: "
        "with an eye filter",
    )
    parser.add_argument(
        "--internal_noise", type=float, default=0.0, metavar="X", help="of the observer, levels of 8 bits (default: 0)"
    )
    parser.add_argument(
        "--per_image", type=int, default=14, metavar="N", help="windows of an image at most (default: 14)"
    )
    parser.add_argument("--max_images", type=int, metavar="N", help="use N images, evenly spaced")
    parser.add_argument(
        "--margin",
        type=float,
        default=0.02,
        metavar="X",
        help="AUC difference that counts as equivalent (default: 0.02)",
    )
    parser.add_argument(
        "--refits", type=int, default=0, metavar="N", help="train observers again in N bootstrap samples, as a check"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--output", default="observation", metavar="DIR", help="default: observation")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    print(run(_parser().parse_args(argv)))
    return 0


def run(arguments: argparse.Namespace) -> "Observation":
    """Measures the models of parsed flags, or of `tfmisr.options.parsed`, and writes the report.

    Raises:
        InputError: There is no such model, dataset or task, images are in color, or there are too few patients.
    """
    _check(arguments)
    folder = pathlib.Path(arguments.output)
    cli.check_writable(folder)
    from tfmisr import data, degradations, models
    from tfmisr.evaluation.results import finite
    from tfmisr.evaluation.scoring import REFERENCE
    from tfmisr.inference import upscalers
    from tfmisr.observers import outcome, report, results, tasks, windows

    chosen = [tasks.load(name) for name in arguments.task]
    if len({task.name for task in chosen}) < len(chosen):
        raise InputError(f"tasks must have different names. Received: {', '.join(task.name for task in chosen)}")
    found = [upscalers.load(name) for name in dict.fromkeys(arguments.models)]
    names = [u.name for u in found if u.name != REFERENCE]
    if len(set(names)) < len(names):
        raise InputError(f"models must have different names. Received: {', '.join(names)}")
    scale = arguments.scale or next((u.scale for u in found if u.scale), 4)
    models.check_scale(scale)
    bicubic = upscalers.load(REFERENCE)
    controls = [bicubic, upscalers.load("back_projection"), windows.unsharp_mask(bicubic)]
    arms = [*controls, *(u for u in found if u.name not in [c.name for c in controls])]
    source = data.load_for(arguments, next((u.config for u in found if u.config), {}))
    degradation = degradations.make(arguments.degradation, scale=scale)
    settings = results.Settings(
        tuple(dict.fromkeys(arguments.split)),
        scale,
        arguments.observer,
        arguments.internal_noise,
        arguments.per_image,
        arguments.max_images,
        arguments.margin,
        arguments.seed,
    )
    measured = [results.measure(task, arms, source, degradation, settings, arguments.refits) for task in chosen]
    pictures = [result.pop("pictures") for result in measured]
    content = {
        "protocol": _protocol(settings, source, degradation, chosen, [u.name for u in arms[1:]]),
        "tasks": [finite(result) for result in measured],
    }
    report.write(content, pictures, folder)
    return outcome.Observation(folder, content)


def _check(arguments):
    for name in ("per_image", "max_images", "margin"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise InputError(f"{name} must be above 0. Received: {value}")
    for name in ("internal_noise", "refits", "seed"):
        if not 0 <= getattr(arguments, name) < math.inf:
            raise InputError(f"{name} must be 0 or more. Received: {getattr(arguments, name)}")


def _protocol(settings, source, degradation, tasks, models) -> dict:
    fields = dataclasses.asdict(settings) | {
        "splits": list(settings.splits),
        "dataset": source.name,
        "prepared": source.folder.parent.name,
        "degradation": degradation.describe(),
        "tasks": {task.name: task.hash for task in tasks},
    }
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
    return fields | {"models": models, "hash": digest}


tfmisr._make_callable(__name__)

if __name__ == "__main__":
    cli.run(main)
