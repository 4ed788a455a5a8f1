"""python -m tfmisr.evaluate: scores models and interpolations on the whole images of a split."""

import argparse
import dataclasses
import json
import math
import pathlib
import sys

import tfmisr
from tfmisr import classical, cli
from tfmisr.edge import shipped
from tfmisr.edge.errors import InputError, check_name
from tfmisr.edge.text import counted
from tfmisr.evaluation import outcomes
from tfmisr.evaluation.scoring import FURTHER, INTERPOLATIONS, LEARNED, MEASURES, OF_SETS, REFERENCE
from tfmisr.losses.expression import VALUE_RANGES

_INHERITED = ("scale", "degradation", "blur_sigma", "noise_std", "quantize_lr")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.evaluate",
        description="Scores models and interpolations on the whole images of a split.",
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
        + "); one of these that learns does so on the dataset's train split, once; a network's name with + "
        "is its mean over eight orientations",
    )
    parser.add_argument("--dataset", help="dataset's name or a folder (default: the first run's own)")
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
        default=[",".join(MEASURES)],
        metavar="NAME",
        help=f"psnr and others of: {', '.join(MEASURES)} (these are the default), {', '.join(FURTHER)}",
    )
    parser.add_argument(
        "--features",
        metavar="FILE",
        help="network (.keras) that fid and kid look through (default: Inception v3, whose weights are downloaded)",
    )
    parser.add_argument(
        "--features_range",
        choices=tuple(VALUE_RANGES),
        help="its black and white: unit 0 and 1 (default), signed -1 and 1, bytes 0 and 255",
    )
    parser.add_argument(
        "--weights_dir", metavar="DIR", help="published weights of lpips, fid, kid (default: ~/.cache/tfmisr/weights)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="for classical methods that learn (default: 0)"
    )
    parser.add_argument("--max_images", type=int, metavar="N", help="judge N images, taken evenly")
    parser.add_argument(
        "--merge", nargs="+", default=[], metavar="PATH", help="metrics.json of the same protocol, or its folder"
    )
    parser.add_argument("--output", metavar="DIR", help="default: evaluation/ in the first run's folder, or here")
    return parser


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    print(run(_parser().parse_args(argv)))
    return 0


def run(arguments: argparse.Namespace) -> outcomes.Evaluation:
    """Scores what the parsed flags, or `tfmisr.options.parsed`, say."""
    measures = _measures(arguments)
    _check(arguments)
    folder = _output(arguments)
    cli.check_writable(folder)
    from tfmisr import data, degradations, models
    from tfmisr.evaluation import scoring
    from tfmisr.inference import fitting, upscalers

    features = _looked_through(arguments, measures)
    chosen = _unique([classical.create(name) or upscalers.load(name) for name in arguments.models])
    trained = [u for u in chosen if u.config]
    values = {key: _agreed(arguments, trained, key) for key in _INHERITED}
    scale = values["scale"]
    scale = next((u.scale for u in chosen if u.scale), 4) if scale is None else scale
    models.check_scale(scale)
    _check_scales(chosen, scale)
    if not any(u.name == REFERENCE for u in chosen):
        chosen = [upscalers.load(REFERENCE), *chosen]
    source = data.load_for(arguments, trained[0].config if trained else {})
    learning = trained or set(arguments.models) & set(classical.LEARNING)
    if learning and arguments.split in ("train", "all"):
        print(
            f"warning: --split {arguments.split} includes images that models were trained on; "
            "its numbers say nothing about new patients",
            file=sys.stderr,
        )
    fields = {**values, "scale": scale}
    degradation = degradations.of(fields)
    chosen = [fitting.fit_upscaler(u, source, fields, arguments.seed) for u in chosen]
    result = scoring.evaluate(
        chosen,
        source,
        arguments.split,
        scale,
        degradation,
        arguments.crop_border,
        measures,
        arguments.max_images,
        features=features,
        weights_dir=arguments.weights_dir,
    )
    metrics = scoring.write(result, folder, _merged(arguments.merge, result))
    for note in result.notes:
        print(f"warning: {note}", file=sys.stderr)
    return outcomes.Evaluation(folder, metrics)


