"""`python -m tfmisr.upscale`: upscales image files with a network, a classical method or an interpolation."""

import argparse
import collections
import contextlib
import dataclasses
import os
import pathlib
import sys

from tfmisr import cli, cluster
from tfmisr.edge import shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import remove_orphaned_temporaries
from tfmisr.edge.text import counted
from tfmisr.inference import trust_flags

SCALE = 4  # default of an interpolation
_OUTPUT_SUFFIXES = (".png", ".tif", ".tiff", ".dcm")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.upscale",
        description="Upscales images of any size tile by tile: beside the image and its result, memory is bounded by "
        "the tile. The bit depth (8 or 16) is kept; "
        "a DICOM image becomes a derived DICOM image where --output ends in .dcm or is a folder, "
        "else a PNG of the same depth.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="PNG, JPEG, TIFF or DICOM files, folders, globs, URLs (s3://, gs://), or manifests: .csv or .parquet with "
        "the columns source, target (below --output) and, optional, options (a JSON object of color, tile, max_tile)",
    )
    parser.add_argument(
        "--model",
        required=True,
        help=f"one that comes with tfmisr for chest radiographs ({', '.join(shipped.names())}), a run's folder, a "
        ".keras or .tflite file, an .npz file of python -m tfmisr.evaluate, nearest, bilinear, bicubic, lanczos, "
        "back_projection or self_similarity; a network's name with + applies geometric self-ensemble (the mean over "
        "eight flips and rotations): slightly better, eight times as slow",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="file (.png, .tif, .dcm), or folder or URL where there are several inputs",
    )
    parser.add_argument(
        "--like",
        metavar="PATH",
        help="folder or file of the series whose intensity scale is used (default: that of the image's series among "
        "the inputs; for a single image that of the image)",
    )
    parser.add_argument(
        "--scale", type=int, metavar="S", help="upsampling factor of an interpolation or classical method (default: 4)"
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="side of all tiles, input pixels (default: that of a .tflite file if it is fixed, else see --max_tile)",
    )
    parser.add_argument(
        "--max_tile",
        type=int,
        metavar="N",
        help="choose equal tiles for each image, of at most N*N input pixels, overlap included: a larger N takes more "
        "memory and less computation (default: 256 to 440, growing with the receptive field); not with --tile",
    )
    parser.add_argument(
        "--consistency",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="correct the result of a .tflite file until its down-sampling gives the input to within half a level, as "
        "its model card describes (default: yes; interpolations, runs and files of earlier releases are never changed)",
    )
    trust_flags.add(parser)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads, for a .tflite file (default: 1)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="for several inputs (default: 1)")
    parser.add_argument(
        "--color",
        default="refuse",
        choices=("refuse", "luma"),
        help="color images and a model for gray images: refuse them (default), or upscale their luma (Y of BT.601) "
        "with the model and interpolate their chroma (bicubic)",
    )
    parser.add_argument("--overwrite", action="store_true", help="for several inputs: replace existing results")
    cluster.add_flags(parser, "upscaled")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    check(arguments)
    options = cluster.options(arguments)
    if is_archive(arguments):
        return _upscale_archive(arguments, options)
    output = pathlib.Path(arguments.output).expanduser()
    jobs = _jobs(arguments.inputs, output)
    trust_flags.check(arguments, several=jobs[0][1] != output)
    trust_flags.check_maps(arguments.uncertainty, [source for source, _ in jobs])
    from tfmisr.inference import output_folder, series_scales

    upscaler = _upscaler(arguments, arguments.model)
    remove_orphaned_temporaries(*{target.parent for _, target in jobs})
    if jobs[0][1] == output:
        scale = series_scales.reference_scale(jobs[0][0], arguments.like)
        further = map(trust_flags.path_of, (arguments.uncertainty, arguments.report))
        upscaled = upscaler(*jobs[0], scale, *further)
        print(upscaled)
        if upscaled.warning:
            print(f"warning: {upscaled.warning}", file=sys.stderr)
        return 0
    return _upscale_folder(output_folder.bind(output, upscaler), jobs, arguments)


def _upscaler(arguments, model):
    trust_flags.check_signature(model, arguments.require_signature)
    from tfmisr import models
    from tfmisr.inference import batch

    fields = {key: getattr(arguments, key) for key in ("tile", "max_tile", "threads", "color", "consistency")}
    fields["suggest"] = not is_archive(arguments)  # there an image has a limit of memory
    upscaler = batch.BatchUpscaler(model, arguments.scale or 0, **fields, **trust_flags.fields(arguments))
    scale = (upscaler.upscaler.scale or SCALE) if arguments.scale is None else arguments.scale
    models.check_scale(scale)
    return dataclasses.replace(upscaler, scale=scale)


def is_archive(arguments: argparse.Namespace) -> bool:
    """Returns whether images are handed to isolated processes, with a ledger: a cluster, a URL, a manifest, limits."""
    from tfmisr.cluster import stores
    from tfmisr.inference import archive_inputs

    chosen = arguments.cluster or arguments.timeout or arguments.memory_limit or arguments.retries != 2
    paths = any(map(archive_inputs.is_archive, arguments.inputs))
    return bool(chosen or paths or stores.is_url(arguments.output))


