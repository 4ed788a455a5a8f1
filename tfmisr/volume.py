"""`python -m tfmisr.volume`: makes the thick slices of a CT or MR volume thinner."""

import argparse
import dataclasses
import pathlib
import sys
import typing

import tfmisr
from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import remove_orphaned_temporaries

if typing.TYPE_CHECKING:
    from tfmisr.volumes.command import Thinned

MINUTES = 5.0  # of training where neither minutes nor steps are given
METHODS = ("self", "spline", "linear", "lanczos")
_NIFTI = (".nii", ".nii.gz")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.volume",
        description="Makes the thick slices of a CT or MR volume thinner: of a DICOM series, an Enhanced image or "
        "NIfTI. By default a network is trained on the volume's own slices, for which no other data are needed, and "
        "used where it restores held-out slices better than the cubic spline does.",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="folder or files of a DICOM series, or one .nii or .nii.gz file"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="OUT",
        help="folder that does not exist yet, for a derived DICOM series; or a .nii or .nii.gz file",
    )
    _add_reading(parser)
    _add_method(parser)
    _add_results(parser)
    return parser


def _add_reading(parser):
    group = parser.add_argument_group("reading")
    group.add_argument("--series", metavar="UID", help="Series Instance UID or Series Number, where there are several")
    group.add_argument(
        "--select",
        metavar="WHICH",
        help='which of several slices at one place, such as "EchoTime=4.6"; for NIfTI with four dimensions the index, '
        "from 0",
    )
    group.add_argument(
        "--resample_tilt", action="store_true", help="resample a series with gantry tilt to an orthogonal grid first"
    )
    group.add_argument(
        "--slice_profile",
        metavar="PROFILE",
        help="how a slice averages: gaussian:5mm or rectangular:2.5mm (full width at half maximum), or estimate, from "
        "the spectra (default: gaussian of the Slice Thickness; where that is unknown, estimate)",
    )


def _add_method(parser):
    group = parser.add_argument_group("method")
    group.add_argument(
        "--spacing",
        default="iso",
        metavar="iso|MM",
        help="distance between the new slices: iso is the pixel spacing, the smaller of both (default: iso)",
    )
    group.add_argument(
        "--method",
        choices=METHODS,
        help="self: a network trained on this volume (default); or an interpolation along the slice axis",
    )
    group.add_argument(
        "--model",
        metavar="FILE",
        help=".tflite file of a through-plane network, used without training; needs no TensorFlow",
    )
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="start the training from a network of --preset through_plane: a run's folder, .keras or .tflite file",
    )
    group.add_argument("--minutes", type=float, metavar="N", help=f"training time (default: {MINUTES:g})")
    group.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="training steps instead of minutes: the same seed gives the same weights on the same machine",
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and patches (default: 0)")
    group.add_argument(
        "--workdir", metavar="DIR", help="folder for checkpoints: the same command resumes an interrupted training"
    )
    group.add_argument(
        "--planes",
        default="both",
        choices=("both", "sagittal", "coronal"),
        help="planes that the network refines, as those of an axial series are called (default: both)",
    )
    group.add_argument(
        "--fusion",
        default="mean",
        choices=("mean", "fourier"),
        help="of the planes: their mean, or of each Fourier coefficient the largest (default: mean)",
    )
    group.add_argument(
        "--rotations",
        type=int,
        default=1,
        metavar="N",
        help="also refine planes at N - 1 angles between the rows and the columns: N times as slow (default: 1)",
    )
    group.add_argument(
        "--consistency",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="correct the result of a network until its averages over the slice profile are the acquired slices to "
        "within half a level (default: yes; interpolations are never changed)",
    )
    group.add_argument(
        "--force",
        action="store_true",
        help="use --model outside of the slices it was trained for, and accept a series that was derived already",
    )


def _add_results(parser):
    group = parser.add_argument_group("results")
    group.add_argument("--enhanced", action="store_true", help="write one Enhanced CT or MR object")
    group.add_argument("--montage", metavar="PNG", help="also draw three planes of the spline and of the result")
    group.add_argument("--page", metavar="HTML", help="also write a page that scrolls through the result")
    group.add_argument(
        "--uncertainty",
        metavar="PATH",
        help="also write the half-width w of each voxel, result +- w, as .nii or .nii.gz; needs a network",
    )
    group.add_argument(
        "--memory",
        type=float,
        default=8.0,
        metavar="GB",
        help="that results may take; a volume that does not fit is refused (default: 8)",
    )
    group.add_argument("--threads", type=int, metavar="N", help="threads of the network (default: all cores)")


