"""Strict reading of an export's files: JSON, and CSV tables with columns of names, numbers and flags."""

import csv
import json
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from tfmisr.edge.errors import InputError

# A study of 50 readers and 10,000 images has a ratings.csv of some 200 MB.
_MAX_TABLE_BYTES, _MAX_STUDY_BYTES = 2**30, 2**26

Rows = list[dict[str, str]]


def read_json(path: pathlib.Path) -> dict:
    """Reads study.json.

    Raises:
        InputError: The file is missing, too large or not JSON.
    """
    try:
        if path.stat().st_size > _MAX_STUDY_BYTES:
            raise InputError(f"expected a study.json below {_MAX_STUDY_BYTES >> 20} MiB at {path}")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"expected a study.json at {path}; run: python -m tfmisr.reader_study export") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON at {path}: {error}") from error


def read_table(path: str | os.PathLike, columns: Sequence[str]) -> Rows:
    """Reads a CSV table in UTF-8 with a header.

    Args:
        path: The file.
        columns: Columns that it must have; others are returned, too.

    Returns:
        One dictionary of column to text for each row.

    Raises:
        InputError: The file is missing, too large or not CSV, or a column or a value is missing.
    """
    path = pathlib.Path(path)
    try:
        if path.stat().st_size > _MAX_TABLE_BYTES:
            raise InputError(f"expected a table below {_MAX_TABLE_BYTES >> 20} MiB at {path}")
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"expected columns {', '.join(missing)} in {path}; export the study again")
            rows = list(reader)
    except FileNotFoundError as error:
        raise InputError(f"expected a table at {path}; run: python -m tfmisr.reader_study export") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a table in UTF-8 at {path}: {error}") from error
    ragged = next((i for i, row in enumerate(rows) if None in row or None in row.values()), None)
    if ragged is not None:
        raise InputError(f"expected as many values as columns in row {ragged + 2} of {path}")
    return rows


def indices(
    rows: Rows, column: str, names: Sequence[str], path: str | os.PathLike, training: str | None = None
) -> np.ndarray:
    """Returns a column of names as indices.

    Args:
        rows: Rows of the table.
        column: Name of the column.
        names: Known names.
        path: The file, for errors.
        training: Name of the training flag's column; in flagged rows an unknown name becomes -1.

    Returns:
        int64 array (rows,).

    Raises:
        InputError: A name is unknown.
    """
    index_of = {name: i for i, name in enumerate(names)}
    result = np.array([index_of.get(row[column], -1) for row in rows], np.int64)
    for i in np.flatnonzero(result < 0):
        if training is None or rows[i][training] != "1":
            raise InputError(f"expected a known {column} in row {i + 2} of {path}. Received: {rows[i][column]!r}")
    return result


def numbers(rows: Rows, column: str, path: str | os.PathLike, empty: float | None = None) -> np.ndarray:
    """Returns a column of numbers.

    Args:
        rows: Rows of the table.
        column: Name of the column.
        path: The file, for errors.
        empty: Value of empty fields. Without it, fields must not be empty and must be whole numbers.

    Returns:
        float64 array (rows,).

    Raises:
        InputError: A field is not a finite number, or not a whole one.
    """
    result = np.empty(len(rows))
    for i, row in enumerate(rows):
        text = row[column]
        if not text and empty is not None:
            result[i] = empty
            continue
        try:
            result[i] = float(text)
        except ValueError:
            result[i] = math.nan
        if not math.isfinite(result[i]) or (empty is None and not result[i].is_integer()):
            kind = "whole number" if empty is None else "number"
            raise InputError(f"expected a {kind} in column {column}, row {i + 2} of {path}. Received: {text!r}")
    return result


def flags(rows: Rows, column: str, path: str | os.PathLike) -> np.ndarray:
    """Returns a column of 0, 1 or nothing as a boolean array (rows,); all false without the column.

    Raises:
        InputError: A field has another value.
    """
    texts = [row.get(column, "0") for row in rows]
    wrong = next((i for i, text in enumerate(texts) if text not in ("0", "1", "")), None)
    if wrong is not None:
        raise InputError(f"expected 0 or 1 in column {column}, row {wrong + 2} of {path}. Received: {texts[wrong]!r}")
    return np.array([text == "1" for text in texts])
