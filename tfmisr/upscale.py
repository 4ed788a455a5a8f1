"""python -m tfmisr.upscale: enlarges images with a trained network or an interpolation."""

import argparse
import dataclasses
import pathlib

from tfmisr import cli
from tfmisr.edge import shipped
from tfmisr.edge.errors import InputError

_WRITTEN = (".png", ".tif", ".tiff", ".dcm")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    parser.add_argument("--overwrite", action="store_true", help="for several inputs: do again what is done already")
    return parser


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    for name, least in (("tile", 16), ("max_tile", 16), ("threads", 1), ("processes", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}. Received: {value}")
    if arguments.tile and arguments.max_tile:
        raise InputError("expected --tile or --max_tile, received both")
    output = pathlib.Path(arguments.output).expanduser()
    jobs = _jobs(arguments.inputs, output)
    from tfmisr import enlarging, models

    sizes = {"tile": arguments.tile, "max_tile": arguments.max_tile}
    enlarger = enlarging.Enlarger(arguments.model, arguments.scale or 0, threads=arguments.threads, **sizes)
    scale = (enlarger.upscaler.scale or 4) if arguments.scale is None else arguments.scale
    models.check_scale(scale)
    enlarger = dataclasses.replace(enlarger, scale=scale)
    if jobs[0][1] == output:
        print(enlarger(*jobs[0]))
        return 0
    return _folder(enlarging.recorded(output, enlarger), jobs, arguments)


def _folder(enlarger, jobs, arguments) -> int:
    """Does many images, going on after bad ones; those that are done already are left."""
    from tfmisr.enlarging import enlarge_all
    from tfmisr.progress import bar

    left = [job for job in jobs if arguments.overwrite or not job[1].exists()]
    if len(left) < len(jobs):
        print(f"{len(jobs) - len(left)} of {len(jobs)} images are done already (--overwrite does them again)")
    failed = []
    with bar(total=len(left), desc="enlarging", unit=" images") as shown:
        for source, done, error in enlarge_all(enlarger, left, arguments.processes):
            if error:
                failed.append(source)
            shown.write(f"failed: {error}" if error else done)
            shown.update(1)
    if failed:
        names = ", ".join(map(str, failed[:20])) + (", ..." if len(failed) > 20 else "")
        raise InputError(f"{len(failed)} of {len(jobs)} images could not be enlarged: {names}")
    return 0


def _jobs(inputs, output) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Returns pairs of input and output file; a folder's files keep their places below it."""
    found = []
    for path in map(pathlib.Path, inputs):
        if path.is_dir():
            # Results that lie below their sources are no sources.
            files = [p for p in path.rglob("*") if p.is_file() and output.resolve() not in p.resolve().parents]
            files = sorted(p for p in files if _is_image(p))
            found += [(p, p.relative_to(path)) for p in files]
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


def _is_image(path) -> bool:
    from tfmisr.edge import images

    # DICOM files often have no extension.
    if path.suffix.lower() in images.EXTENSIONS:
        return True
    try:
        return images.file_kind(path) is not None
    except InputError:
        return True  # it cannot be read, which is told when its turn comes


def _written(source: pathlib.Path, name: pathlib.Path) -> pathlib.Path:
    """Returns the name of a result in a folder: TIFF stays TIFF, DICOM becomes derived DICOM, the rest PNG."""
    from tfmisr.edge import images

    if name.suffix.lower() in (".tif", ".tiff"):
        return name
    try:
        suffix = ".dcm" if images.file_kind(source) == "DICOM" else ".png"
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
