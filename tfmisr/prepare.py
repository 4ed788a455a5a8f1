"""python -m tfmisr.prepare: finds or downloads the images of a dataset, checks them, and stores them by split.

For example `python -m tfmisr.prepare chest_xray14 --manual_dir FOLDER`.
"""

import argparse

from tfmisr import cli
from tfmisr.cluster import flags
from tfmisr.edge.errors import InputError


def parser() -> argparse.ArgumentParser:
    """Returns the command line's parser, without importing TensorFlow."""
    result = cli.Parser(
        prog="python -m tfmisr.prepare",
        description="Finds or downloads the images of a dataset, checks them, and stores them by split.",
    )
    result.add_argument(
        "dataset",
        help="name or name/configuration of a dataset (chest_phantom, chest_xray14, chest_xray14/1024, or another "
        "one known to TFDS), or a folder of images (PNG, JPEG, TIFF, DICOM)",
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
    result.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="that prepare parts of a large dataset (default: 1, which decodes in several threads)",
    )
    flags.add_flags(result, "prepared", "the preparation ends with its reason")
    return result


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = parser().parse_args(argv)
    if args.processes < 1:
        raise InputError(f"processes must be at least 1. Received: {args.processes}")
    options = flags.options(args)
    from tfmisr import cluster, data
    from tfmisr.data import parts

    dataset = (args.dataset, args.data_dir, args.manual_dir, args.patient_pattern)
    builder = data.builder(*dataset)
    downloads = getattr(builder, "downloads", False)
    if args.mirror and not downloads:
        raise InputError("--mirror is for datasets that are downloaded; leave it or --manual_dir out")
    if downloads:
        builder.download(args.mirror)
    if not args.cluster and args.processes == 1:
        print(_summary(data.load(*dataset)))
        return 0
    if not getattr(builder, "in_parts", False):
        raise InputError(f"--cluster and --processes prepare chest_xray14 and folders. Received: {args.dataset}")
    with cluster.connect(args.cluster or "", options) as client:
        runner = parts.on_cluster(client, args.retries, args.timeout)
        print(_summary(data.load(*dataset, part_runner=runner)))
    return 0


def _summary(source) -> str:
    splits = source.builder.info.splits
    counts = ", ".join(f"{name} {splits[name].num_examples:,}" for name in splits)
    color = "gray" if source.channels == 1 else "RGB"
    return f"{source.name}: {counts} images ({color}, {source.dtype.itemsize * 8} bit)\nprepared in {source.folder}"


if __name__ == "__main__":
    cli.run(main)
