"""Methods that make thick slices thin, by name: interpolations, self-supervised training, plane networks of a file."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import SliceProfile, Volume, VolumeGrid, planes, resampling
from tfmisr.edge.volumes.consistency import SliceConsistency

INTERPOLATIONS = resampling.METHODS
TRAINED = ("self", "smore")
Restore = Callable[[Volume, SliceProfile, VolumeGrid], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Method:
    """A method that an evaluation calls.

    Attributes:
        name: Its name in tables.
        restore: From the thick slices, their profile and the target grid to float32 values on that grid.
        description: What the numbers depend on besides the name, such as the steps of training.
    """

    name: str
    restore: Restore
    description: str = ""


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long a self-supervised method trains on each volume.

    Attributes:
        steps: Number of training steps; `None`: until the time is over.
        minutes: Wall time; `None`: until the steps are done.
        seed: Of weights and patches.
    """

    steps: int | None = None
    minutes: float | None = None
    seed: int = 0

    def __str__(self):
        parts = [f"{self.steps} steps"] * (self.steps is not None) + [f"{self.minutes} min"] * (
            self.minutes is not None
        )
        return f"{' or '.join(parts)}, seed {self.seed}"


def load(name: str, effort: Effort) -> Method:
    """Returns a method.

    Args:
        name: `spline`, `linear` or `lanczos` along the slice axis; `self` or `smore`, trained on each volume; or a
            `.tflite` file of a plane network.
        effort: Of the trained ones.

    Raises:
        InputError: There is no such method or file.
    """
    if name in INTERPOLATIONS:
        return Method(name, _interpolation(name))
    if name in TRAINED:
        return Method(name, _trained(name, effort), str(effort))
    path = pathlib.Path(name).expanduser()
    if path.suffix != ".tflite" or not path.is_file():
        known = ", ".join((*INTERPOLATIONS, *TRAINED))
        raise InputError(f"with --volumes a method is one of {known}, or a .tflite plane network. Received: {name}")
    return Method(path.stem, _file(path))


def _interpolation(name) -> Restore:
    return lambda thick, profile, grid: resampling.resample(thick, grid, name).values


def _file(path) -> Restore:
    from tfmisr.edge.volumes.plane_model import PlaneModel

    model = PlaneModel(path)

    def restore(thick, profile, grid):
        scale = planes.UnitScale.of(thick.values)
        model.require(thick, grid, profile, scale)
        return consistent(planes.upsample(thick, grid, model, scale=scale), thick, profile, grid)

    return restore


def _trained(name, effort) -> Restore:
    def restore(thick, profile, grid):
        if name == "smore":
            from tfmisr.volumes import smore

            return smore.restore(thick, profile, grid, effort)
        from tfmisr.volumes import self_training

        return self_training.restore(thick, profile, grid, effort)

    return restore


def consistent(result: Volume, thick: Volume, profile: SliceProfile, grid: VolumeGrid) -> np.ndarray:
    """Returns the values after the projection onto the volumes that average to the thick slices (V-07)."""
    values = result.values
    SliceConsistency(profile, thick.grid, grid).correct(values, thick.values)
    return values
