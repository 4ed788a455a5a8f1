"""Labels of images for a classifier: a CSV file with the column `id` and one column of 0 and 1 for each output."""

import csv
import dataclasses
import os
import pathlib

import numpy as np

from tfmisr.edge.errors import InputError

_VALUES = {"": np.nan, "0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of images.

    Attributes:
        names: Names of the labels, in the order of the classifier's outputs.
        of: Image to its values `(labels,)`: 0, 1, or nan where unknown.
    """

    names: list[str]
    of: dict[str, np.ndarray]


def read(path: str | os.PathLike) -> Labels:
    """Returns the labels of a file.

    Args:
        path: CSV in UTF-8. `id` is the image's name in the dataset; all other columns are labels, in the order of the
            classifier's outputs, of 0 or 1; an empty cell is unknown.

    Raises:
        InputError: There is no such file, or a line is wrong, which is named by its number.
    """
    path = pathlib.Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise InputError(f"expected labels at {path}: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file in UTF-8: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if header[:1] != ["id"] or len(header) < 2 or len(set(header)) < len(header) or "" in header:
        raise InputError(f"expected a first line `id,LABEL,...` with different names in {path}")
    of = {}
    for number, row in enumerate(rows[1:], 2):
        if row:
            image, values = _values(row, len(header), f"line {number} of {path}")
            if image in of:
                raise InputError(f"line {number} of {path} has an id that a line above it has")
            of[image] = values
    return Labels(header[1:], of)


def _values(row, count, where):
    cells = [cell.strip() for cell in row]
    if len(cells) != count or not cells[0]:
        raise InputError(f"expected an id and {count - 1} values in {where}")
    if wrong := [cell for cell in cells[1:] if cell not in _VALUES]:
        raise InputError(f"expected 0, 1 or nothing in {where}. Received: {wrong[0]!r}")
    return cells[0], np.array([_VALUES[cell] for cell in cells[1:]])
