"""Lazy packages: their names are imported on first use (PEP 562), their modules are listed from file names."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable

from tfmisr import cli


def attach(
    package: str, old: dict[str, tuple[str, ...]] | None = None, **homes: tuple[str, ...]
) -> tuple[Callable, Callable, list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: `__name__` of the package that calls this.
        old: Module of the package, and names of the previous release that the module provides with a warning.
        **homes: Module of the package, and the names that the package provides from it.
    """
    public = {name: home for home, names in homes.items() for name in names}
    home_of = public | {name: home for home, names in (old or {}).items() for name in names}

    def __getattr__(name: str):
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with cli.naming_extras(f"{package}.{name}"):
            value = getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)
        return sys.modules[package].__dict__.setdefault(name, value) if name in public else value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return __getattr__, __dir__, sorted(public)


def modules_of(path: Iterable[str]) -> list[str]:
    """Returns the names of the public modules in a package's `__path__`, sorted; nothing is imported."""
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.ispkg and not m.name.startswith("_"))
