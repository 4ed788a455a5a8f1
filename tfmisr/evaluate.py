"""python -m tfmisr.evaluate: scores models and interpolations on the full images of a split."""

import argparse
import dataclasses
import math
import pathlib
import sys
import typing

import tfmisr
from tfmisr import classical, cli, metrics
from tfmisr.cluster import flags
from tfmisr.edge import shipped
from tfmisr.edge.errors import InputError, check_name
from tfmisr.evaluation import outcomes
from tfmisr.evaluation.scoring import INTERPOLATIONS, REFERENCE
from tfmisr.losses.expression import VALUE_RANGES

if typing.TYPE_CHECKING:
    from tfmisr.evaluation.volume_results import VolumeEvaluation

_INHERITED = ("scale", "degradation", "blur_sigma", "noise_std", "quantize_lr")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.evaluate",
        description="Scores models and interpolations on the full images of a split.",
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help=f"one that comes with tfmisr ({', '.join(shipped.names())}), a run's folder, a .keras, .tflite or .npz "
        "file, an interpolation ("
        + ", ".join(INTERPOLATIONS)
        + ") or a classical method ("
        + ", ".join(classical.METHODS)
        + "); methods that are trained use the dataset's train split, once; a network's name with + "
        "is its geometric self-ensemble, the mean over eight flips and rotations",
    )
    parser.add_argument("--dataset", help="dataset's name or a folder (default: that of the first run)")
    parser.add_argument("--manual_dir", nargs="+", metavar="DIR", help="folders with its source files")
    parser.add_argument("--data_dir", metavar="DIR", help="where prepared datasets are kept")
    parser.add_argument("--patient_pattern", help="as for python -m tfmisr.fit")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test", "all"), help="default: test")
    parser.add_argument("--scale", type=int, metavar="S", help="default: the first run's, else 4")
    parser.add_argument("--crop_border", type=int, metavar="N", help="pixels cut off at each edge (default: scale)")
    parser.add_argument(
        "--degradation",
        metavar="TEXT",
        help="as for python -m tfmisr.fit; bicubic(rounding=pillow8): LR as Pillow resizes 8-bit images "
        "(default: the first run's, else bicubic)",
    )
    parser.add_argument("--blur_sigma", type=float, metavar="X", help="default: the first run's, else 0")
    parser.add_argument("--noise_std", type=float, metavar="X", help="default: the first run's, else 0")
    parser.add_argument(
        "--quantize_lr", action=argparse.BooleanOptionalAction, help="default: the first run's, else yes"
    )
    parser.add_argument(
        "--measures",
        nargs="+",
        default=[",".join(metrics.default_names())],
        metavar="NAME",
        help=f"metrics, psnr among them: {', '.join(metrics.default_names())} (these are the default), "
        + ", ".join(metrics.optional_names()),
    )
    parser.add_argument(
        "--features",
        metavar="FILE",
        help="feature network (.keras) of fid and kid (default: Inception v3, whose weights are downloaded)",
    )
    parser.add_argument(
        "--features_range",
        choices=tuple(VALUE_RANGES),
        help="value range of its input: unit [0, 1] (default), signed [-1, 1], bytes [0, 255]",
    )
    parser.add_argument(
        "--weights_dir", metavar="DIR", help="published weights of lpips, fid, kid (default: ~/.cache/tfmisr/weights)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="for classical methods that are trained (default: 0)"
    )
    parser.add_argument("--max_images", type=int, metavar="N", help="evaluate N images, evenly spaced")
    parser.add_argument(
        "--merge", nargs="+", default=[], metavar="PATH", help="metrics.json of the same protocol, or its folder"
    )
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="that score images (default: 1)")
    flags.add_flags(parser, "scored", "the evaluation ends with its reason")
    _add_volume_flags(parser.add_argument_group("volumes"))
    parser.add_argument("--output", metavar="DIR", help="default: evaluation/ in the first run's folder, or here")
    return parser


