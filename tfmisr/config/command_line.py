"""A run's configuration from flags, a `config.json` and presets, in this order of precedence."""

import argparse
import dataclasses
import importlib
import json
import os
import pathlib
import sys
import typing

from tfmisr import presets
from tfmisr.config import compatibility
from tfmisr.config.fields import EARLIER_DEFAULTS, Config
from tfmisr.edge.errors import InputError, check_name, hint

# Either flag replaces both in a preset or a file.
_ONE_OF = ("steps", "epochs")


def from_dict(values: dict, source: str) -> Config:
    """Returns the configuration with `values` over the defaults.

    Args:
        values: Fields by name.
        source: Where they come from, for the error message.

    Raises:
        InputError: An unknown field, or an invalid value.
    """
    known = [field.name for field in dataclasses.fields(Config)]
    for name in values:
        if name not in known:
            raise InputError(f"{source} has an unknown field: {name}{hint(name, known)}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Config(**values)


def read(path: str | os.PathLike) -> dict:
    """Returns the fields in a JSON file, such as a run's `config.json`.

    Raises:
        InputError: There is no such file, or it does not hold one JSON object.
    """
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"expected a configuration file, found none at {path}") from error
    except (ValueError, IsADirectoryError) as error:
        raise InputError(f"{path} is not a JSON file of a run: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold one JSON object, the fields of a run")
    return values


def preset(name: str) -> dict:
    """Returns the fields that the preset `name` sets; prints a warning for a preset's old name.

    Raises:
        InputError: There is no such preset.
    """
    if name in presets.OLD_NAMES:
        print(f"warning: preset {name} is now called {presets.OLD_NAMES[name]}", file=sys.stderr)
        name = presets.OLD_NAMES[name]
    check_name("preset", name, presets.names())
    return dict(importlib.import_module(f"tfmisr.presets.{name}").CONFIG)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one flag for each field, spelled as the field, to a parser; flags that are not given stay unset."""
    for field in dataclasses.fields(Config):
        text = field.metadata["help"].replace("%", "%%")
        if field.default not in (None, ()):
            text += f" (default: {field.default})"
        kwargs = {"default": argparse.SUPPRESS, "help": text, "dest": field.name}
        if field.type is bool:
            parser.add_argument(f"--{field.name}", action=argparse.BooleanOptionalAction, **kwargs)
        elif field.metadata["several"]:
            parser.add_argument(f"--{field.name}", nargs="+", metavar="DIR", **kwargs)
        else:
            kwargs |= {"type": _parser_type(field.type), "metavar": _metavar(field)}
            parser.add_argument(f"--{field.name}", **kwargs)


def _metavar(field) -> str:
    if choices := field.metadata["choices"]:
        return "|".join(map(str, choices))
    return {int: "N", float: "X", str: "TEXT"}[_parser_type(field.type)]


def _parser_type(annotation):
    members = typing.get_args(annotation) or (annotation,)
    return next(kind for kind in (int, float, str) if kind in members)


def parse(arguments: argparse.Namespace, recipe: dict | None = None) -> Config:
    """Returns the configuration of a command line: flags over `--config`, `--preset` or `recipe` over defaults.

    A run that an earlier version started keeps that version's defaults; see `tfmisr.config.compatibility`.

    Args:
        arguments: Flags of `add_arguments` that were given, and perhaps `config` and `preset`.
        recipe: Fields to start from where neither `config` nor `preset` is given.

    Raises:
        InputError: An unknown field or preset, or an invalid value.
    """
    flags = dict(vars(arguments))
    file, name = flags.pop("config", None), flags.pop("preset", None)
    values = {**EARLIER_DEFAULTS, **read(file)} if file else preset(name) if name else dict(recipe or {})
    if any(key in flags for key in _ONE_OF):
        values = {k: v for k, v in values.items() if k not in _ONE_OF}
    values |= flags
    config = from_dict(values, file or "the command line")
    earlier = compatibility.with_earlier_defaults(config, values, EARLIER_DEFAULTS)
    return earlier if compatibility.predates(earlier.folder / "config.json", EARLIER_DEFAULTS) else config
