"""Medical image super-resolution with TensorFlow and Keras.

`import tfmisr` is instant: submodules are imported on first use (PEP 562). `docs/python.md` has examples.

    load(name_or_path)          returns an upscaler, called with an array or the path of an image
    fit(**fields)               trains a network, as `python -m tfmisr.fit`
    evaluate(models, ...)       scores models and interpolations, as `python -m tfmisr.evaluate`
    observe(models, ...)        measures detectability of signals, as `python -m tfmisr.observe`
    tune(**options)             searches hyperparameters, as `python -m tfmisr.tune`
    volume(inputs, output, ...) makes slices of CT and MR thinner, as `python -m tfmisr.volume`
    export(workdir, output)     exports a network to `.tflite` files, as `python -m tfmisr.export`
    data.pairs(dataset)         returns a `tf.data.Dataset` of (LR, HR) for any Keras training loop
    models, losses, metrics, degradations

`fit`, `evaluate`, `observe`, `tune`, `volume` and `export` are the commands' modules, which are callable. A user error
raises `InputError`, a subclass of `ValueError`.
"""

import importlib
import importlib.util
import pathlib
import sys
import types
import typing
from importlib.machinery import PathFinder

from tfmisr import _moved

if typing.TYPE_CHECKING:
    from tfmisr import data, degradations, losses, metrics, models
    from tfmisr.api import evaluate, export, fit, load, observe, tune, volume
    from tfmisr.edge.errors import InputError

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "data",
    "degradations",
    "evaluate",
    "export",
    "fit",
    "load",
    "losses",
    "metrics",
    "models",
    "observe",
    "tune",
    "volume",
]
_HOMES = {"InputError": "tfmisr.edge.errors", "load": "tfmisr.api"}


class _Command(types.ModuleType):
    """A command's module that can be called: `tfmisr.fit(steps=100)` does what `python -m tfmisr.fit` does.

    A function of the same name would be replaced by the module as soon as the module is imported.
    """

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    @property
    def __signature__(self):
        import inspect

        return inspect.signature(self._function)

    @property
    def _function(self):
        return getattr(importlib.import_module("tfmisr.api"), self.__name__.rpartition(".")[2])


def _make_callable(name: str) -> None:
    """Makes a command's module callable, except as `__main__`."""
    if name != "__main__":
        sys.modules[name].__class__ = _Command


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    from tfmisr import cli

    with cli.naming_extras(f"tfmisr.{name}"):
        return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    modules = (name for name, value in globals().items() if getattr(value, "__name__", "").startswith("tfmisr."))
    return sorted({*__all__, *modules, *(name for name in globals() if name.startswith("__"))})


_moved.install()

# In a wheel datasets/ and export/ are inside tfmisr/ (see setup.cfg), in a checkout beside it.
_root = pathlib.Path(__file__).resolve().parent.parent
_search_path = [str(_root)] if (_root / "setup.cfg").is_file() else list(__path__)
for _name in ("datasets", "export"):
    if _spec := PathFinder.find_spec(f"{__name__}.{_name}", _search_path):
        globals()[_name] = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
if "tfmisr.export" in sys.modules:
    _make_callable("tfmisr.export")
