"""Methods that make thick slices thin, by name: interpolations, self-supervised training, plane networks of a file."""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import SliceProfile, Volume, VolumeGrid, planes, resampling
from tfmisr.edge.volumes.consistency import SliceConsistency
from tfmisr.volumes import restoring

INTERPOLATIONS = resampling.METHODS
TRAINED = ("self", "smore")
Restore = Callable[[Volume, SliceProfile, VolumeGrid, planes.Scale], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Method:
    """A method that an evaluation calls.

    Attributes:
        name: Its name in tables.
        restore: From the thick slices, their profile, the target grid and the values that a network trained on other
            volumes sees as 0 and 1, to float32 values on that grid.
        description: What the numbers depend on besides the name: steps of training, or weights of a file.
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
    return _file(path)


def _interpolation(name) -> Restore:
    return lambda thick, profile, grid, scale: resampling.resample(thick, grid, name).values


def _file(path) -> Method:
    from tfmisr.edge.volumes.plane_model import PlaneModel

    model = PlaneModel(path, restoring.cores())

    def restore(thick, profile, grid, scale):
        scale = model.scale(thick, scale)
        if found := model.mismatches(thick, grid, profile, scale):
            raise InputError(f"{path.stem} is for other volumes: {'; '.join(found)}; leave it out of this evaluation")
        memory = max(4.0, 16 * math.prod(grid.shape) / 2**30)
        values = planes.upsample(thick, grid, model, scale=scale, memory=memory).values
        projection = SliceConsistency(profile, thick.grid, grid)
        projection.correct(values, thick.values, lowest=float(thick.values.min()))
        return values

    return Method(path.stem, restore, f"weights {model.card['weights_sha256'][:12]}")


def _trained(name, effort) -> Restore:
    def restore(thick, profile, grid, scale):
        if name == "smore":
            from tfmisr.volumes import smore

            return smore.restore(thick, profile, grid, effort)
        from tfmisr.volumes import self_training

        return self_training.restore(thick, profile, grid, effort)

    return restore
