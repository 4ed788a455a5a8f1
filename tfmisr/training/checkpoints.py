"""The whole state of a run in one file, written whole or not at all, and found again after a crash.

Keras's own backup restores one optimizer, and the epoch but not the step; a GAN has two, and a run may stop
anywhere.
"""

import io
import pathlib
import re
import zipfile

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

_PATTERN = re.compile(r"step-(\d{8,})\.npz")


def _state(groups: dict[str, list]) -> dict:
    return {
        f"{group}/{position:05d}": variable
        for group, variables in groups.items()
        for position, variable in enumerate(variables)
    }


def _steps(folder: pathlib.Path) -> list[int]:
    matches = (_PATTERN.fullmatch(path.name) for path in folder.glob("step-*.npz"))
    return sorted(int(match[1]) for match in matches if match)


def save(folder: pathlib.Path, step: int, groups: dict[str, list], keep: int = 2) -> None:
    """Writes the variables of a run after `step` steps, and drops all but the last `keep` files.

    Args:
        folder: Where the checkpoints are kept.
        step: Steps that were done.
        groups: Name to list of Keras variables, in an order that the same configuration always gives.
        keep: Number of files to keep: the last may be damaged by what stopped the run.

    Raises:
        FloatingPointError: A variable is not finite; nothing is written or dropped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: np.asarray(variable.numpy()) for key, variable in _state(groups).items()}
    if broken := [key for key, array in arrays.items() if not np.isfinite(array).all()]:
        raise FloatingPointError(f"{broken[0]} is not finite after step {step}")
    # In memory first: a zip file that a full disk cuts off complains once more when it is collected.
    content = io.BytesIO()
    np.savez(content, **arrays)
    with atomic_write(folder / f"step-{step:08d}.npz") as temporary:
        temporary.write_bytes(content.getbuffer())
    for old in _steps(folder)[:-keep]:
        (folder / f"step-{old:08d}.npz").unlink(missing_ok=True)


def restore(folder: pathlib.Path, groups: dict[str, list]) -> int:
    """Puts the last sound checkpoint into the variables; a damaged one is told and passed over.

    Returns:
        The steps that were done: 0 where there is no checkpoint.

    Raises:
        InputError: There are checkpoints, and every one is damaged.
    """
    steps = _steps(folder)
    for step in reversed(steps):
        path = folder / f"step-{step:08d}.npz"
        try:
            arrays = _read(path, _state(groups))
        # A flipped bit may also ask for a compression or a password that there is not.
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            print(f"warning: {path} is damaged ({error}); going back to the one before")
            continue
        for key, variable in _state(groups).items():
            variable.assign(arrays[key])
        return step
    if steps:
        raise InputError(f"every checkpoint in {folder} is damaged; delete the folder to start anew")
    return 0


def _read(path: pathlib.Path, state: dict) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise ValueError(f"checksum of {damaged} does not hold")
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    if set(arrays) != set(state):
        raise ValueError("it holds other variables than this run has")
    for key, variable in state.items():
        if arrays[key].shape != tuple(variable.shape):
            raise ValueError(f"{key} has shape {arrays[key].shape}, expected {tuple(variable.shape)}")
    return arrays
