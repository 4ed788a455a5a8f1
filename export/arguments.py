"""The command line of `python -m tfmisr.export`, checked before TensorFlow is loaded."""

import argparse
import pathlib

from tfmisr import cli
from tfmisr.edge import resize, shipped
from tfmisr.edge.card import LARGEST_TILE
from tfmisr.edge.errors import InputError

FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8", "saved_model")


def parse(argv) -> argparse.Namespace:
    """Returns the arguments; `check` says whether they can be."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    _check_model(arguments.model)  # also where nobody said where to: `export best-x4`
    if arguments.output is None:
        parser.error("the following arguments are required: --output")
    return arguments


def check(arguments: argparse.Namespace) -> list[int | None]:
    """Returns the sides of the tiles that were asked for, `None` for any.

    Raises:
        InputError: A value is none that can be, there is no such model, or the folder cannot be written.
    """
    _check_model(arguments.model)
    if arguments.output is None:
        raise InputError("expected output, a folder for the files")
    tiles = _tiles(arguments)
    cli.check_writable(arguments.output)
    if "saved_model" in arguments.formats:
        cli.check_text(arguments.output, "--output (or --formats without saved_model)")
    return tiles


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.export",
        description="Writes a trained network as .tflite files that carry a model card, and as a SavedModel; compares "
        "each file with the Keras network on whole images. Exit status 1: a file is over a limit.",
    )
    parser.add_argument("model", metavar="WORKDIR", help="a run's folder, or a .keras file")
    parser.add_argument("--output", metavar="DIR", help="folder for the files, required")
    parser.add_argument(
        "--formats",
        nargs="+",
        default=[f for f in FORMATS if f != "int16x8"],
        choices=FORMATS,
        metavar="F",
        help=f"of {' '.join(FORMATS)} (default: all but int16x8, for which CPUs have no fast kernels)",
    )
    parser.add_argument(
        "--tile",
        nargs="+",
        default=[],
        metavar="N",
        help="side of all windows in low-resolution pixels, for accelerators that are bound to one size; or any; "
        "several make several files (default: chosen for each image, which CPUs allow; the file's own input has 128, "
        "more where the network sees far)",
    )
    parser.add_argument(
        "--max_tile",
        type=int,
        metavar="N",
        help="choose windows for each image, of at most N*N low-resolution pixels, overlap included; --tile is then "
        "the side of the file's own input alone (default: 256 to 440, the more the further the network sees)",
    )
    parser.add_argument(
        "--orientations",
        type=int,
        default=1,
        choices=range(1, 9),
        metavar="N",
        help="give the mean over so many of the image's eight orientations, in so many times the time (default: 1)",
    )
    parser.add_argument("--name", help="the model's name (default: that of the folder)")
    parser.add_argument("--modality", metavar="TEXT", help="for the card: what the training images show")
    parser.add_argument("--licence", metavar="TEXT", help="for the card: licence of the weights")
    _add_data(parser.add_argument_group("images that calibrate and compare (default: the run's own dataset)"))
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
        "--split", default="validation", choices=("validation", "test"), help="to compare on (default: validation)"
    )
    group.add_argument("--images", type=int, default=20, metavar="N", help="to compare on; 0: none (default: 20)")
    group.add_argument("--rounds", type=int, default=20, metavar="N", help="windows to time (default: 20)")


def _add_limits(group):
    group.add_argument("--max_psnr_drop", type=float, default=0.05, metavar="DB", help="mean, in dB (default: 0.05)")
    group.add_argument("--max_ssim_drop", type=float, default=0.002, metavar="X", help="mean (default: 0.002)")
    group.add_argument(
        "--max_float32_error", type=float, default=1e-5, metavar="X", help="any pixel, range 0 to 1 (default: 1e-5)"
    )


def _check_model(name):
    """Raises an `InputError`, before TensorFlow is loaded, where a name is that of no run and no .keras file."""
    path = shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser()
    found = f"a .tflite file already: {path}" if path.suffix == ".tflite" else "where there is nothing"
    if path.suffix == ".tflite" or not (path.exists() or name in resize.METHODS):
        raise InputError(f"expected a run's folder or a .keras file. Received: {name}, {found}")


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
