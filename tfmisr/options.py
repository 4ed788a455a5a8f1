"""The options of a command from Python: keyword arguments with the names, defaults and checks of its flags."""

import argparse
import numbers
import operator
import os

from tfmisr.edge.errors import InputError, hint


def parsed(parser: argparse.ArgumentParser, given: dict) -> argparse.Namespace:
    """Returns what `parser.parse_args` returns for the same options on a command line.

    Args:
        parser: A command's parser without sub-commands: the one source of names, types, choices and defaults.
        given: Options by name, the flag's without its dashes. Numbers and booleans are such, not texts; folders may be
            `pathlib.Path`s; an option that takes several takes a list or one alone.

    Raises:
        InputError: No such option, a value that it cannot have, or two that exclude each other.
    """
    actions = {action.dest: action for action in parser._actions if action.dest != "help"}
    command = parser.prog.rpartition(".")[2]
    for name in given:
        if name not in actions:
            raise InputError(f"{command} has no option {name}{hint(name, actions, 0.5)}")
    for group in parser._mutually_exclusive_groups:
        both = [action.dest for action in group._group_actions if given.get(action.dest) is not None]
        if len(both) > 1:
            raise InputError(f"{command} takes {' or '.join(both)}, not both")
    values = {name: action.default for name, action in actions.items() if action.default is not argparse.SUPPRESS}
    values |= {name: _value(actions[name], value) for name, value in given.items()}
    for name, action in actions.items():
        if action.required and values.get(name) is None:
            raise InputError(f"{command} needs {name}")
    return argparse.Namespace(**values)


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


def _require(action, value, right, expected):
    if not right:
        raise InputError(f"{action.dest} must be {expected}. Received: {value!r}")
    return value
