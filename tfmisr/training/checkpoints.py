"""Checkpoints: the complete state of a run in one `.npz` file, written atomically and validated when restored.

Keras's `BackupAndRestore` restores one optimizer, and the epoch but not the step; a GAN has two optimizers, and a run
may be interrupted at any step.
"""

import io
import pathlib
import re
import zipfile
from collections.abc import Callable

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
    """Writes the variables of a run after `step` steps, and deletes all but the last `keep` files.

    Args:
        folder: Directory of the checkpoints.
        step: Steps that were done.
        groups: Group name to list of Keras variables, in the same order for the same configuration.
        keep: Number of files to keep: what interrupted the run may have damaged the last one.

    Raises:
        FloatingPointError: A variable is not finite; nothing is written or deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: np.asarray(variable.numpy()) for key, variable in _state(groups).items()}
    if broken := [key for key, array in arrays.items() if not np.isfinite(array).all()]:
        raise FloatingPointError(f"{broken[0]} is not finite after step {step}")
    # In memory first: a zip file truncated by a full disk raises once more when it is garbage-collected.
    content = io.BytesIO()
    np.savez(content, **arrays)
    with atomic_write(folder / f"step-{step:08d}.npz") as temporary:
        temporary.write_bytes(content.getbuffer())
    for old in _steps(folder)[:-keep]:
        (folder / f"step-{old:08d}.npz").unlink(missing_ok=True)


def restore(
    folder: pathlib.Path,
    groups: dict[str, list],
    confirm: Callable[[int], None] = lambda step: None,
    *,
    complete: bool = True,
) -> int:
    """Restores the variables from the last valid checkpoint; prints a warning for each damaged one.

    Args:
        folder: Directory of the checkpoints.
        groups: As in `save`.
        confirm: Function of the step, 0 without a checkpoint, called before any variable is assigned.
        complete: Whether `groups` are all that a checkpoint holds, as for resuming; otherwise it may hold others.

    Returns:
        The steps that were done; 0 without a checkpoint.

    Raises:
        InputError: There are checkpoints, and every one is damaged.
    """
    steps = _steps(folder)
    for step in reversed(steps):
        path = folder / f"step-{step:08d}.npz"
        try:
            arrays = _read(path, _state(groups), complete)
        # A flipped bit may also select an unknown compression method or a password.
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            print(f"warning: {path} is damaged ({error}); going back to the one before")
            continue
        confirm(step)
        for key, variable in _state(groups).items():
            variable.assign(arrays[key])
        return step
    if steps:
        raise InputError(f"every checkpoint in {folder} is damaged; delete the folder to start from scratch")
    confirm(0)
    return 0


def _read(path: pathlib.Path, state: dict, complete: bool) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise ValueError(f"checksum of {damaged} does not match")
    with np.load(path, allow_pickle=False) as file:
        missing, others = state.keys() - set(file.files), set(file.files) - state.keys()
        if missing or (complete and others):
            raise ValueError("it holds other variables than this run has")
        arrays = {key: file[key] for key in state}
    for key, variable in state.items():
        if arrays[key].shape != tuple(variable.shape):
            raise ValueError(f"{key} has shape {arrays[key].shape}, expected {tuple(variable.shape)}")
    return arrays
