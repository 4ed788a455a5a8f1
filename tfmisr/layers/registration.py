"""Registers this package's layers with Keras as soon as Keras is imported; does not import Keras itself.

`import tfmisr.models` calls `when_keras_is_imported`, so that afterwards `keras.saving.load_model` opens a run's
`model.keras`, whichever of the two was imported first. Until Keras is imported, a finder in `sys.meta_path` wraps
Keras's loader and imports the layers after it (a post-import hook, as in PEP 369).
"""

import importlib
import sys

MODULES = ("tfmisr.layers.upsampling", "tfmisr.layers.attention", "tfmisr.layers.collapsible")


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


def when_keras_is_imported() -> None:
    """Registers the layers now where Keras is already imported, otherwise right after its import."""
    if sys.modules.get("keras"):  # None: tests forbid its import this way
        register()
    elif _AfterKeras not in sys.meta_path:
        sys.meta_path.insert(0, _AfterKeras)


def register() -> None:
    """Registers the layers with Keras, importing both."""
    for name in MODULES:
        importlib.import_module(name)
