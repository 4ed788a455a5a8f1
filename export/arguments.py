"""The command line of `python -m tfmisr.export`, parsed and checked before TensorFlow is imported."""

import argparse
import pathlib
import sys

from tfmisr import cli
from tfmisr.edge import resize, shipped
from tfmisr.edge.card import LARGEST_TILE
from tfmisr.edge.errors import InputError

# Repeats `tfmisr.export.targets.NAMES`: that module imports a schema, which --help has no need of.
TARGETS = ("generic", "ethos-u55", "ethos-u65", "ethos-u85", "edgetpu")
FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8", "saved_model")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Returns the parsed arguments; `check` validates their values."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    _check_model(arguments.model, arguments.target)  # before the missing --output is reported: `export best-x4`
    if arguments.output is None:
        parser.error("the following arguments are required: --output")
    return arguments


def check(arguments: argparse.Namespace) -> list[int | None]:
    """Returns the requested sides of tiles, `None` for any.

    Raises:
        InputError: A value is out of range, there is no such model, or the folder cannot be written.
    """
    if arguments.licence is not None:
        print("warning: --licence is now --license", file=sys.stderr)
        arguments.license = arguments.license or arguments.licence
    _check_model(arguments.model, arguments.target)
    if arguments.output is None:
        raise InputError("expected output, a folder for the files")
    tiles = _tiles(arguments)
    arguments.formats = _formats(arguments)
    _check_target(arguments, tiles)
    cli.check_writable(arguments.output)
    if "saved_model" in arguments.formats:
        cli.check_text(arguments.output, "--output (or --formats without saved_model)")
    return tiles


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.export",
        description="Writes a trained network as .tflite files that carry a model card, and as a SavedModel; compares "
        "each file with the Keras network on full images. Exit status 1: a file is over a limit.",
    )
    parser.add_argument("model", metavar="WORKDIR", help="a run's folder, or a .keras file; see also --target")
    parser.add_argument("--output", metavar="DIR", help="folder for the files, required")
    parser.add_argument(
        "--formats",
        nargs="+",
        default=None,
        choices=FORMATS,
        metavar="F",
        help=f"of {' '.join(FORMATS)} (default: all but int16x8, for which CPUs have no fast kernels; int8 for an "
        "accelerator)",
    )
    parser.add_argument(
        "--target",
        default=TARGETS[0],
        choices=TARGETS,
        help="write an int8 file of one size of which all operations run on this accelerator; the pixel shuffle at its "
        "end moves into the runtime, which returns the same pixels. WORKDIR may then be an int8 .tflite file, or one "
        "that comes with tfmisr (default: generic, for CPUs)",
    )
    parser.add_argument(
        "--tile",
        nargs="+",
        default=[],
        metavar="N",
        help="side of all windows in low-resolution pixels, for accelerators that need a fixed size; or any; "
        "several values write several files (default: chosen for each image, which CPUs allow; the file's own input "
        "has 128, more where the receptive field is large)",
    )
    parser.add_argument(
        "--max_tile",
        type=int,
        metavar="N",
        help="choose windows for each image, of at most N*N low-resolution pixels, overlap included; --tile is then "
        "only the side of the file's own input (default: 256 to 440, more for a larger receptive field)",
    )
    parser.add_argument(
        "--orientations",
        type=int,
        default=1,
        choices=range(1, 9),
        metavar="N",
        help="merge a geometric self-ensemble of N of the eight flips and rotations into the network, for N times the "
        "time (default: 1)",
    )
    parser.add_argument(
        "--uncertainty_of",
        metavar="FILE",
        help="for the run of an uncertainty head: the .tflite file of its model (default: the one it was trained on)",
    )
    parser.add_argument("--name", help="the model's name (default: that of the folder)")
    parser.add_argument("--modality", metavar="TEXT", help="for the card: what the training images show")
    parser.add_argument("--license", metavar="TEXT", help="for the card: license of the weights")
    parser.add_argument("--licence", metavar="TEXT", help=argparse.SUPPRESS)  # its spelling of the previous release
    _add_data(parser.add_argument_group("images for calibration and comparison (default: the run's own dataset)"))
    _add_limits(parser.add_argument_group("limits"))
    return parser


