"""Parameter studies: one grid search per file, with its question, its cost, its runs (`CONFIG`) and its `SPACE`."""

import importlib

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import check_name


def names() -> list[str]:
    """Returns the names of all parameter studies, from file names alone."""
    from tfmisr._lazy import modules_of

    return modules_of(__path__)


def parameter_study(name: str) -> tuple[dict, dict]:
    """Returns the fields of a parameter study's runs, and its search space.

    Raises:
        InputError: There is no such parameter study.
    """
    check_name("parameter_study", name, names())
    module = importlib.import_module(f"{__name__}.{name}")
    return dict(module.CONFIG), dict(module.SPACE)


__getattr__ = renamed(__name__, study="parameter_study")
