"""Old names of functions, classes and constants: they work for one release and warn with `DeprecationWarning`."""

import importlib
import warnings
from collections.abc import Callable


def renamed(module: str, **names: str) -> Callable[[str], object]:
    """Returns a module's `__getattr__` (PEP 562) for names that the previous release had.

    Args:
        module: `__name__` of the module that calls this.
        **names: Old name and new one: an attribute of the same module, or `package.module.attribute` of another.

    Raises:
        AttributeError: By the returned function: the module has no such name, old or new.
    """

    def __getattr__(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = names[name].rpartition(".")
        value = getattr(importlib.import_module(home or module), attribute)
        warnings.warn(f"{module}.{name} is now {home or module}.{attribute}", DeprecationWarning, stacklevel=2)
        return value

    return __getattr__