def _add_volume_flags(group):
    group.add_argument(
        "--volumes",
        nargs="+",
        metavar="PATH",
        help="score methods for volumes (spline, linear, lanczos along the slice axis; self or smore, trained on each "
        "volume; a .tflite plane network) on these thin CT and MR volumes: folders, NIfTI files, DICOM files",
    )
    group.add_argument("--ratio", type=float, metavar="R", help="thick over thin distance between slices (default: 4)")
    group.add_argument(
        "--slice_profile",
        metavar="TEXT",
        help="of the thick slices: gaussian (default) or rectangular, with its full width at half maximum, such as "
        "gaussian:5mm (default: the distance between slices less the gap)",
    )
    group.add_argument("--gap", type=float, metavar="MM", help="between thick slices; below 0: overlap (default: 0)")
    group.add_argument(
        "--threshold", type=float, metavar="X", help="of the volume error, in HU for CT (default: Otsu's)"
    )
    group.add_argument(
        "--steps", type=int, metavar="N", help="training steps of self and smore a volume (default: 900)"
    )
    group.add_argument("--minutes", type=float, metavar="N", help="training minutes of self and smore a volume")


_VOLUME_FLAGS = ("ratio", "slice_profile", "gap", "threshold", "steps", "minutes")
_SHARED_FLAGS = ("models", "volumes", "patient_pattern", "seed", "merge", "output")


def _refuse_image_flags(arguments):
    parser = _parser()
    for name, value in vars(arguments).items():
        if name not in (*_VOLUME_FLAGS, *_SHARED_FLAGS) and value != parser.get_default(name):
            raise InputError(f"--{name} is for images; leave it out with --volumes")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    print(run(_parser().parse_args(argv)))
    return 0


def run(arguments: argparse.Namespace) -> "outcomes.Evaluation | VolumeEvaluation":
    """Scores the models of parsed flags, or of `tfmisr.options.parsed`.

    Raises:
        InputError: There is no such model, dataset or metric, or the models cannot be compared.
    """
    if arguments.volumes:
        _refuse_image_flags(arguments)
        from tfmisr.volumes import scoring as volume_scoring

        return volume_scoring.run(arguments)
    measures = _measures(arguments)
    _check(arguments)
    workers = flags.options(arguments)
    folder = _output(arguments)
    cli.check_writable(folder)
    from tfmisr import data, degradations, models
    from tfmisr.evaluation import distributed, merging, results, scoring
    from tfmisr.inference import fitting, upscalers

    features = _feature_network(arguments, measures)
    methods = _unique_names([classical.create(name) or upscalers.load(name) for name in arguments.models])
    trained = [u for u in methods if u.config]
    values = {key: _common_value(arguments, trained, key) for key in _INHERITED}
    scale = values["scale"]
    scale = next((u.scale for u in methods if u.scale), 4) if scale is None else scale
    models.check_scale(scale)
    _check_scales(methods, scale)
    names = list(arguments.models)
    if not any(u.name == REFERENCE for u in methods):
        methods, names = [upscalers.load(REFERENCE), *methods], [REFERENCE, *names]
    _require_half_widths(methods, measures)
    source = data.load_for(arguments, trained[0].config if trained else {})
    learning = trained or set(arguments.models) & set(classical.LEARNING)
    if learning and arguments.split in ("train", "all"):
        print(
            f"warning: --split {arguments.split} includes images that models were trained on; "
            "its numbers do not generalize to new patients",
            file=sys.stderr,
        )
    fields = {**values, "scale": scale}
    degradation = degradations.of(fields)
    files = [fitting.fitted_file(u, source, fields, arguments.seed) for u in methods]
    methods = [fitting.load_fitted(u, file, fields) for u, file in zip(methods, files, strict=True)]
    run_flags = (arguments.split, scale, degradation, arguments.crop_border, measures, arguments.max_images)
    loadables = [file or upscalers.absolute(name) for file, name in zip(files, names, strict=True)]
    task = distributed.EvaluationTask.of(arguments, source, fields, measures, zip(methods, loadables, strict=True))
    with distributed.distribution(arguments, workers, task) as distribute:
        result = scoring.evaluate(
            methods, source, *run_flags, features=features, weights_dir=arguments.weights_dir, distribute=distribute
        )
    content = results.write(result, folder, merging.merged_models(arguments.merge, result))
    for note in result.notes:
        print(f"warning: {note}", file=sys.stderr)
    return outcomes.Evaluation(folder, content)


