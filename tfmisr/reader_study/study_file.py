"""Reads a study file (TOML) strictly: unknown, missing or ill-typed values are errors, before anything is computed."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable

from tfmisr.edge.errors import InputError, hint
from tfmisr.reader_study.design import (
    Analysis,
    Arm,
    Cases,
    Degradation,
    Design,
    Display,
    Order,
    Preference,
    Question,
    Reading,
)

_TABLES = {
    "cases": Cases,
    "degradation": Degradation,
    "preference": Preference,
    "order": Order,
    "display": Display,
    "reading": Reading,
    "analysis": Analysis,
}
_ARRAYS_OF_TABLES = {"arms": Arm, "questions": Question}
_EXPECTED = {
    tuple[str, ...]: "a list of strings",
    tuple[tuple[str, str], ...]: "a list of pairs of arms",
    dict[str, float]: "a table of numbers",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
}


def read(path: str | os.PathLike) -> Design:
    """Reads a study file (TOML).

    Raises:
        InputError: The file is missing, is not TOML, or has a value that no study can have.
    """
    path = pathlib.Path(path)
    try:
        values = _toml().loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"expected a study file at {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error
    return from_dict(values, str(path), path.parent)


def _toml():
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        try:
            import tomli as tomllib
        except ModuleNotFoundError as error:
            raise InputError("reading a study file needs tomli. Run: pip install 'tfmisr[study]'") from error
    return tomllib


def from_dict(values: dict, where: str, folder: str | os.PathLike = pathlib.Path()) -> Design:
    """Returns the design of a parsed study file.

    Args:
        values: Content as the TOML parser returns it.
        where: Name of the source, for error messages.
        folder: Folder that relative paths are relative to.

    Raises:
        InputError: A value is unknown, missing or impossible.
    """
    values = dict(values)
    for name, table_type in _TABLES.items():
        if name in values:
            values[name] = _table(table_type, values[name], f"{where}: [{name}]")
    for name, table_type in _ARRAYS_OF_TABLES.items():
        if not isinstance(values.get(name), list) or not values[name]:
            raise InputError(f"{where}: expected at least one [[{name}]]. Received: {values.get(name)!r}")
        values[name] = tuple(_table(table_type, v, f"{where}: [[{name}]] {i}") for i, v in enumerate(values[name], 1))
    known = {field.name for field in dataclasses.fields(Design)} - {"folder"}
    _check_names(values, known, where)
    _check_present(Design, values, where)
    return Design(**values, folder=pathlib.Path(folder))


def _table(table_type: type, values: object, where: str):
    if not isinstance(values, dict):
        raise InputError(f"{where} must be a table. Received: {values!r}")
    fields = {field.name: field for field in dataclasses.fields(table_type)}
    _check_names(values, fields, where)
    _check_present(table_type, values, where)
    return table_type(**{name: _value(fields[name].type, value, f"{where} {name}") for name, value in values.items()})


def _check_names(values: dict, known: Iterable[str], where: str) -> None:
    for name in values:
        if name not in known:
            raise InputError(f"{where} has an unknown entry: {name}{hint(name, known)}")


def _check_present(table_type: type, values: dict, where: str) -> None:
    for field in dataclasses.fields(table_type):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise InputError(f"{where}: expected {field.name}, found none")


def _value(field_type, value: object, where: str):
    """Returns a field's value; TOML's lists as tuples, and its integers as floats where a float is expected."""
    if field_type == tuple[str, ...] and _is_list_of_strings(value):
        return tuple(value)
    if field_type == tuple[tuple[str, str], ...] and isinstance(value, list):
        if all(_is_list_of_strings(pair) and len(pair) == 2 for pair in value):
            return tuple(map(tuple, value))
    if field_type == dict[str, float] and isinstance(value, dict) and all(map(_is_finite, value.values())):
        return {key: float(number) for key, number in value.items()}
    if field_type is float and _is_finite(value):
        return float(value)
    if field_type is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if (field_type is bool and isinstance(value, bool)) or (field_type in (str, str | None) and isinstance(value, str)):
        return value
    raise InputError(f"{where} must be {_EXPECTED.get(field_type, 'a string')}. Received: {value!r}")


def _is_list_of_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
