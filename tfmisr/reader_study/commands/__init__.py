"""One file a sub-command of `python -m tfmisr.reader_study`, found by its name.

Each has `add_parser(subparsers)`, which gives the sub-command its arguments, and `run(arguments) -> int`, its exit
status. It imports what is heavy inside functions: `--help` reads them all.
"""

import pkgutil


def names() -> list[str]:
    """Returns the names of the sub-commands."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
