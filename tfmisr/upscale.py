"""python -m tfmisr.upscale: enlarges images with a trained network or an interpolation."""

import argparse
import pathlib

from tfmisr import cli
from tfmisr.edge.errors import InputError

_WRITTEN = (".png", ".tif", ".tiff", ".dcm")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfmisr.upscale",
        description="Enlarges images of any size in bounded memory. 8 and 16 bits stay what they are; "
        "a DICOM image becomes a derived DICOM image where --output ends in .dcm, else a PNG of its depth.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="PNG, JPEG, TIFF or DICOM files, or folders")
    parser.add_argument(
        "--model", required=True, help="a run's folder, a .keras or .tflite file, nearest, bilinear, bicubic or lanczos"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="file (.png, .tif, .dcm), or folder where there are several inputs",
    )
    parser.add_argument("--scale", type=int, metavar="S", help="for an interpolation (default: 4)")
    parser.add_argument(
        "--tile", type=int, metavar="N", help="side of a tile, input pixels (default: 256, or the .tflite file's own)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of a .tflite file (default: 1)")
    return parser


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    if arguments.tile is not None and arguments.tile < 16:
        raise InputError(f"tile must be at least 16. Received: {arguments.tile}")
    jobs = _jobs(arguments.inputs, pathlib.Path(arguments.output).expanduser())
    from tfmisr import models, upscalers

    upscaler = upscalers.load(arguments.model, arguments.tile, arguments.threads)
    scale = (upscaler.scale or 4) if arguments.scale is None else arguments.scale
    models.check_scale(scale)
    failed = [source for source, target in jobs if not _one(upscaler, scale, source, target, len(jobs) > 1)]
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} images could not be enlarged, the first one {failed[0]}")
    return 0


def _jobs(inputs, output) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Returns pairs of input and output file; a folder's files keep their places below it."""
    found = []
    for path in map(pathlib.Path, inputs):
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and _is_image(p))
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
    return _distinct([(source, output / _written(name)) for source, name in found])


def _is_image(path) -> bool:
    from tfmisr.edge import images

    # DICOM files often have no extension.
    return path.suffix.lower() in images.EXTENSIONS or images.file_kind(path) is not None


def _written(name: pathlib.Path) -> pathlib.Path:
    return name if name.suffix.lower() in (".tif", ".tiff") else name.with_suffix(".png")


def _distinct(jobs):
    seen = {}
    for source, target in jobs:
        if target in seen:
            raise InputError(f"{seen[target]} and {source} would both be written to {target}; enlarge them apart")
        seen[target] = source
    return jobs


def _one(upscaler, scale, source, target, carry_on) -> bool:
    try:
        _enlarge(upscaler, scale, source, target)
    except InputError as error:
        if not carry_on:
            raise
        print(f"failed: {source}: {error}")
        return False
    return True


def _enlarge(upscaler, scale, source, target) -> None:
    cli.require_writable(target.parent)
    if target.exists() and target.samefile(source):
        raise InputError(f"--output would overwrite the input {source}")
    size = (_derived if target.suffix.lower() == ".dcm" else _picture)(upscaler, scale, source, target)
    print(f"{source} -> {target} ({size})")


def _picture(upscaler, scale, source, target) -> str:
    import numpy as np

    from tfmisr.edge import images

    frames = images.read_images(source)
    if len(frames) > 1:
        raise InputError(f"expected one image in {source}, found {len(frames)} frames")
    image = frames[0]
    lr = image.pixels.astype(np.float32) / np.float32(image.max_val)
    sr = upscaler(lr, scale, image.max_val)
    images.write_image(target, sr, image.max_val)
    return f"{sr.shape[1]}x{sr.shape[0]}"


def _derived(upscaler, scale, source, target) -> str:
    """Writes a derived DICOM image, with all frames of its source; see `tfmisr.edge.derived`."""
    import re

    import tfmisr
    from tfmisr.edge import derived

    product = derived.Product(
        name="tfmisr",
        version=tfmisr.__version__,
        model=re.sub(r"[^A-Za-z0-9 ._+():/-]", "_", upscaler.name)[:47],
        weights_sha256=upscaler.weights_sha256,
        scale=scale,
        ai=upscaler.parameters > 0,
    )
    image, report = derived.derive_with_report(source, lambda lr: upscaler(lr, scale), product)
    derived.write(image, target)
    for remark in report.remarks:
        print(f"note: {source}: {remark}")
    return f"{image.Columns}x{image.Rows}"


if __name__ == "__main__":
    cli.run(main)