def check(arguments: argparse.Namespace) -> None:
    """Checks flags whose range or combination the parser does not check.

    Raises:
        InputError: A number is out of range, two flags exclude each other, or the output cannot be written.
    """
    for name in ("minutes", "steps", "rotations", "memory", "threads"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name} must be above 0. Received: {value}")
    if arguments.seed < 0:
        raise InputError(f"--seed must be at least 0. Received: {arguments.seed}")
    _check_method(arguments)
    _check_results(arguments)


def _check_method(arguments):
    if arguments.model and arguments.method:
        raise InputError("expected --model or --method, received both")
    trained = not arguments.model and arguments.method in (None, "self")
    for name in ("minutes", "steps", "weights", "workdir"):
        if getattr(arguments, name) is not None and not trained:
            raise InputError(f"--{name} is for --method self, which trains; leave it out")
    if arguments.minutes is not None and arguments.steps is not None:
        raise InputError("expected --minutes or --steps, received both")
    if arguments.uncertainty and not trained and not arguments.model:
        raise InputError("--uncertainty needs a network; use --method self or --model")
    if arguments.spacing != "iso":
        try:
            valid = 0 < float(arguments.spacing) < float("inf")
        except ValueError:
            valid = False
        if not valid:
            raise InputError(f"--spacing must be iso or a number of mm above 0. Received: {arguments.spacing}")


def _check_results(arguments):
    output = pathlib.Path(arguments.output).expanduser()
    is_file = output.name.lower().endswith(_NIFTI)
    if arguments.enhanced and is_file:
        raise InputError("--enhanced is for DICOM: give a folder as --output")
    if not is_file and output.suffix.lower() in (".dcm", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".gz", ".npy"):
        raise InputError(f"expected --output to be a folder or a .nii or .nii.gz file. Received: {output.name}")
    if not is_file and (output.exists() or output.is_symlink()):
        raise InputError(f"{output} exists; choose a folder that does not exist yet")
    endings = {"montage": (".png",), "page": (".html",), "uncertainty": _NIFTI}
    paths = [output]
    for name, allowed in endings.items():
        if (path := getattr(arguments, name)) is not None:
            if not path.lower().endswith(allowed):
                raise InputError(f"--{name} must end in {' or '.join(allowed)}. Received: {path}")
            paths.append(pathlib.Path(path).expanduser())
    _check_apart(paths, arguments.inputs)
    for path in paths:
        if not path.absolute().parent.is_dir():
            raise InputError(f"the folder {path.absolute().parent} does not exist; create it first")
        cli.check_writable(path.absolute().parent)
    remove_orphaned_temporaries(*{path.absolute().parent for path in paths})


def _check_apart(paths, inputs):
    """Refuses a result that would replace an input or another result; symbolic links are followed."""
    sources = {path.resolve() for path in (pathlib.Path(text).expanduser() for text in inputs) if path.is_file()}
    places = [path.resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        if place in sources:
            raise InputError(f"{path} is the input, which is never replaced; choose another name")
        if places.count(place) > 1:
            raise InputError(f"expected a name of its own for each result. Received: {path} twice")


def run(arguments: argparse.Namespace) -> "Thinned":
    """Runs the command of parsed flags and returns what it wrote; prints nothing.

    Raises:
        InputError: The input is not one volume, or a flag does not fit it; nothing is written then.
    """
    check(arguments)
    from tfmisr.volumes import command

    given = dict(vars(arguments))
    given["planes"] = ("sagittal", "coronal") if arguments.planes == "both" else (arguments.planes,)
    given["method"] = "model" if arguments.model else arguments.method or "self"
    if arguments.minutes is None and arguments.steps is None:
        given["minutes"] = MINUTES
    fields = {field.name for field in dataclasses.fields(command.Request)}
    return command.thin(command.Request(**{name: value for name, value in given.items() if name in fields}))


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    thinned = run(_parser().parse_args(argv))
    for remark in thinned.remarks:
        print(f"warning: {remark}", file=sys.stderr)
    print(thinned)
    return 0


tfmisr._make_callable(__name__)

if __name__ == "__main__":
    cli.run(main)