def _measures(arguments) -> list[str]:
    """Returns the names given as `psnr ssim` or as `psnr,ssim`, each once, after PSNR, which the verdict needs."""
    names = [name for text in arguments.measures for name in text.split(",") if name]
    for name in names:
        check_name("measure", name, metrics.names())
    if "psnr" not in names:
        names.insert(0, "psnr")
    per_set = [metric.name for metric in metrics.rows() if metric.per_set]
    if arguments.features and not set(names) & set(per_set):
        raise InputError(f"--features is the network of {' and '.join(per_set)}; add one of them to --measures")
    if arguments.features_range and not arguments.features:
        raise InputError("--features_range is the value range of the network of --features; give it too")
    return list(dict.fromkeys(names))


def _feature_network(arguments, measures):
    """Returns the network of the set-level metrics; missing weights are reported before anything is trained."""
    rows = [metrics.get(name) for name in measures]
    for metric in rows:
        metric.files(arguments.weights_dir)
    if not any(metric.per_set for metric in rows):
        return None
    from tfmisr.metrics import _features

    if not arguments.features:
        return _features.standard(arguments.weights_dir)
    return _features.from_file(arguments.features, arguments.features_range or "unit")


def _check(arguments):
    given = next((name for name in _VOLUME_FLAGS if getattr(arguments, name) is not None), None)
    if given:
        raise InputError(f"--{given} is for volumes; give --volumes too, or leave it out")
    for name in ("crop_border", "blur_sigma", "noise_std"):
        if not 0 <= (getattr(arguments, name) or 0) < math.inf:
            raise InputError(f"{name} must be a number, 0 or more. Received: {getattr(arguments, name)}")
    if arguments.max_images is not None and arguments.max_images < 1:
        raise InputError(f"max_images must be at least 1. Received: {arguments.max_images}")
    if arguments.processes < 1:
        raise InputError(f"processes must be at least 1. Received: {arguments.processes}")
    if not 0 <= arguments.seed < 2**32:
        raise InputError(f"seed must be in [0, 2**32). Received: {arguments.seed}")


def _common_value(arguments, trained, key):
    """Returns the flag, else the value that all runs were trained with; runs that differ need the flag."""
    if getattr(arguments, key) is not None:
        return getattr(arguments, key)
    values = {u.name: u.config.get(key) for u in trained}
    if len(set(values.values())) > 1:
        listed = ", ".join(f"{name}: {value}" for name, value in values.items())
        raise InputError(f"the runs were trained with different {key} ({listed}); give --{key}")
    return next(iter(values.values()), None)


def _check_scales(methods, scale):
    for u in methods:
        if u.scale not in (None, scale):
            raise InputError(
                f"{u.name} upscales {u.scale} times, this evaluation {scale} times; "
                "numbers of different protocols are not compared"
            )


def _require_half_widths(methods, measures):
    """Checks that at least one model has a calibrated half-width where one is measured; others have none of it."""
    measured = [name for name in measures if metrics.get(name).half_width]
    if measured and not any(u.half_width for u in methods):
        raise InputError(
            f"{' and '.join(measured)} needs a model with a calibrated half-width. Received: "
            f"{', '.join(u.name for u in methods)}; calibrate one with python -m tfmisr.calibrate"
        )


def _unique_names(methods):
    counts, result = {}, []
    for u in methods:
        counts[u.name] = counts.get(u.name, 0) + 1
        name = u.name if counts[u.name] == 1 else f"{u.name}-{counts[u.name]}"
        result.append(dataclasses.replace(u, name=name))
    return result


def _output(arguments) -> pathlib.Path:
    if arguments.output:
        return pathlib.Path(arguments.output)
    run = next((p for p in map(pathlib.Path, arguments.models) if p.is_dir()), pathlib.Path())
    return run / "evaluation"


tfmisr._make_callable(__name__)

if __name__ == "__main__":
    cli.run(main)
