"""Reads the configuration of the node (TOML) strictly: an unknown key or a wrong type is an error with its line.

Relative paths are relative to the file.
"""

import dataclasses
import os
import pathlib
import re
import typing

from tfmisr.edge.errors import InputError, hint
from tfmisr.gateway.config import Config, Destination, Dicomweb, Monitoring, Node, Processing, Rule, Source, Tls
from tfmisr.gateway.toml_lines import Lines

_TABLES = {"node": Node, "processing": Processing, "monitoring": Monitoring, "tls": Tls, "dicomweb": Dicomweb}
_ARRAYS = {"sources": Source, "destinations": Destination, "rules": Rule}
_EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    int | str: "a whole number or a string",
    float | str: "a number or a string",
    pathlib.Path: "a path",
    tuple[str, ...]: "a list of strings",
}


class Problem(typing.NamedTuple):
    """Where and what is wrong."""

    table: str
    index: int
    key: str
    text: str


def parse_toml(path: str | os.PathLike) -> tuple[dict, str]:
    """Returns the values and the text of a TOML file.

    Raises:
        InputError: The file is missing or no TOML; the message names the line.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        return _toml().loads(text), text
    except OSError as error:
        raise InputError(f"expected a configuration at {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error


def _toml():
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    return tomllib


def build(path: pathlib.Path, values: dict, text: str) -> Config:
    """Returns the configuration of parsed values, with their types and tables checked.

    Raises:
        InputError: A key is unknown or missing, or a value has another type; the message names the line.
    """
    lines = Lines(text)
    try:
        return _build(path, values)
    except _Wrong as error:
        raise located(path, lines, error.problem) from None


def located(path: pathlib.Path, lines: Lines, problem: Problem) -> InputError:
    """Returns the error to raise for a problem, with file and line."""
    number = lines.of(problem.table, problem.index, problem.key)
    return InputError(f"{path}, line {number}: {problem.text}")


class _Wrong(Exception):
    def __init__(self, *problem):
        super().__init__(*problem)
        self.problem = Problem(*problem)


def _build(path: pathlib.Path, values: dict) -> Config:
    known = [*_TABLES, *_ARRAYS]
    for name in values:
        if name not in known:
            raise _Wrong(name, 0, "", f"unknown table {name}{hint(name, known)}; expected {', '.join(known)}")
    for name in ("node", "sources", "destinations", "rules"):
        if name not in values:
            raise _Wrong("", 0, "", f"expected the table {name}, found none")
    fields: dict = {"path": path}
    for name, kind in _TABLES.items():
        if name in values:
            fields[name] = _table(kind, values[name], name, 0, path.parent)
    for name, kind in _ARRAYS.items():
        if not isinstance(values[name], list) or not values[name]:
            raise _Wrong(name, 0, "", f"expected at least one [[{name}]]")
        fields[name] = tuple(_table(kind, item, name, i, path.parent) for i, item in enumerate(values[name]))
    return Config(**fields)


def _table(kind, values, name: str, index: int, folder: pathlib.Path):
    if not isinstance(values, dict):
        raise _Wrong(name, index, "", f"expected a table {name}. Received: {values!r}")
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise _Wrong(name, index, key, f"unknown key {key} in {name}{hint(key, hints)}")
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING and field.name not in values:
            raise _Wrong(name, index, "", f"expected the key {field.name} in {name}, found none")
    return kind(**{key: _value(hints[key], value, name, index, key, folder) for key, value in values.items()})


def _value(hint_type, value, name: str, index: int, key: str, folder: pathlib.Path):
    fits = {
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, int | float) and not isinstance(value, bool),
        bool: isinstance(value, bool),
        str: isinstance(value, str),
        int | str: isinstance(value, int | str) and not isinstance(value, bool),
        float | str: isinstance(value, int | float | str) and not isinstance(value, bool),
        pathlib.Path: isinstance(value, str) and bool(value),
        tuple[str, ...]: isinstance(value, list) and all(isinstance(item, str) for item in value),
    }
    if not fits[hint_type]:
        raise _Wrong(name, index, key, f"expected {_EXPECTED[hint_type]} for {key}. Received: {value!r}")
    if isinstance(value, str) and hint_type is not pathlib.Path and re.search(r"[\x00-\x1f\x7f]", value):
        raise _Wrong(name, index, key, f"expected no control characters in {key}")
    if hint_type is pathlib.Path:
        return folder / pathlib.Path(value).expanduser()
    if hint_type in (int | str, float | str):
        return value
    return tuple(value) if hint_type == tuple[str, ...] else hint_type(value)
