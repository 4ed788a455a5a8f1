"""python -m tfmisr.evaluate: scores models and interpolations on the whole images of a split."""

import argparse
import dataclasses
import json
import math
import pathlib
import sys

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.scoring import INTERPOLATIONS, MEASURES, REFERENCE

_INHERITED = ("scale", "blur_sigma", "noise_std", "quantize_lr")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfmisr.evaluate",
        description="Scores models and interpolations on the whole images of a split.",
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a run's folder, a .keras or .tflite file, or an interpolation: " + ", ".join(INTERPOLATIONS),
    )
    parser.add_argument("--dataset", help="dataset's name or a folder (default: the first run's own)")
    parser.add_argument("--manual_dir", nargs="+", metavar="DIR", help="folders with its source files")
    parser.add_argument("--data_dir", metavar="DIR", help="where prepared datasets are kept")
    parser.add_argument("--patient_pattern", help="as for python -m tfmisr.fit")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test", "all"), help="default: test")
    parser.add_argument("--scale", type=int, metavar="S", help="default: the first run's, else 4")
    parser.add_argument("--crop_border", type=int, metavar="N", help="pixels cut off at each edge (default: scale)")
    parser.add_argument("--blur_sigma", type=float, metavar="X", help="default: the first run's, else 0")
    parser.add_argument("--noise_std", type=float, metavar="X", help="default: the first run's, else 0")
    parser.add_argument(
        "--quantize_lr", action=argparse.BooleanOptionalAction, help="default: the first run's, else yes"
    )
    parser.add_argument(
        "--measures",
        default=",".join(MEASURES),
        metavar="A,B",
        help=f"which to compute (default: {','.join(MEASURES)})",
    )
    parser.add_argument("--max_images", type=int, metavar="N", help="judge N images, taken evenly")
    parser.add_argument(
        "--merge", nargs="+", default=[], metavar="FILE", help="metrics.json files of the same protocol"
    )
    parser.add_argument("--output", metavar="DIR", help="default: evaluation/ in the first run's folder, or here")
    return parser


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    _check(arguments)
    from tfmisr import data, degradations, models, scoring, upscalers
    from tfmisr.report import table

    chosen = _unique([upscalers.load(name) for name in arguments.models])
    trained = [u for u in chosen if u.config]
    values = {key: _agreed(arguments, trained, key) for key in _INHERITED}
    scale = values.pop("scale")
    scale = next((u.scale for u in chosen if u.scale), 4) if scale is None else scale
    models.check_scale(scale)
    _check_scales(chosen, scale)
    if not any(u.name == REFERENCE for u in chosen):
        chosen = [upscalers.load(REFERENCE), *chosen]
    source = data.load_for(arguments, trained[0].config if trained else {})
    if trained and arguments.split in ("train", "all"):
        print(
            f"warning: the {arguments.split} split holds images that models learn from; "
            "such numbers say nothing about new patients",
            file=sys.stderr,
        )
    folder = _output(arguments)
    cli.check_writable(folder)
    degradation = degradations.make(scale, **{k: v for k, v in values.items() if v is not None})
    result = scoring.evaluate(
        chosen,
        source,
        arguments.split,
        scale,
        degradation,
        arguments.crop_border,
        arguments.measures.split(","),
        arguments.max_images,
    )
    metrics = scoring.write(result, folder, _merged(arguments.merge, result))
    print(table.console_table(metrics))
    print(f"protocol {result.protocol.hash}; tables and montage in {folder}")
    return 0


def _check(arguments):
    unknown = [m for m in arguments.measures.split(",") if m not in MEASURES]
    if unknown or "psnr" not in arguments.measures.split(","):
        raise InputError(
            f"--measures must hold psnr and otherwise only {', '.join(MEASURES)}. Received: {arguments.measures}"
        )
    for name in ("crop_border", "blur_sigma", "noise_std"):
        if not 0 <= (getattr(arguments, name) or 0) < math.inf:
            raise InputError(f"{name} must be a number, 0 or more. Received: {getattr(arguments, name)}")
    if arguments.max_images is not None and arguments.max_images < 1:
        raise InputError(f"max_images must be at least 1. Received: {arguments.max_images}")


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
    from tfmisr import protocol

    models = {}
    for path in paths:
        try:
            found = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
            found["protocol"], found["models"]  # noqa: B018  both must be there
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"expected a metrics.json at {path}: {error}") from error
        protocol.require_same(result.protocol.to_dict(), found["protocol"], path)
        models |= _other_models(models | result.summary, found["models"], path)
    return models


def _other_models(known, found, path) -> dict:
    for name in known.keys() & found.keys():
        own, other = (models[name].get("psnr") or math.inf for models in (known, found))
        if not math.isclose(own, other, rel_tol=1e-6):
            raise InputError(
                f"{path} holds another model named {name}; rename the folder of one run and judge it again"
            )
    return found


def _output(arguments) -> pathlib.Path:
    if arguments.output:
        return pathlib.Path(arguments.output)
    run = next((p for p in map(pathlib.Path, arguments.models) if p.is_dir()), pathlib.Path())
    return run / "evaluation"


if __name__ == "__main__":
    cli.run(main)
