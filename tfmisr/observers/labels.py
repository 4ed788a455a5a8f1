"""Labels of images for a classifier: a CSV file with the column `id` or `file`, and a column of 0 and 1 for each label.

In a dataset from a folder, ids are numbers in the order of its files, which change with the folder: there labels name
files, and `sources.csv` of the prepared dataset says which images they are.
"""

import csv
import dataclasses
import os
import pathlib
import typing

import numpy as np

from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    from tfmisr.data import Source

_VALUES = {"": np.nan, "0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of images.

    Attributes:
        names: Names of the labels, in the order of the classifier's outputs.
        of: Image to its values `(labels,)`: 0, 1, or nan where unknown.
        key: What names an image: `id` in the dataset, or `file` in its folder.
    """

    names: list[str]
    of: dict[str, np.ndarray]
    key: str = "id"

    def by_id(self, source: "Source") -> dict[str, np.ndarray]:
        """Returns the id of each image in a dataset to its values; all frames of a file have those of the file.

        Raises:
            InputError: The dataset is one of a folder and labels name ids, or the reverse.
        """
        table = source.folder / "sources.csv"
        if table.is_file() != (self.key == "file"):
            other = "file" if self.key == "id" else "id"
            raise InputError(f"labels of images of {source.name} need the column {other}. Received: {self.key}")
        if self.key == "id":
            return self.of
        with open(table, newline="", encoding="utf-8") as file:
            return {row["id"]: self.of[row["file"]] for row in csv.DictReader(file) if row["file"] in self.of}


def read(path: str | os.PathLike) -> Labels:
    """Returns the labels of a file.

    Args:
        path: CSV in UTF-8. The first column is `id`, the image's name in the dataset, or `file`, its path below the
            folder that is the dataset; all others are labels, in the order of the classifier's outputs, of 0 or 1; an
            empty cell is unknown.

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
    if header[:1] not in (["id"], ["file"]) or len(header) < 2 or len(set(header)) < len(header) or "" in header:
        raise InputError(f"expected a first line `id,LABEL,...` or `file,LABEL,...` with different names in {path}")
    of = {}
    for number, row in enumerate(rows[1:], 2):
        if row:
            image, values = _values(row, len(header), f"line {number} of {path}")
            if image in of:
                raise InputError(f"line {number} of {path} has the {header[0]} of a line above it")
            of[image] = values
    return Labels(header[1:], of, header[0])


def _values(row, count, where):
    cells = [cell.strip() for cell in row]
    if len(cells) != count or not cells[0]:
        raise InputError(f"expected an image and {count - 1} values in {where}")
    if wrong := [cell for cell in cells[1:] if cell not in _VALUES]:
        raise InputError(f"expected 0, 1 or nothing in {where}. Received: {wrong[0]!r}")
    return cells[0], np.array([_VALUES[cell] for cell in cells[1:]])