def _add_data(group):
    group.add_argument("--dataset", help="dataset's name or a folder")
    group.add_argument("--manual_dir", nargs="+", metavar="DIR", help="folders with its source files")
    group.add_argument("--data_dir", metavar="DIR", help="where prepared datasets are kept")
    group.add_argument("--patient_pattern", help="as for python -m tfmisr.fit")
    group.add_argument(
        "--calibration_images", type=int, default=128, metavar="N", help="training images for int8 (default: 128)"
    )
    group.add_argument(
        "--split", default="validation", choices=("validation", "test"), help="for the comparison (default: validation)"
    )
    group.add_argument("--images", type=int, default=20, metavar="N", help="for the comparison; 0: none (default: 20)")
    group.add_argument("--rounds", type=int, default=20, metavar="N", help="windows to time (default: 20)")


def _add_limits(group):
    group.add_argument("--max_psnr_drop", type=float, default=0.05, metavar="DB", help="mean, in dB (default: 0.05)")
    group.add_argument("--max_ssim_drop", type=float, default=0.002, metavar="X", help="mean (default: 0.002)")
    group.add_argument(
        "--max_float32_error", type=float, default=1e-5, metavar="X", help="any pixel, range 0 to 1 (default: 1e-5)"
    )


def is_tflite(name: str) -> bool:
    """Returns whether the model is a `.tflite` file, or one that comes with the package."""
    return shipped.is_name(name) or pathlib.Path(name).suffix == ".tflite"


def _check_model(name, target):
    """Raises an `InputError`, before TensorFlow is imported, where a name is neither a run nor a .keras file."""
    path = shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser()
    if path.suffix == ".tflite" and target != TARGETS[0]:
        if not path.is_file():
            raise InputError(f"expected a .tflite file, found none at {path}")
        return
    problem = f"a .tflite file already: {path}" if path.suffix == ".tflite" else "where there is nothing"
    if path.suffix == ".tflite" or not (path.exists() or name in resize.METHODS):
        raise InputError(f"expected a run's folder or a .keras file. Received: {name}, {problem}")


def _formats(arguments) -> list[str]:
    if arguments.formats is not None:
        return arguments.formats
    return [f for f in FORMATS if f != "int16x8"] if arguments.target == TARGETS[0] else ["int8"]


def _check_target(arguments, tiles):
    """Raises an `InputError` for what no accelerator runs: other flavors than int8, and sizes that are not fixed."""
    if arguments.target == TARGETS[0]:
        return
    if other := [f for f in arguments.formats if f != "int8"]:
        raise InputError(f"--target {arguments.target} runs int8 alone. Received: --formats {' '.join(other)}")
    if arguments.max_tile or None in tiles:
        received = "--max_tile" if arguments.max_tile else "--tile any"
        raise InputError(f"--target {arguments.target} needs one size of windows, --tile N. Received: {received}")


def _tiles(arguments) -> list[int | None]:
    for name, least in (("calibration_images", 2), ("images", 0), ("rounds", 1)):
        if getattr(arguments, name) < least:
            raise InputError(f"{name} must be at least {least}. Received: {getattr(arguments, name)}")
    try:
        tiles = [None if text == "any" else int(text) for text in arguments.tile]
    except ValueError as error:
        raise InputError(f"tile must be a number of pixels, or any. Received: {' '.join(arguments.tile)}") from error
    if any(tile is not None and not 16 <= tile <= LARGEST_TILE for tile in tiles):
        raise InputError(f"tile must be from 16 to {LARGEST_TILE}. Received: {' '.join(arguments.tile)}")
    if arguments.max_tile is not None and not 16 <= arguments.max_tile <= LARGEST_TILE:
        raise InputError(f"max_tile must be from 16 to {LARGEST_TILE}. Received: {arguments.max_tile}")
    return list(dict.fromkeys(tiles))
