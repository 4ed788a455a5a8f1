"""python -m tfmisr.dicom_check: checks a derived DICOM image against its source, by rules that no validator knows.

Use it beside dciodvfy and dcentvfy, which know what the standard says of a single file and of a series. Not checked
from one pair of files: D-02 (deterministic UIDs), D-25 (the convention is given), D-42 and D-44.
"""

import argparse
import os

import pydicom

from tfmisr import cli
from tfmisr.edge import element_values, stored_values
from tfmisr.edge.derived import check_bytes, check_geometry, check_identity, check_pixels, product, reading
from tfmisr.edge.derived.checking import Contents, Pair, Rule, contents
from tfmisr.edge.errors import InputError


def violations(
    source: str | os.PathLike, result: str | os.PathLike, convention: str = "half_pixel", keep_private: bool = False
) -> list[str]:
    """Returns one line, which begins with its number, for each rule that a derived image breaks.

    Args:
        source: A DICOM file.
        result: The file that was made of it.
        convention: Where the pixels of the result lie, a property of the model (D-25).
        keep_private: Private elements are allowed (D-40).

    Raises:
        InputError: One of the files is no readable image.
    """
    (before, source_bytes), (after, result_bytes) = (_load(path) for path in (source, result))
    pair = Pair(before, after, convention, keep_private, source_bytes, result_bytes)
    with reading.guarded(f"{os.fspath(source)} and {os.fspath(result)}"):
        found = _broken({**check_identity.RULES, **check_bytes.RULES}, pair) + _broken(check_geometry.SIZE, pair)
        if not any(line.startswith("D-20") for line in found):  # the rest would only repeat it
            found += _broken({**check_geometry.RULES, **check_pixels.RULES}, pair)
    return sorted(found)


def _load(path: str | os.PathLike) -> tuple[pydicom.Dataset, Contents]:
    with reading.guarded(os.fspath(path)):
        ds = reading.load(path)
        found = contents(ds)  # before anything is decoded
        if not ds.get("Rows") or not ds.get("Columns") or not ds.get("PixelData"):
            raise InputError("expected a DICOM image, found no Rows, Columns or Pixel Data")
        element_values.check(ds)
        if (
            ds.file_meta.TransferSyntaxUID.is_encapsulated
        ):  # the length of native pixel data is a rule's business (D-20)
            ds = stored_values.read(ds).ds
    return ds, found


def _broken(rules: dict[str, Rule], pair: Pair) -> list[str]:
    reasons = {number: rule(pair) for number, rule in rules.items()}
    return [f"{number} {reason}" for number, reason in reasons.items() if reason]


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.dicom_check",
        description="Checks a derived DICOM image against its source. Prints one line for each broken rule; exit "
        "status 0: none, 1: some, 2: a file cannot be read.",
    )
    parser.add_argument("source", help="the DICOM image that was upscaled")
    parser.add_argument("result", help="the DICOM image that was made of it")
    parser.add_argument(
        "--convention",
        choices=product.CONVENTIONS,
        default="half_pixel",
        help="where the model has its pixels (default: half_pixel)",
    )
    parser.add_argument("--keep_private", action="store_true", help="allow private elements")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    found = violations(arguments.source, arguments.result, arguments.convention, arguments.keep_private)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    cli.run(main)
