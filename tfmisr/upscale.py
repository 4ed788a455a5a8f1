"""python -m tfmisr.upscale: enlarges images with a trained network or an interpolation."""

import argparse
import dataclasses
import pathlib
import sys

from tfmisr import cli
from tfmisr.edge import shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import remove_orphaned_temporaries
from tfmisr.edge.text import counted

SCALE = 4  # of an interpolation, where none is given
_WRITTEN = (".png", ".tif", ".tiff", ".dcm")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.upscale",
        description="Enlarges images of any size, tile by tile: beside the image and its result, memory is bounded by "
        "the tile. 8 and 16 bits stay what they are; "
        "a DICOM image becomes a derived DICOM image where --output ends in .dcm or is a folder, "
        "else a PNG of its depth.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="PNG, JPEG, TIFF or DICOM files, or folders")
    parser.add_argument(
        "--model",
        required=True,
        help=f"one that comes with tfmisr for chest radiographs ({', '.join(shipped.names())}), a run's folder, a "
        ".keras or .tflite file, an .npz file of python -m tfmisr.evaluate, nearest, bilinear, bicubic, lanczos, "
        "back_projection or self_similarity; a network's name with + takes the mean over eight orientations, a little "
        "better and eight times as slow",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="file (.png, .tif, .dcm), or folder where there are several inputs",
    )
    parser.add_argument(
        "--like",
        metavar="PATH",
        help="folder or file of the series whose intensity scale is taken (default: that of the image's series among "
        "the inputs; of a single image its own)",
    )
    parser.add_argument("--scale", type=int, metavar="S", help="for an interpolation (default: 4)")
    parser.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="side of all tiles, input pixels (default: the .tflite file's own where it has one, else see --max_tile)",
    )
    parser.add_argument(
        "--max_tile",
        type=int,
        metavar="N",
        help="choose tiles for each image, evenly divided, of at most N*N input pixels, overlap included: memory grows "
        "with N*N, work shrinks (default: 256 to 440, the more the further the network sees); not with --tile",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of a .tflite file (default: 1)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="for several inputs (default: 1)")
    parser.add_argument(
        "--color",
        default="refuse",
        choices=("refuse", "luma"),
        help="color images and a model of gray ones: refuse them (default), or enlarge their luma (Y of BT.601) with "
        "the model and interpolate their colors (bicubic)",
    )
    parser.add_argument("--overwrite", action="store_true", help="for several inputs: do again what is done already")
    return parser


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    check(arguments)
    output = pathlib.Path(arguments.output).expanduser()
    jobs = _jobs(arguments.inputs, output)
    from tfmisr import models
    from tfmisr.inference import batch, series_scales

    fields = {key: getattr(arguments, key) for key in ("tile", "max_tile", "threads", "color")}
    enlarger = batch.BatchUpscaler(arguments.model, arguments.scale or 0, **fields)
    scale = (enlarger.upscaler.scale or SCALE) if arguments.scale is None else arguments.scale
    models.check_scale(scale)
    enlarger = dataclasses.replace(enlarger, scale=scale)
    remove_orphaned_temporaries(*{target.parent for _, target in jobs})
    if jobs[0][1] == output:
        print(enlarger(*jobs[0], series_scales.like(jobs[0][0], arguments.like)))
        return 0
    return _folder(batch.recorded(output, enlarger), jobs, arguments)


def check(arguments: argparse.Namespace) -> None:
    """Raises an `InputError` where a number of the flags is too small, or two exclude each other."""
    for name, least in (("tile", 16), ("max_tile", 16), ("threads", 1), ("processes", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}. Received: {value}")
    if arguments.tile and arguments.max_tile:
        raise InputError("expected --tile or --max_tile, received both")


def _folder(enlarger, jobs, arguments) -> int:
    """Does many images, going on after bad ones; those that are done already are left."""
    from tfmisr.inference import series_scales
    from tfmisr.inference.batch import RECORD, forget_empty, upscale_all
    from tfmisr.progress import bar

    left = [job for job in jobs if arguments.overwrite or not job[1].exists()]
    if len(left) < len(jobs):
        print(f"done already: {len(jobs) - len(left):,} of {counted(len(jobs), 'image')} (--overwrite does them again)")
    left = series_scales.of_jobs(pathlib.Path(arguments.output).expanduser() / RECORD, jobs, left, arguments.like)
    failed = []
    with bar(total=len(left), desc="enlarging", unit=" images") as shown:
        say = shown.write if sys.stderr.isatty() else print
        for source, done, error in upscale_all(enlarger, left, arguments.processes):
            if error:
                failed.append(source)
            say(f"failed: {error}" if error else done)
            shown.update(1)
    if failed:
        if len(failed) == len(jobs):
            forget_empty(pathlib.Path(arguments.output).expanduser())
        names = ", ".join(map(str, failed[:3])) + (f" and {len(failed) - 3:,} more" if len(failed) > 3 else "")
        raise InputError(
            f"{len(failed):,} of {counted(len(jobs), 'image')} could not be enlarged: {names}; the reasons stand above"
        )
    return 0


def _jobs(inputs, output) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Returns pairs of input and output file; a folder's files keep their places below it."""
    from tfmisr.edge.folders import image_files

    found = []
    for path in map(pathlib.Path, inputs):
        if path.is_dir():
            # Results that lie below their sources are no sources.
            files = image_files(path, lambda line: print(line, file=sys.stderr))
            found += [(p, pathlib.Path(name)) for p, name in files if output.resolve() not in p.resolve().parents]
        elif path.is_file():
            found.append((path, pathlib.Path(path.name)))
        else:
            raise InputError(f"expected an image or a folder at {path}, found nothing")
    if not found:
        raise InputError(f"expected images (PNG, JPEG, TIFF, DICOM) in {', '.join(inputs)}, found none")
    if output.suffix.lower() in _WRITTEN:
        if len(found) > 1:
            raise InputError(f"{len(found)} images need a folder as --output. Received: {output}")
        return [(found[0][0], output)]
    if output.suffix and not output.is_dir():
        raise InputError(f"--output must end in {', '.join(_WRITTEN)}, or be a folder. Received: {output}")
    return _distinct([(source, output / _written(source, name)) for source, name in found])


def _written(source: pathlib.Path, name: pathlib.Path) -> pathlib.Path:
    """Returns the name of a result in a folder: TIFF stays TIFF, DICOM becomes derived DICOM, the rest PNG."""
    from tfmisr.edge import images

    if name.suffix.lower() in (".tif", ".tiff"):
        return name
    try:
        suffix = {"DICOM": ".dcm", "TIFF": ".tif"}.get(images.detect_format(source), ".png")
    except InputError:
        suffix = ".png"
    # DICOM files are often called by their UID, whose last number is no extension.
    return name.with_suffix(suffix) if name.suffix.lower() in images.EXTENSIONS else name.with_name(name.name + suffix)


def _distinct(jobs):
    seen = {}
    for source, target in jobs:
        if target in seen:
            raise InputError(f"{seen[target]} and {source} would both be written to {target}; enlarge them apart")
        seen[target] = source
    return jobs


if __name__ == "__main__":
    cli.run(main)
