"""Keyword arguments of the Python API, validated with the names, types, choices and defaults of a command's flags."""

import argparse
import numbers
import operator
import os
import warnings

from tfmisr import cli
from tfmisr.edge.errors import InputError, hint


def parsed(parser: argparse.ArgumentParser, given: dict) -> argparse.Namespace:
    """Returns what `parser.parse_args` returns for the same options on a command line.

    Args:
        parser: A command's parser without sub-commands: the only source of names, types, choices and defaults.
        given: Options by name, the flag's without its dashes. Numbers and booleans must not be texts; folders may be
            `pathlib.Path`s; an option with several values takes a list or a single value. The old name of a flag is
            accepted with a `DeprecationWarning`.

    Raises:
        InputError: Unknown option, invalid value, or options that exclude each other.
    """
    old = {a.option_strings[0].lstrip("-"): a.dest for a in parser._actions if isinstance(a, cli.OldFlag)}
    actions = {a.dest: a for a in parser._actions if a.dest != "help" and not isinstance(a, cli.OldFlag)}
    command = parser.prog.rpartition(".")[2]
    given = _with_new_names(command, given, {name: new for name, new in old.items() if name not in actions})
    for name in given:
        if name not in actions:
            raise InputError(f"{command} has no option {name}{hint(name, actions, 0.5)}")
    for group in parser._mutually_exclusive_groups:
        members = (action.dest for action in group._group_actions if not isinstance(action, cli.OldFlag))
        both = [name for name in members if given.get(name) is not None]
        if len(both) > 1:
            raise InputError(f"{command} takes {' or '.join(both)}, not both")
    values = {name: action.default for name, action in actions.items() if action.default is not argparse.SUPPRESS}
    values |= {name: _value(actions[name], value) for name, value in given.items()}
    for name, action in actions.items():
        if action.required and values.get(name) is None:
            raise InputError(f"{command} needs {name}")
    return argparse.Namespace(**values)


def _with_new_names(command, given, old):
    for name in old.keys() & given.keys():
        if old[name] in given:
            raise InputError(f"{command} takes {old[name]} or, under its old name, {name}, not both")
        warnings.warn(f"{name} of tfmisr.{command} is now called {old[name]}", DeprecationWarning, stacklevel=5)
    return {old.get(name, name): value for name, value in given.items()}


def _value(action, value):
    if value is None and action.default in (None, argparse.SUPPRESS):
        return None
    if action.nargs == 0:
        return _require(action, value, isinstance(value, bool), "true or false")
    if action.nargs != "+":
        return _single(action, value)
    several = [value] if isinstance(value, (str, os.PathLike, numbers.Number)) else value
    _require(action, several, isinstance(several, (list, tuple)), "a list")
    _require(action, several, several or action.default in ([], argparse.SUPPRESS), "a list of one or more")
    return [_single(action, item) for item in several]


def _single(action, value):
    number = isinstance(value, numbers.Number) and not isinstance(value, bool)
    if action.type is int:
        value = operator.index(_require(action, value, number and hasattr(value, "__index__"), "a whole number"))
    elif action.type is float:
        value = float(_require(action, value, number and isinstance(value, numbers.Real), "a number"))
    else:
        text = isinstance(value, (str, os.PathLike)) or (number and hasattr(value, "__index__"))
        _require(action, value, text, "a text")
        value = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    if action.choices is not None and value not in action.choices:
        known = [str(choice) for choice in action.choices]
        near = hint(value, known, 0.5) if isinstance(value, str) else ""
        raise InputError(f"{action.dest} must be one of {', '.join(known)}. Received: {value}{near}")
    return value


def _require(action, value, valid, expected):
    if not valid:
        raise InputError(f"{action.dest} must be {expected}. Received: {value!r}")
    return value
