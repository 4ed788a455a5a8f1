"""Medical image super-resolution with TensorFlow and Keras."""

import importlib.util
import pathlib
import sys
from importlib.machinery import PathFinder

__version__ = "0.1.0"

# A wheel holds datasets/ and export/ inside tfmisr/ (see setup.cfg); in a checkout they stand beside it.
_root = pathlib.Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").is_file():
    for _name in ("datasets", "export"):
        if _spec := PathFinder.find_spec(f"{__name__}.{_name}", [str(_root)]):
            globals()[_name] = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
