"""python -m tfmisr.prepare: finds or downloads the images of a dataset, checks them, and stores them by split.

For example `python -m tfmisr.prepare chest_xray14 --manual_dir FOLDER`.
"""

import argparse

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
    return result


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = parser().parse_args(argv)
    from tfmisr import data
    from tfmisr.edge.errors import InputError

    dataset = (args.dataset, args.data_dir, args.manual_dir, args.patient_pattern)
    builder = data.builder(*dataset)
    downloads = getattr(builder, "downloads", False)
    if args.mirror and not downloads:
        raise InputError("--mirror is for datasets that are downloaded; leave it or --manual_dir out")
    if downloads:
        builder.download(args.mirror)
    print(_summary(data.load(*dataset)))
    return 0


def _summary(source) -> str:
    splits = source.builder.info.splits
    counts = ", ".join(f"{name} {splits[name].num_examples:,}" for name in splits)
    color = "gray" if source.channels == 1 else "RGB"
    return f"{source.name}: {counts} images ({color}, {source.dtype.itemsize * 8} bit)\nprepared in {source.folder}"


if __name__ == "__main__":
    cli.run(main)
