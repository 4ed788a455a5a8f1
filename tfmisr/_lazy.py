"""Packages whose modules are found by their file names, and whose names are imported on first use (PEP 562)."""

import importlib
import pkgutil
import sys
from collections.abc import Callable

from tfmisr import cli


def attach(package: str, **homes: tuple[str, ...]) -> tuple[Callable, Callable, list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: `__name__` of the package that calls this.
        **homes: Module of the package, and the names that the package takes from it.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def __getattr__(name: str):
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with cli.naming_extras(f"{package}.{name}"):
            value = getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)
        return sys.modules[package].__dict__.setdefault(name, value)

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return __getattr__, __dir__, sorted(home_of)


def modules_of(path) -> list[str]:
    """Returns the names of the public modules in a package's `__path__`, sorted; nothing is imported."""
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.ispkg and not m.name.startswith("_"))
