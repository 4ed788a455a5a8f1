"""Medical image super-resolution with TensorFlow and Keras.

`import tfmisr` imports nothing else; what is used is imported when it is used (PEP 562). `docs/python.md` has examples.

    load(name_or_path)          an upscaler, called with an array or the path of an image
    fit(**fields)               one training run, as `python -m tfmisr.fit`
    evaluate(models, ...)       scores of models and interpolations, as `python -m tfmisr.evaluate`
    tune(**options)             a search of hyperparameters, as `python -m tfmisr.tune`
    export(workdir, output)     `.tflite` files of a network, as `python -m tfmisr.export`
    data.pairs(dataset)         a `tf.data.Dataset` of (LR, HR) for any Keras loop
    models, losses, metrics, degradations

`fit`, `evaluate`, `tune` and `export` are the commands' modules, which can be called. A user's mistake raises
`InputError`, a ValueError.
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
    from tfmisr import data, degradations, losses, metrics, models  # noqa: F401
    from tfmisr.api import evaluate, export, fit, load, tune  # noqa: F401
    from tfmisr.edge.errors import InputError  # noqa: F401

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
    "tune",
]
_HOMES = {"InputError": "tfmisr.edge.errors", "load": "tfmisr.api"}


class _Command(types.ModuleType):
    """A command's module that can be called: `tfmisr.fit(steps=100)` does what `python -m tfmisr.fit` does.

    A function of the same name would be replaced by the module as soon as somebody imports that.
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
    """Makes the module of a command callable; `__main__`, as which a command is run, is left as it is."""
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
    own = (name for name, value in globals().items() if getattr(value, "__name__", "").startswith("tfmisr."))
    return sorted({*__all__, *own, *(name for name in globals() if name.startswith("__"))})


_moved.install()

# A wheel holds datasets/ and export/ inside tfmisr/ (see setup.cfg); in a checkout they stand beside it.
_root = pathlib.Path(__file__).resolve().parent.parent
_places = [str(_root)] if (_root / "setup.cfg").is_file() else list(__path__)
for _name in ("datasets", "export"):
    if _spec := PathFinder.find_spec(f"{__name__}.{_name}", _places):
        globals()[_name] = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
if "tfmisr.export" in sys.modules:
    _make_callable("tfmisr.export")
