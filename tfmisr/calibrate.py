"""python -m tfmisr.calibrate: turns a model's scale of the error into half-widths with a guarantee by patient.

Split conformal prediction; see `tfmisr.calibration.conformal` for the method and its papers.
"""

import argparse
import dataclasses
import pathlib
import shutil
import typing

from tfmisr import cli
from tfmisr.edge import card, half_width, shipped, uncertainty
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

if typing.TYPE_CHECKING:
    from tfmisr.calibration.outcome import Calibration

_ALPHAS = (0.05, 0.1, 0.32)
_GROUP_IMAGES = 200  # evenly spaced, of which the factors of edges and letters are found


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.calibrate",
        description="Calibrates the uncertainty head of a model on patients that it was not trained on: for a new "
        "patient, with probability 1 - delta, at least 1 - alpha of the pixels lie within SR +- w. Writes a new file "
        "with the same weights, and the head beside it.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"a .tflite file with its head, NAME.uncertainty.tflite, beside it, or one that comes with tfmisr "
        f"({', '.join(shipped.names())})",
    )
    parser.add_argument("--dataset", help="dataset's name or a folder (default: the built-in phantom)")
    parser.add_argument("--manual_dir", nargs="+", metavar="DIR", help="folders with its source files")
    parser.add_argument("--data_dir", metavar="DIR", help="where prepared datasets are kept")
    parser.add_argument("--patient_pattern", help="as for python -m tfmisr.fit")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", "all"),
        help="default: validation; of a folder of images: all",
    )
    parser.add_argument("--degradation", metavar="TEXT", help="as for python -m tfmisr.fit (default: the model's)")
    parser.add_argument(
        "--alpha",
        nargs="+",
        type=float,
        default=list(_ALPHAS),
        metavar="X",
        help="share of pixels that may lie outside, one for each level (default: 0.05 0.1 0.32)",
    )
    parser.add_argument(
        "--delta", type=float, default=0.1, metavar="X", help="share of patients that may not hold (default: 0.1)"
    )
    parser.add_argument(
        "--confidence",
        type=float,
        metavar="X",
        help="probability that this calibration has that share, such as 0.9; needs more patients and gives larger "
        "half-widths (default: the share holds on average over calibrations)",
    )
    parser.add_argument(
        "--group_split",
        choices=("train", "validation", "test"),
        help="find how much more edges and letters need on this split, on other patients than those of --split, such "
        "as the training patients (default: what the model's card says, if anything)",
    )
    parser.add_argument(
        "--declared",
        metavar="FILE.json",
        help="what the images of your archive are: an object of DICOM keywords and lists of their values (default: "
        "what the model's card declares, apart from bit depth, pixel spacing and compression)",
    )
    parser.add_argument("--max_images", type=int, metavar="N", help="use N images, evenly spaced")
    parser.add_argument("--output", metavar="FILE", help="a new .tflite file (default: NAME-calibrated.tflite, here)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    print(run(_parser().parse_args(argv)))
    return 0


def run(arguments: argparse.Namespace) -> "Calibration":
    """Calibrates the model of parsed flags and writes the new files.

    Raises:
        InputError: There is no such model, head or dataset, patients are too few, or the model was trained on them.
    """
    _check(arguments)
    path = _model(arguments.model)
    fields, head = card.read(path), _head(path)
    output = _output(arguments, path)
    from tfmisr import data, degradations
    from tfmisr.calibration import measuring, outcome, results, scope
    from tfmisr.data import pipeline
    from tfmisr.evaluation import image_scores
    from tfmisr.inference import upscalers

    upscaler = upscalers.load(str(path))
    use = scope.declared(arguments.declared, fields["applicability"])
    source = data.load_for(arguments, {})
    splits = _splits(arguments, source)
    degradation = degradations.of_card(fields, arguments.degradation)
    caches = [pipeline.cache_of(source, split) for split in splits]
    indices = image_scores.evenly_spaced(sum(map(len, caches)), arguments.max_images)
    places = [image_scores.located(caches, int(i)) for i in indices]
    patients = sorted({int(cache.patients[at]) for cache, at in places})
    settings = results.Settings(
        arguments.delta,
        arguments.confidence,
        source.name,
        splits[0] if len(splits) == 1 else "all",
        _images_sha256(caches, indices, upscaler.scale),
        degradation.describe(),
    )
    present = fields["uncertainty"] or {}
    notes = _refuse_training_patients(present.get("training_patients"), source, patients, settings)
    results.require_enough(len(patients), settings)
    plan = _plan(arguments, fields, source, splits, upscaler, head, degradation)
    scores = measuring.measure(upscaler, head, caches, indices, degradation, plan)
    field = results.fields(scores, plan, settings, present, head.card["weights_sha256"])
    applicability, note = scope.fit(places, upscaler, degradation, use)
    new = {"uncertainty": field, "applicability": applicability or fields["applicability"]}
    _write(path, {**fields, **new}, output)
    notes.append(note)
    notes += filter(None, [scope.header_note(use, arguments.declared is not None, applicability is not None)])
    return outcome.Calibration(output, field, tuple(notes))


def _check(arguments):
    alphas = arguments.alpha
    for name, values in (("alpha", alphas), ("delta", [arguments.delta]), ("confidence", [arguments.confidence])):
        for value in values:
            if value is not None and not 0 < value < 1:
                raise InputError(f"{name} must be above 0 and below 1. Received: {value}")
    if len({f"{alpha:g}" for alpha in alphas}) < len(alphas):
        raise InputError(f"alpha must have different values. Received: {' '.join(map(str, alphas))}")
    if arguments.max_images is not None and arguments.max_images < 1:
        raise InputError(f"max_images must be at least 1. Received: {arguments.max_images}")


def _model(name) -> pathlib.Path:
    path = shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser()
    if path.suffix != ".tflite":
        raise InputError(
            f"expected a .tflite file or one of {', '.join(shipped.names())}. Received: {name}; export a run with "
            "python -m tfmisr.export"
        )
    return path


def _head(path) -> uncertainty.Head:
    found = uncertainty.of(path)
    if found is None:
        raise InputError(
            f"expected an uncertainty head at {uncertainty.beside(path)}, found none; train one with "
            "python -m tfmisr.fit --uncertainty"
        )
    return found


def _output(arguments, path) -> pathlib.Path:
    output = pathlib.Path(arguments.output or f"{path.stem}-calibrated.tflite").expanduser()
    if output.suffix != ".tflite":
        raise InputError(f"output must be a .tflite file. Received: {output}")
    if output.name.endswith(uncertainty.SUFFIX):
        raise InputError(
            f"output needs another name than that of an uncertainty head, NAME{uncertainty.SUFFIX}. Received: {output}"
        )
    if output.absolute() == path.absolute() or (output.exists() and output.samefile(path)):
        raise InputError(f"output must be another file than the model, which stays as it is. Received: {output}")
    cli.check_writable(output.parent)
    return output


def _splits(arguments, source) -> list[str]:
    split = arguments.split or ("all" if source.name in ("image_folder", "volume_folder") else "validation")
    return list(source.splits) if split == "all" else [split]


def _images_sha256(caches, indices, scale) -> str:
    from tfmisr.evaluation import image_scores, protocol

    digest = protocol.ImagesHash()
    for index in indices:
        digest.add(*image_scores.reference(caches, int(index), scale))
    return digest.hexdigest()


def _refuse_training_patients(listed, source, patients, settings) -> list[str]:
    """Returns notes on what could not be checked."""
    from tfmisr.calibration import patients as training_patients

    if listed is None:
        return ["Note: the model's card does not list its training patients; make sure that none of them is here."]
    if not training_patients.comparable(listed, source):
        return [
            f"Note: the {listed['patients']} patients that the model was trained on are numbered otherwise "
            f"({listed['numbering']}) and cannot be compared; make sure that none of them is here."
        ]
    if trained := training_patients.among(listed, patients):
        raise InputError(
            f"expected patients that the model was not trained on. Received: {len(trained)} of {len(patients)} in "
            f"{settings.dataset}, split {settings.split}, are among its training patients; give another --split"
        )
    return []


def _plan(arguments, fields, source, splits, upscaler, head, degradation):
    from tfmisr.calibration import groups, measuring

    alphas = tuple(sorted(arguments.alpha))
    if arguments.group_split is None:
        return _plan_of_card(alphas, fields)
    if arguments.group_split in splits:
        raise InputError(
            f"group_split must be of other patients than split. Received: {arguments.group_split} for both"
        )
    from tfmisr.data import pipeline
    from tfmisr.evaluation import image_scores

    cache = pipeline.cache_of(source, arguments.group_split)
    indices = image_scores.evenly_spaced(len(cache), _GROUP_IMAGES)
    plan = measuring.Plan(alphas, groups.default(fields["scale"]), by_group=True)
    scores = measuring.measure(upscaler, head, [cache], indices, degradation, plan)
    factors = {}
    for alpha in alphas:
        needed = {name: [each.by_group[name][alpha] for each in scores] for name in scores[0].by_group}
        factors[alpha] = groups.factors(needed, arguments.delta)
    return dataclasses.replace(plan, factors=factors, by_group=False)


def _plan_of_card(alphas, fields):
    """Returns the plan with the factors of the card, if any, interpolated between its levels."""
    import numpy as np

    from tfmisr.calibration import measuring

    known = half_width.levels(fields)
    described = (fields["uncertainty"] or {}).get("groups")
    if not known or not described:
        return measuring.Plan(alphas)
    factors = {
        alpha: {
            name: float(np.interp(alpha, list(known), [level["factors"][name] for level in known.values()]))
            for name in half_width.GROUPS
        }
        for alpha in alphas
    }
    return measuring.Plan(alphas, half_width.Groups.from_card(described), factors)


def _write(path, fields, output):
    """Writes the head first: a calibrated model without its head would be refused."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(uncertainty.beside(output)) as temporary:
        shutil.copyfile(uncertainty.beside(path), temporary)
    with atomic_write(output) as temporary:
        temporary.write_bytes(card.replace(path.read_bytes(), fields))


if __name__ == "__main__":
    cli.run(main)
