"""Prepares a dataset for training: finds or downloads its images, checks them, and stores them by split.

For example `python -m tfmisr.prepare chest_xray14 --manual_dir FOLDER`.
"""

import argparse

from tfmisr import cli


def parser() -> argparse.ArgumentParser:
    """Returns the command line; TensorFlow is not needed for it."""
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
        help="folder for prepared datasets and downloads (default: TFDS_DATA_DIR, or ~/tensorflow_datasets)",
    )
    result.add_argument(
        "--manual_dir",
        metavar="DIR",
        nargs="+",
        default=[],
        help="folders with the source files, in order of precedence (default: download them, where there is "
        "something to download; chest_xray14 is 45 GB)",
    )
    result.add_argument(
        "--patient_pattern",
        metavar="REGEX",
        help="for a folder of images: regular expression with one group, the patient's part of a file's name",
    )
    result.add_argument(
        "--mirror",
        metavar="URL",
        help="http address of a folder with the files to download, in place of the publisher's server",
    )
    return result


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from tfmisr import data
    from tfmisr.edge.errors import InputError

    chosen = (args.dataset, args.data_dir, args.manual_dir, args.patient_pattern)
    builder = data.builder(*chosen)
    downloads = getattr(builder, "downloads", False)
    if args.mirror and not downloads:
        raise InputError("--mirror is for a dataset that is downloaded; leave it or --manual_dir out")
    if downloads:
        builder.download(args.mirror)
    print(_summary(data.load(*chosen)))
    return 0


def _summary(source) -> str:
    splits = source.builder.info.splits
    counts = ", ".join(f"{name} {splits[name].num_examples:,}" for name in splits)
    kind = "gray" if source.channels == 1 else "RGB"
    return f"{source.name}: {counts} images ({kind}, {source.dtype.itemsize * 8} bit)\nprepared in {source.folder}"


if __name__ == "__main__":
    cli.run(main)
