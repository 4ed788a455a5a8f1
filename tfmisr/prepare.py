"""python -m tfmisr.prepare: finds or downloads the images of a dataset, checks them, and stores them by split.

For example `python -m tfmisr.prepare chest_xray14 --manual_dir FOLDER`.
"""

import argparse
import math
import pathlib

from tfmisr import cli


def parser() -> argparse.ArgumentParser:
    """Returns the command line's parser, without importing TensorFlow."""
    result = cli.Parser(
        prog="python -m tfmisr.prepare",
        description="Finds or downloads the images of a dataset, checks them, and stores them by split.",
    )
    result.add_argument(
        "dataset",
        help="name or name/configuration of a dataset (chest_phantom, chest_xray14, chest_xray14/1024, or another "
        "one known to TFDS), or a folder of images (PNG, JPEG, TIFF, DICOM), or a folder of --pixel_cache",
    )
    result.add_argument(
        "--data_dir",
        metavar="DIR",
        help="folder of prepared datasets and downloads (default: TFDS_DATA_DIR, or ~/tensorflow_datasets)",
    )
    result.add_argument(
        "--manual_dir",
        metavar="DIR",
        nargs="+",
        default=[],
        help="folders with the source files, in order of precedence (default: download them if the dataset can be "
        "downloaded; chest_xray14 is 45 GB)",
    )
    result.add_argument(
        "--patient_pattern",
        metavar="REGEX",
        help="for a folder of images: regular expression with one group, the patient identifier in a file name",
    )
    result.add_argument(
        "--mirror",
        metavar="URL",
        help="http address of a folder with the files to download, instead of the publisher's server",
    )
    packing = result.add_argument_group("pixel cache")
    packing.add_argument(
        "--pixel_cache",
        metavar="FOLDER",
        help="also write the images, losslessly compressed, to a new folder that can be copied to a machine without "
        "TensorFlow: there it is the --dataset of fit and evaluate",
    )
    packing.add_argument(
        "--max_megabytes",
        metavar="N",
        type=float,
        help="at most as many megabytes (10^6 bytes) in --pixel_cache: fewer images, spread evenly over the patients",
    )
    packing.add_argument("--images", metavar="N", type=int, help="at most as many images in --pixel_cache")
    return result


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = parser().parse_args(argv)
    _check(args)
    from tfmisr import data
    from tfmisr.edge.errors import InputError

    dataset = (args.dataset, args.data_dir, args.manual_dir, args.patient_pattern)
    builder = None if data.is_packed(args.dataset) else data.builder(*dataset)
    downloads = getattr(builder, "downloads", False)
    if args.mirror and not downloads:
        raise InputError("--mirror is for datasets that are downloaded; leave it or --manual_dir out")
    if downloads:
        builder.download(args.mirror)
    source = data.load(*dataset)
    print(_summary(source))
    if args.pixel_cache:
        _pack(source, args)
    return 0


def _check(args) -> None:
    """Checks the limits of a pixel cache before a dataset is prepared for hours."""
    from tfmisr.edge.errors import InputError

    for name in ("max_megabytes", "images"):
        value = getattr(args, name)
        if value is not None and not args.pixel_cache:
            raise InputError(f"--{name} needs --pixel_cache")
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} must be above 0. Received: {value}")
    if args.pixel_cache:
        cli.check_writable(args.pixel_cache)


def _pack(source, args) -> None:
    from tfmisr.data import pixel_packing

    folder = pathlib.Path(args.pixel_cache).expanduser()
    counts = pixel_packing.pack(source, folder, args.max_megabytes, args.images)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    packed = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    print(f"packed {packed} images, {size / 1e6:.1f} MB, in {folder}")


def _summary(source) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in source.counts.items())
    color = "gray" if source.channels == 1 else "RGB"
    return f"{source.name}: {counts} images ({color}, {source.dtype.itemsize * 8} bit)\nprepared in {source.folder}"


if __name__ == "__main__":
    cli.run(main)
