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
        metavar="NAME",
        help=f"tasks, or JSON files with the fields of tfmisr.observers.tasks.Task: {', '.join(catalog.NAMES)} "
        f"(default: {' '.join(_DEFAULT_TASKS)}; with --classifier: none)",
    )
    parser.add_argument(
        "--contrasts",
        type=float,
        nargs="+",
        metavar="F",
        help="measure AUC also at these multiples of a task's contrast, for AUC against contrast, such as 0.5 2",
    )
    parser.add_argument(
        "--observer",
        default="cho",
        choices=catalog.OBSERVERS,
        help="cho: channelized Hotelling, which weighs frequencies by the noise (default); npw: matched filter; npwe: "
        "with an eye filter",
    )
    parser.add_argument(
        "--search",
        type=int,
        default=0,
        metavar="N",
        help="signals lie up to N pixels from the middle of their windows, and the observer searches them (LROC); "
        "default: 0, their place is known",
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
    _add_classifier(parser)
    parser.add_argument("--output", default="observation", metavar="DIR", help="default: observation")
    return parser


def _add_classifier(parser):
    group = parser.add_argument_group(
        "classifier",
        "A trained classifier, which is not changed, sees the images of every arm, without inserted signals.",
    )
    group.add_argument(
        "--classifier",
        metavar="FILE",
        help=".keras or .tflite file, or module:function of your own, which is imported and run; returns probabilities",
    )
    group.add_argument(
        "--labels",
        metavar="CSV",
        help="columns id (of a folder: file) and, in the order of the outputs, labels of 0 or 1",
    )
    group.add_argument(
        "--classifier_size",
        type=int,
        nargs="+",
        metavar="N",
        help="side of its input, or height and width, to which images of all arms are resized (default: the file's)",
    )
    group.add_argument(
        "--classifier_range", type=float, nargs="+", metavar="X", help="its values for stored 0 and full scale: 0 255"
    )
    group.add_argument(
        "--classifier_polarity",
        choices=("stored", "inverted"),
        help="stored: the images as the dataset has them; inverted: full scale minus that",
    )
    group.add_argument(
        "--threshold", type=float, metavar="P", help="probability from which a decision is positive (default: 0.5)"
    )


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    print(run(_parser().parse_args(argv)))
    return 0


def run(arguments: argparse.Namespace) -> "Observation":
    """Measures the models of parsed flags, or of `tfmisr.options.parsed`, and writes the report.

    Raises:
        InputError: There is no such model, dataset, task or classifier, images are in color, or there are too few
            patients.
    """
    _check(arguments)
    folder = pathlib.Path(arguments.output)
    cli.check_writable(folder)
    from tfmisr import data, degradations, models
    from tfmisr.evaluation.results import finite
    from tfmisr.inference import upscalers
    from tfmisr.observers import classifier_results, outcome, parts, report, results

    chosen = _tasks(arguments)
    used = classifier_results.load(arguments) if arguments.classifier else None
    found = [upscalers.load(name) for name in dict.fromkeys(arguments.models)]
    scale = arguments.scale or next((u.scale for u in found if u.scale), 4)
    models.check_scale(scale)
    arms = _arms(found)
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
        arguments.search,
    )
    setup = arms, source, degradation, settings
    content = {"protocol": _protocol(settings, source, degradation, chosen, [u.name for u in arms[1:]], used)}
    with parts.Parts(folder) as store:
        measured = [
            results.measure(task, *setup, arguments.refits, store=store, contrasts=arguments.contrasts or ())
            for task in chosen
        ]
        pictures = [result.pop("pictures") for result in measured]
        content["tasks"] = [finite(result) for result in measured]
        if used:
            content["classifier"] = finite(used.measure(*setup, store=store))
        report.write(content, pictures, folder)
    return outcome.Observation(folder, content)


def _tasks(arguments):
    from tfmisr.observers import tasks

    names = arguments.task or ([] if arguments.classifier else _DEFAULT_TASKS)
    chosen = [tasks.load(name) for name in names]
    if len({task.name for task in chosen}) < len(chosen):
        raise InputError(f"tasks must have different names. Received: {', '.join(task.name for task in chosen)}")
    return chosen


def _arms(found):
    """Returns the control arms and the models."""
    from tfmisr.evaluation.scoring import REFERENCE
    from tfmisr.inference import upscalers
    from tfmisr.observers import windows

    names = [u.name for u in found if u.name != REFERENCE]
    if len(set(names)) < len(names):
        raise InputError(f"models must have different names. Received: {', '.join(names)}")
    bicubic = upscalers.load(REFERENCE)
    controls = [bicubic, upscalers.load("back_projection"), windows.unsharp_mask(bicubic)]
    return [*controls, *(u for u in found if u.name not in [c.name for c in controls])]


def _check(arguments):
    for name in ("per_image", "max_images", "margin"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise InputError(f"{name} must be above 0. Received: {value}")
    for name in ("internal_noise", "refits", "seed", "search"):
        if not 0 <= getattr(arguments, name) < math.inf:
            raise InputError(f"{name} must be 0 or more. Received: {getattr(arguments, name)}")
    if wrong := [factor for factor in arguments.contrasts or () if not 0 <= factor < math.inf]:
        raise InputError(f"contrasts must be multiples of 0 or more. Received: {wrong[0]}")
    own = [n for n in vars(arguments) if n in ("labels", "threshold") or n.startswith("classifier_")]
    if not arguments.classifier and (given := [name for name in own if getattr(arguments, name) is not None]):
        raise InputError(f"{given[0]} needs a classifier (--classifier)")


def _protocol(settings, source, degradation, tasks, models, classifier) -> dict:
    fields = dataclasses.asdict(settings) | {
        "splits": list(settings.splits),
        "dataset": source.name,
        "prepared": source.folder.parent.name,
        "degradation": degradation.describe(),
        "tasks": {task.name: task.hash for task in tasks},
    }
    if not settings.search:
        del fields["search"]  # so that hashes are those of earlier releases
    if classifier:
        fields["classifier"] = classifier.described()
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
    return fields | {"models": models, "hash": digest}


tfmisr._make_callable(__name__)

if __name__ == "__main__":
    cli.run(main)
