"""A user's own splits of a folder by patient: the file `patient_splits.csv` in it."""

import csv
import pathlib
from collections.abc import Iterable

from tfmisr import data
from tfmisr.edge.errors import InputError

FILE = "patient_splits.csv"
_COLUMNS = ["patient", "split"]


def texts(folders: Iterable[pathlib.Path]) -> list[str]:
    """Returns the content of the folders' lists, which identifies the splits.

    Raises:
        InputError: A list is not UTF-8 text.
    """
    return [_content(path) for path in _files(folders)]


def read(folders: Iterable[pathlib.Path]) -> dict[str, str] | None:
    """Returns the split of each listed patient, or `None` where no folder holds a list.

    Args:
        folders: Folders that form one dataset; each may hold a list.

    Raises:
        InputError: A list has other columns or another split, or gives one patient two splits.
    """
    if not (files := _files(folders)):
        return None
    split_of = {}
    for path in files:
        rows = csv.DictReader(_content(path).splitlines(), restkey="more", restval="")
        if rows.fieldnames != _COLUMNS:
            raise InputError(f"{path}: expected the columns {','.join(_COLUMNS)}. Received: {rows.fieldnames}")
        for row in rows:
            if row["split"] not in data.SPLITS or not row["patient"] or "more" in row:
                raise InputError(
                    f"{path}, line {rows.line_num}: expected a patient and one of {', '.join(data.SPLITS)}"
                )
            if split_of.setdefault(row["patient"], row["split"]) != row["split"]:
                raise InputError(f"{path}, line {rows.line_num}: this patient has another split above")
    return split_of


def splits(keys: Iterable[str], split_of: dict[str, str]) -> dict[str, str]:
    """Returns the split of each patient key, "rule:name".

    Args:
        keys: Result of `patients.keys`.
        split_of: Result of `read`.

    Raises:
        InputError: Some patients are not in the list.
    """
    names = {key: key.partition(":")[2] for key in keys}
    if missing := [key for key, name in names.items() if name not in split_of]:
        raise InputError(
            f"expected a row of {FILE} for each of the {len(names)} patients of the folder; {len(missing)} have none "
            "(a patient is the Patient ID of DICOM files, else the sub-folder, else the file)"
        )
    return {key: split_of[name] for key, name in names.items()}


def _files(folders) -> list[pathlib.Path]:
    return [path for folder in folders if (path := pathlib.Path(folder) / FILE).is_file()]


def _content(path):
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text") from error
