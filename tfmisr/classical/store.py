"""Reads and writes fitted classical methods as `.npz` files: arrays and JSON metadata, no pickled objects."""

import json
import pathlib
import zipfile

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

_MAX_BYTES = 2**28  # uncompressed


def write(path: pathlib.Path, metadata: dict, arrays: dict[str, np.ndarray]) -> None:
    """Writes the file atomically.

    Args:
        path: File with the suffix `.npz`.
        metadata: Values for JSON; `method` is the name of the method.
        arrays: float32 arrays by name.
    """
    with atomic_write(path) as temporary:
        np.savez(temporary, about=np.array(json.dumps(metadata)), **arrays)


def read(path: pathlib.Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Returns the metadata and arrays of a file written by `write`.

    Raises:
        InputError: The file is something else, larger than any that this package writes, or holds other numbers than
            finite float32.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_BYTES:
            raise ValueError(f"it holds {size:,} bytes")
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        metadata = json.loads(str(arrays.pop("about")))
        if not isinstance(metadata["method"], str):
            raise ValueError("its method is not a name")
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"expected a method's .npz file at {path}: {str(error) or type(error).__name__}") from error
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise InputError(f"expected arrays of finite float32 numbers in {path}, found others")
    return metadata, arrays
