"""Studies: a file here is one, a grid with what it asks, what it costs, its `CONFIG` (fields of a run) and `SPACE`."""

import importlib


def names() -> list[str]:
    """Returns the names of all studies, from file names alone."""
    from tfmisr._lazy import modules_of

    return modules_of(__path__)


def study(name: str) -> tuple[dict, dict]:
    """Returns the fields of a study's runs, and what it searches.

    Raises:
        InputError: There is no such study.
    """
    from tfmisr.edge.errors import check_name

    check_name("study", name, names())
    found = importlib.import_module(f"{__name__}.{name}")
    return dict(found.CONFIG), dict(found.SPACE)
