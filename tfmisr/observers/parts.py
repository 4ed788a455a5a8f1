"""Finished images of an interrupted measurement, kept on disk until the report is written.

A part is an array named by a hash of all that it depends on: the same command resumes, another one finds nothing that
is not its own, and tasks share what they have in common, the images without a signal.
"""

import hashlib
import json
import pathlib
import shutil
import typing
from collections.abc import Callable, Iterable

import numpy as np

import tfmisr
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

if typing.TYPE_CHECKING:
    from tfmisr.degradations import Degradation
    from tfmisr.edge.upscaler import Upscaler

FOLDER = "unfinished"


class Parts:
    """Arrays in a folder; a context manager that removes them at the end and keeps them if it was interrupted.

    Args:
        output: The command's output folder. Nothing is created in it before the first array is stored, and nothing is
            left in it after an `InputError`.
    """

    def __init__(self, output: pathlib.Path):
        self._output, self._folder = output, output / FOLDER
        self._is_new = not output.exists()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None and not issubclass(kind, InputError):
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        if kind is not None and self._is_new and self._output.is_dir() and not any(self._output.iterdir()):
            self._output.rmdir()

    def get(self, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Returns the array with this key, computed and stored where there is none.

        Args:
            key: What `key` returns.
            compute: Returns the array.
        """
        path = self._folder / f"{key}.npy"
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # there is none, or the disk has damaged it
            array = compute()
        self._folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.save(file, array, allow_pickle=False)
        return array


def key(arrays: Iterable[np.ndarray], fields: object) -> str:
    """Returns a hash of arrays and plain values, and of the version of tfmisr, in hexadecimal digits.

    Args:
        arrays: Numeric arrays; shape and type count.
        fields: Value that JSON can hold.
    """
    digest = hashlib.sha256(json.dumps([tfmisr.__version__, fields], sort_keys=True).encode())
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.shape} {array.dtype.str}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def fields(
    upscalers: list["Upscaler"], scale: int, degradation: "Degradation", max_val: int, seed: list[int]
) -> list[object]:
    """Returns what the upscaled images depend on besides the high-resolution image, for `key`.

    Args:
        upscalers: The arms beside HR and LR.
        scale: Upsampling factor.
        degradation: Degradation model that makes LR.
        max_val: Full-scale value.
        seed: Seed of the degradation's noise.
    """
    arms = [[u.name, u.weights_sha256, u.consistency] for u in upscalers]
    return [arms, scale, degradation.describe(), max_val, None if degradation.fixed else seed]
