"""Registers this package's layers and losses with Keras as soon as Keras is imported; does not import Keras itself.

`import tfmisr.models` calls `when_keras_is_imported`, so that afterwards `keras.saving.load_model` opens a run's
`model.keras`, whichever of the two was imported first; `import tfmisr.losses` does so for compiled networks. Until
Keras is imported, a finder in `sys.meta_path` wraps Keras's loader and imports the modules after it (a post-import
hook, as in PEP 369).
"""

import importlib
import sys

MODULES = (
    "tfmisr.layers.upsampling",
    "tfmisr.layers.attention",
    "tfmisr.layers.collapsible",
    "tfmisr.layers.activation_range",
)
_MODULES: list[str] = []  # of higher rooms


class _AfterKeras:
    @staticmethod
    def find_spec(name, path=None, target=None):
        """See `importlib.abc.MetaPathFinder`."""
        if name != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not _AfterKeras]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module):
            execute(module)
            if _AfterKeras in sys.meta_path:
                sys.meta_path.remove(_AfterKeras)
            register()

        spec.loader.exec_module = execute_and_register
        return spec


def when_keras_is_imported(*modules: str) -> None:
    """Registers the layers now where Keras is already imported, otherwise right after its import.

    Args:
        *modules: Names of further modules with classes to register.
    """
    _MODULES.extend(modules)
    if sys.modules.get("keras"):  # None: tests forbid its import this way
        register()
    elif _AfterKeras not in sys.meta_path:
        sys.meta_path.insert(0, _AfterKeras)


def register() -> None:
    """Registers the layers with Keras, importing both, and what `when_keras_is_imported` was given."""
    for name in (*MODULES, *_MODULES):
        importlib.import_module(name)
