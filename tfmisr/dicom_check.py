"""python -m tfmisr.dicom_check: checks a derived DICOM image against its source, or a half-width map against its image.

Of two folders it checks a derived series of thin slices against the series that it was made from (V-11).

It complements dciodvfy and dcentvfy, which check a single file or a series against the standard. Not checked, since one
pair of files does not show it: D-02 (deterministic UIDs), D-25 (the convention is an argument), D-42 and D-44.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pydicom

from tfmisr import cli
from tfmisr.edge import dicom_file, element_values, stored_values
from tfmisr.edge.derived import (
    check_bytes,
    check_geometry,
    check_half_width,
    check_identity,
    check_pixels,
    check_series,
    check_series_geometry,
    check_series_identity,
    check_series_pixels,
    product,
)
from tfmisr.edge.derived.check_series import SeriesPair
from tfmisr.edge.derived.checking import Contents, Pair, element_bytes
from tfmisr.edge.errors import InputError


def violations(
    source: str | os.PathLike,
    result: str | os.PathLike,
    convention: str = "half_pixel",
    keep_private: bool = False,
    half_width: str | os.PathLike | None = None,
) -> list[str]:
    """Returns one line for each rule that a derived image breaks; it starts with the number of the rule.

    Args:
        source: A DICOM file.
        result: The file that was derived from it; a half-width map is recognized by its quantity (T-20 to T-22).
        convention: Sampling grid of the result, a property of the model (D-25).
        keep_private: Private Data Elements are allowed (D-40).
        half_width: Of a map: `.npy` file of the half-widths it was made from, in units of the rescaled values.

    Raises:
        InputError: One of the files is not a readable image, or `half_width` does not fit them.
    """
    (before, source_bytes), (after, result_bytes) = (_load(path) for path in (source, result))
    pair = Pair(before, after, convention, keep_private, source_bytes, result_bytes)
    with dicom_file.raise_input_errors(f"{os.fspath(source)} and {os.fspath(result)}"):
        if check_half_width.is_map(after):
            return sorted(check_half_width.violations(pair, None if half_width is None else _recorded(half_width)))
        if half_width is not None:
            raise InputError("half-widths belong to a map of them; the result is an image")
        lines = _violations({**check_identity.RULES, **check_bytes.RULES}, pair) + _violations(
            check_geometry.SIZE, pair
        )
        if not any(line.startswith("D-20") for line in lines):  # the other rules would fail for the same reason
            lines += _violations({**check_geometry.RULES, **check_pixels.RULES}, pair)
    return sorted(lines)


def series_violations(source: str | os.PathLike, result: str | os.PathLike) -> list[str]:
    """Returns one line for each rule that a derived series breaks; it starts with the number of the rule (V-11a ...).

    Args:
        source: Folder with the acquired slices, or an Enhanced object.
        result: Folder with the derived series and nothing else.

    Raises:
        InputError: A file cannot be read, or there is no series of slices.
    """
    pair = check_series.load(source, result)
    with dicom_file.raise_input_errors(f"{os.fspath(source)} and {os.fspath(result)}"):
        lines = _violations({**check_series_identity.RULES, **check_series_geometry.RULES}, pair)
        if not any(line.startswith("V-11c") for line in lines):  # the other rules would fail for the same reason
            lines += _violations(check_series_pixels.RULES, pair)
    return sorted(lines)


def _load(path: str | os.PathLike) -> tuple[pydicom.Dataset, Contents]:
    with dicom_file.raise_input_errors(os.fspath(path)):
        ds = dicom_file.load(path)
        original_bytes = element_bytes(ds)  # before anything is decoded
        is_float = "FloatPixelData" in ds and check_half_width.is_map(ds)
        if not ds.get("Rows") or not ds.get("Columns") or not (ds.get("PixelData") or is_float):
            raise InputError("expected a DICOM image, found no Rows, Columns or Pixel Data")
        if is_float:
            return ds, original_bytes
        element_values.check(ds)
        # The length of native Pixel Data is checked by a rule (D-20).
        if ds.file_meta.TransferSyntaxUID.is_encapsulated:
            ds = stored_values.read(ds).ds
    return ds, original_bytes


def _recorded(path: str | os.PathLike) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{os.fspath(path)} is not a readable .npy file ({type(error).__name__})") from None


def _violations(rules: Mapping[str, Callable[[Any], str | None]], pair: Pair | SeriesPair) -> list[str]:
    reasons = {number: rule(pair) for number, rule in rules.items()}
    return [f"{number} {reason}" for number, reason in reasons.items() if reason]


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m tfmisr.dicom_check",
        description="Checks a derived DICOM image against its source, the map of its half-widths against the derived "
        "image, or of two folders a series of thin slices against the acquired one. Prints one line per violated rule; "
        "exit status 0: no violation, 1: violations, 2: a file cannot be read.",
    )
    parser.add_argument(
        "source",
        help="the DICOM image that was upscaled; for a half-width map, the upscaled image; for a series, its folder",
    )
    parser.add_argument("result", help="the DICOM image that was derived from it, the half-width map, or a folder")
    parser.add_argument(
        "--half_width",
        metavar="FILE.npy",
        help="check that a half-width map is nowhere below these half-widths, in units of rescaled values",
    )
    parser.add_argument(
        "--convention",
        choices=product.CONVENTIONS,
        default="half_pixel",
        help="sampling grid of the model (default: half_pixel)",
    )
    parser.add_argument("--keep_private", action="store_true", help="allow private Data Elements")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    if os.path.isdir(arguments.source) or os.path.isdir(arguments.result):
        if arguments.half_width or arguments.keep_private or arguments.convention != "half_pixel":
            raise InputError(
                "--half_width, --convention and --keep_private are for two files. Received: the folder of a series"
            )
        lines = series_violations(arguments.source, arguments.result)
    else:
        lines = violations(
            arguments.source, arguments.result, arguments.convention, arguments.keep_private, arguments.half_width
        )
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    cli.run(main)
