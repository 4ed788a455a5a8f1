"""The sub-commands of `python -m tfmisr.reader_study`, one module each, found by its name.

Each module has `add_parser(subparsers)`, which returns the sub-command's argument parser, and `run(arguments) -> int`,
which returns the exit status. Slow imports are inside functions, because `--help` imports every module.
"""

import pkgutil


def names() -> list[str]:
    """Returns the names of the sub-commands."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
