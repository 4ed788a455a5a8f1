"""What a method has learned, in one `.npz` file: arrays and a line of JSON, nothing that is run."""

import json
import pathlib
import zipfile

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

_LARGEST = 2**28  # bytes


def write(path: pathlib.Path, about: dict, arrays: dict[str, np.ndarray]) -> None:
    """Writes the file, whole or not at all.

    Args:
        path: File that ends in `.npz`.
        about: What it is, for JSON; `method` says whose it is.
        arrays: float32 arrays by name.
    """
    with atomic_write(path) as temporary:
        np.savez(temporary, about=np.array(json.dumps(about)), **arrays)


def read(path: pathlib.Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Returns what `write` was given.

    Raises:
        InputError: The file is something else, or larger than any that this package writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _LARGEST:
            raise ValueError(f"it holds {size:,} bytes")
        with np.load(path, allow_pickle=False) as found:
            arrays = dict(found)
        about = json.loads(str(arrays.pop("about")))
        if not isinstance(about["method"], str):
            raise ValueError("its method is no name")
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"expected a method's .npz file at {path}: {str(error) or type(error).__name__}") from error
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise InputError(f"expected arrays of finite float32 numbers in {path}, found others")
    return about, arrays