def _upscale_archive(arguments, options) -> int:
    from tfmisr.cluster import stores
    from tfmisr.inference import archive, archive_inputs, upscalers

    output = stores.local(arguments.output)
    name = pathlib.PurePosixPath(output)
    if (
        name.suffix
        and not os.path.isdir(output)
        and (name.suffix.lower() in _OUTPUT_SUFFIXES or not stores.is_url(output))
    ):
        raise InputError(f"an archive, a cluster or a limit needs a folder as --output. Received: {output}")
    if not stores.is_url(output):
        cli.check_writable(output)
    model = upscalers.absolute(arguments.model)  # workers have another working folder
    rows = archive_inputs.rows(arguments.inputs, output)
    trust_flags.check(arguments, several=True)
    choices = {name: getattr(arguments, name) for name in ("overwrite", "like", "retries", "timeout")}
    choices["half_widths"] = arguments.uncertainty and stores.local(arguments.uncertainty)
    choices["table"] = trust_flags.path_of(arguments.report)
    return archive.main(rows, (output, _upscaler(arguments, model)), arguments.cluster or "", options, **choices)


def check(arguments: argparse.Namespace) -> None:
    """Checks flags whose range or combination the parser does not check.

    Raises:
        InputError: A number is too small, or two flags exclude each other.
    """
    for name, least in (("tile", 16), ("max_tile", 16), ("threads", 1), ("processes", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}. Received: {value}")
    if arguments.tile and arguments.max_tile:
        raise InputError("expected --tile or --max_tile, received both")


def _upscale_folder(upscaler, jobs, arguments) -> int:
    """Upscales many images, continues after failed ones and skips existing results."""
    from tfmisr.inference import output_folder, series_scales
    from tfmisr.progress import bar

    output, maps = map(trust_flags.path_of, (arguments.output, arguments.uncertainty))
    map_of = {target: trust_flags.beside(target, output, maps) for _, target in jobs}
    pending = [job for job in jobs if arguments.overwrite or not _is_done(job[1], map_of[job[1]])]
    if len(pending) < len(jobs):
        count = len(jobs) - len(pending)
        print(f"done already: {count:,} of {counted(len(jobs), 'image')} (--overwrite replaces them)")
    pending = series_scales.with_scales(output / output_folder.RECORD, jobs, pending, arguments.like)
    pending = [(*job, map_of[job[1]]) for job in pending]
    with bar(total=len(pending), desc="upscaling", unit=" images") as progress:
        failed, outcomes = _upscale_pending(upscaler, pending, arguments, progress)
    trust_flags.print_counts(outcomes)
    if failed:
        if len(failed) == len(jobs):
            output_folder.remove_empty(output)
        names = ", ".join(map(str, failed[:3])) + (f" and {len(failed) - 3:,} more" if len(failed) > 3 else "")
        raise InputError(
            f"{len(failed):,} of {counted(len(jobs), 'image')} could not be upscaled: {names}; "
            "the reasons are printed above"
        )
    return 0


def _is_done(target, half_width) -> bool:
    return target.exists() and (half_width is None or half_width.exists())


def _upscale_pending(upscaler, pending, arguments, progress) -> tuple[list, collections.Counter]:
    """Returns the inputs that failed, and the outcomes of the applicability check."""
    from tfmisr.edge.report import Table
    from tfmisr.inference.batch import upscale_all

    failed, outcomes, log = [], collections.Counter(), progress.write if sys.stderr.isatty() else print
    table = Table(trust_flags.path_of(arguments.report)) if arguments.report else contextlib.nullcontext()
    with table:
        for source, upscaled, error in upscale_all(upscaler, pending, arguments.processes):
            outcomes[upscaled.outcome] += 1
            if error:
                failed.append(source)
            elif upscaled.row:
                table.add(upscaled.row)
            log(f"failed: {error}" if error else str(upscaled))
            if upscaled.warning:
                log(f"warning: {upscaled.warning}")
            progress.update(1)
    return failed, outcomes


def _jobs(inputs, output) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Returns pairs of input and output file; files of a folder keep their relative paths."""
    from tfmisr.edge.folders import image_files

    sources = []
    for path in map(pathlib.Path, inputs):
        if path.is_dir():
            # Results in a folder below their sources are not sources.
            files = image_files(path, lambda line: print(line, file=sys.stderr))
            sources += [(p, pathlib.Path(name)) for p, name in files if output.resolve() not in p.resolve().parents]
        elif path.is_file():
            sources.append((path, pathlib.Path(path.name)))
        else:
            raise InputError(f"expected an image or a folder at {path}, found nothing")
    if not sources:
        raise InputError(f"expected images (PNG, JPEG, TIFF, DICOM) in {', '.join(inputs)}, found none")
    if output.suffix.lower() in _OUTPUT_SUFFIXES:
        if len(sources) > 1:
            raise InputError(f"{len(sources)} images need a folder as --output. Received: {output}")
        return [(sources[0][0], output)]
    if output.suffix and not output.is_dir():
        raise InputError(f"--output must end in {', '.join(_OUTPUT_SUFFIXES)}, or be a folder. Received: {output}")
    return _require_distinct([(source, output / _output_name(source, name)) for source, name in sources])


def _output_name(source: pathlib.Path, name: pathlib.Path) -> pathlib.Path:
    from tfmisr.edge import images
    from tfmisr.inference import output_folder

    try:
        file_format = images.detect_format(source)
    except InputError:
        file_format = None
    return output_folder.result_name(name, file_format)


def _require_distinct(jobs):
    source_of = {}
    for source, target in jobs:
        if target in source_of:
            raise InputError(
                f"{source_of[target]} and {source} would both be written to {target}; upscale them separately"
            )
        source_of[target] = source
    return jobs


if __name__ == "__main__":
    cli.run(main)
