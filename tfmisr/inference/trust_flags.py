"""Flags of `python -m tfmisr.upscale` on uncertainty, applicability and reports, and what they mean for files."""

import argparse
import collections
import pathlib
import sys
from collections.abc import Iterable, Mapping

from tfmisr import cli
from tfmisr.cluster import stores
from tfmisr.edge import half_width_files, report, shipped, signature
from tfmisr.edge.errors import InputError
from tfmisr.inference.examination import LEVEL, NOT_TESTED, OUT_OF_SCOPE, OUTCOMES, UNUSUAL

_SUFFIXES = (*half_width_files.SUFFIXES, ".dcm")
_DRIFT = 0.15  # share of unusual images, of which 5 % are expected (T-31)


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument(
        "--uncertainty",
        metavar="PATH",
        help="also write for each pixel the half-width w of an interval, result +- w, with a calibrated guarantee: a "
        "file (.png or .tif of 16 bits, .npy, or .dcm beside .dcm), or a folder where there are several inputs; needs "
        "a model that python -m tfmisr.calibrate has calibrated",
    )
    parser.add_argument(
        "--uncertainty_level",
        type=float,
        default=LEVEL,
        metavar="ALPHA",
        help=f"share of the pixels that may lie outside, one of those calibrated (default: {LEVEL:g})",
    )
    parser.add_argument(
        "--report",
        metavar="PATH",
        help="also write what was checked of the image: .html or .json, or a table (.csv) where there are several "
        "inputs; files are identified by their SHA-256, not by names",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="upscale images too that are out of the model's scope, as its model card describes the images it is made "
        "for (default: refuse them); the result and its report state it",
    )
    parser.add_argument(
        "--require_signature",
        metavar="PEM",
        help="public key (Ed25519): refuse a .tflite file, and its uncertainty head, that its owner has not signed "
        "with python -m tfmisr.card sign",
    )


def check_signature(model: str, key: str | None) -> None:
    """Checks the signatures of a model's files, where a key is given.

    Args:
        model: As `tfmisr.inference.upscalers.load` takes it.
        key: Path of the public key.

    Raises:
        InputError: A file is not signed, or was changed, or the model is no `.tflite` file.
    """
    if key is None:
        return
    name = model.removesuffix("+")
    if not shipped.is_name(name) and pathlib.Path(name).suffix != ".tflite":
        raise InputError(f"--require_signature needs a .tflite file as --model. Received: {model}")
    signature.require(shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser(), key)


def check(arguments: argparse.Namespace, several: bool) -> None:
    """Checks the paths of the flags.

    Args:
        arguments: Of the command.
        several: Whether `--output` is a folder.

    Raises:
        InputError: A suffix does not fit, two outputs are the same, or the folder for those of several images cannot
            be written.
    """
    if not 0 < arguments.uncertainty_level < 1:
        raise InputError(f"uncertainty_level must be between 0 and 1. Received: {arguments.uncertainty_level}")
    output, uncertainty = (
        path and pathlib.Path(path).expanduser() for path in (arguments.output, arguments.uncertainty)
    )
    if uncertainty and uncertainty.resolve() == output.resolve():
        raise InputError(f"expected another path for --uncertainty than for --output. Received: {uncertainty}")
    if uncertainty and not several:
        _check_map(uncertainty, output)
    if uncertainty and several and uncertainty.suffix.lower() in _SUFFIXES and not uncertainty.is_dir():
        raise InputError(f"several images need a folder as --uncertainty. Received: {uncertainty}")
    if arguments.report:
        report.check_path(pathlib.Path(arguments.report), several)
    if several:
        for folder in (uncertainty, arguments.report and path_of(arguments.report).parent):
            if folder and not stores.is_url(arguments.output):
                cli.check_writable(folder)


def check_maps(folder: str | None, sources: Iterable[pathlib.Path]) -> None:
    """Raises an `InputError` where half-width maps would be written among the inputs, whose names they have."""
    path = path_of(folder)
    if path and any(path.resolve() in source.resolve().parents for source in sources):
        raise InputError(f"expected --uncertainty outside of the folders of the inputs. Received: {path}")


def _check_map(path: pathlib.Path, output: pathlib.Path) -> None:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"--uncertainty must end in {', '.join(_SUFFIXES)}. Received: {path}")
    if suffix == ".dcm" and output.suffix.lower() != ".dcm":
        raise InputError(f"--uncertainty in DICOM needs an --output in DICOM. Received: {output}")


def fields(arguments: argparse.Namespace) -> dict[str, object]:
    """Returns the fields of `tfmisr.inference.batch.BatchUpscaler` that the flags set."""
    return {
        "uncertainty": bool(arguments.uncertainty),
        "level": arguments.uncertainty_level,
        "report": bool(arguments.report),
        "force": arguments.force,
    }


def path_of(path: str | None) -> pathlib.Path | None:
    """Returns the path of a flag, `None` without."""
    return pathlib.Path(path).expanduser() if path else None


def beside(target: pathlib.Path, output: pathlib.Path, uncertainty: pathlib.Path | None) -> pathlib.Path | None:
    """Returns the file for the half-widths of a result in a folder: of the same name, below another folder."""
    return uncertainty and uncertainty / target.relative_to(output)


def print_counts(outcomes: Mapping[str, int]) -> None:
    """Prints what `counts` returns, the warning to stderr."""
    line, warning = counts(outcomes)
    if line:
        print(line)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)


def counts(outcomes: Mapping[str, int]) -> tuple[str, str]:
    """Returns a line with the number of images by outcome, and a warning of drift; both empty without a check.

    Args:
        outcomes: Number of images by outcome; an empty text for those that were not checked or failed.
    """
    found = collections.Counter({outcome: count for outcome, count in outcomes.items() if outcome})
    if not found:
        return "", ""
    line = "applicability: " + ", ".join(f"{found[outcome]:,} {outcome}" for outcome in OUTCOMES)
    tested = sum(found.values()) - found[NOT_TESTED]
    flagged = found[UNUSUAL] + found[OUT_OF_SCOPE]
    if flagged <= max(1, _DRIFT * tested):
        return line, ""
    return line, (
        f"{100 * flagged / tested:.0f} % of the images are unusual for the model, 5 % are expected: the scanner, its "
        "processing or the kind of images may differ from those of the calibration (drift)"
    )