def _measures(arguments) -> list[str]:
    """Returns the names given as `psnr ssim` or as `psnr,ssim`, each once."""
    names = [name for text in arguments.measures for name in text.split(",") if name]
    for name in names:
        check_name("measure", name, [*MEASURES, *FURTHER])
    if "psnr" not in names:
        raise InputError(f"--measures must hold psnr. Received: {' '.join(names)}")
    if arguments.features and not set(names) & set(OF_SETS):
        raise InputError("--features is what fid and kid look through; add one of them to --measures")
    if arguments.features_range and not arguments.features:
        raise InputError("--features_range says what the network of --features takes; give it too")
    return list(dict.fromkeys(names))


def _looked_through(arguments, measures):
    """Returns the network of FID and KID; weights that cannot be had are told before anything is learned or judged."""
    if set(measures) & set(LEARNED):
        from tfmisr.metrics import lpips

        for name in (m for m in measures if m in LEARNED):
            lpips.files(name, arguments.weights_dir)
    if not set(measures) & set(OF_SETS):
        return None
    from tfmisr.metrics import features

    if not arguments.features:
        return features.standard(arguments.weights_dir)
    return features.from_file(arguments.features, arguments.features_range or "unit")


def _check(arguments):
    for name in ("crop_border", "blur_sigma", "noise_std"):
        if not 0 <= (getattr(arguments, name) or 0) < math.inf:
            raise InputError(f"{name} must be a number, 0 or more. Received: {getattr(arguments, name)}")
    if arguments.max_images is not None and arguments.max_images < 1:
        raise InputError(f"max_images must be at least 1. Received: {arguments.max_images}")
    if not 0 <= arguments.seed < 2**32:
        raise InputError(f"seed must be in [0, 2**32). Received: {arguments.seed}")


def _agreed(arguments, trained, key):
    """Returns the flag, else what all runs were trained with; runs that differ need the flag."""
    if getattr(arguments, key) is not None:
        return getattr(arguments, key)
    values = {u.name: u.config.get(key) for u in trained}
    if len(set(values.values())) > 1:
        listed = ", ".join(f"{name}: {value}" for name, value in values.items())
        raise InputError(f"the runs were trained with different {key} ({listed}); give --{key}")
    return next(iter(values.values()), None)


def _check_scales(chosen, scale):
    for u in chosen:
        if u.scale not in (None, scale):
            raise InputError(
                f"{u.name} enlarges {u.scale} times, this evaluation {scale} times; "
                "numbers of different protocols are not compared"
            )


def _unique(chosen):
    counts, result = {}, []
    for u in chosen:
        counts[u.name] = counts.get(u.name, 0) + 1
        name = u.name if counts[u.name] == 1 else f"{u.name}-{counts[u.name]}"
        result.append(dataclasses.replace(u, name=name))
    return result


def _merged(paths, result) -> dict:
    from tfmisr.evaluation import protocol

    models = {}
    for path in paths:
        path = pathlib.Path(path)
        path = path / "metrics.json" if path.is_dir() else path
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            found["protocol"], found["models"]  # noqa: B018  both must be there
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"expected a metrics.json at {path}: {error}") from error
        protocol.require_same(result.protocol.to_dict(), found["protocol"], path)
        _require_same_count(result.summary, found["models"], path)
        models |= _other_models(models | result.summary, found["models"], path)
    return models


def _require_same_count(known, found, path) -> None:
    """Raises an `InputError` where PSNR is the mean of other images there, some having been left out."""
    here = _images_with_psnr(next(iter(known.values())))
    for model in found.values():
        if (there := _images_with_psnr(model)) != here:
            raise InputError(
                f"{path} holds PSNR of {counted(there, 'image')}, this evaluation of {here}: some are blank or "
                "reproduced exactly by a model; judge all models in one command"
            )


def _images_with_psnr(model) -> int:
    # Before images were left out, one without a PSNR left the whole mean without a value.
    return model.get("psnr_n", 0 if model.get("psnr") is None else model["n"])


def _other_models(known, found, path) -> dict:
    for name in known.keys() & found.keys():
        own, other = (_number(models[name].get("psnr")) for models in (known, found))
        if not math.isclose(own, other, rel_tol=1e-6):
            raise InputError(
                f"{path} holds another model named {name}; rename the folder of one run and judge it again"
            )
    return found


def _number(value) -> float:
    return value if value is not None and math.isfinite(value) else math.inf


def _output(arguments) -> pathlib.Path:
    if arguments.output:
        return pathlib.Path(arguments.output)
    run = next((p for p in map(pathlib.Path, arguments.models) if p.is_dir()), pathlib.Path())
    return run / "evaluation"


tfmisr._make_callable(__name__)

if __name__ == "__main__":
    cli.run(main)
