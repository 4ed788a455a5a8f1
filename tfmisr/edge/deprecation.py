"""Deprecated names of functions, classes, constants and arguments: for one release they work and warn."""

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def renamed(module: str, **names: str) -> Callable[[str], object]:
    """Returns a module's `__getattr__` (PEP 562) that resolves the names of the previous release.

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


def renamed_arguments(**names: str) -> Callable[[Function], Function]:
    """Returns a decorator that accepts old names of keyword arguments with a `DeprecationWarning`.

    Args:
        **names: Old name and new one.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for old, new in names.items():
                if old in kwargs:
                    message = f"the argument {old} of {function.__name__} is now {new}"
                    warnings.warn(message, DeprecationWarning, stacklevel=2)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return decorate
