"""What a training on one volume leaves for `python -m tfmisr.export`: network, ranges, and planes of the volume (V-09).

`model.keras`, `through_plane.json` and `planes.npz` in the folder of the training. The planes are pixels of the volume,
as the checkpoints of a folder belong to whoever trained in it; no file that is exported from it holds a pixel.
"""

import dataclasses
import json
import os
import pathlib
import typing

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, write_text
from tfmisr.edge.volumes import slice_scope
from tfmisr.edge.volumes.planes import UnitScale
from tfmisr.volumes.patches import OwnSlices

if typing.TYPE_CHECKING:
    import keras

NAME, PLANES = "through_plane.json", "planes.npz"
_PATCHES, _SIDE = 48, 96  # for the calibration of 8-bit ranges
_HELD_OUT = 6  # planes of slices that were not trained on, for the comparison


@dataclasses.dataclass(frozen=True)
class PlaneRun:
    """The record of a training on one volume.

    Attributes:
        profile: Kind of the slice profile.
        ratio: Spacing of the slices over the new one.
        fwhm: Full width at half maximum of the profile over the spacing of the slices.
        spacing: Least and largest pixel spacing in mm.
        stride: Of the network: height and width of its planes are multiples of it.
        overlap: Pixels that an output pixel depends on, on each side.
        training: Further facts for the card, such as the steps.
        slices: Of `tfmisr.edge.volumes.slice_scope.describe`; `None` for too few or small slices.
        intensities: `volume` where 0 and 1 of the network are the values of `UnitScale.of` the volume, `source` where
            they are those of `Source.scale` (a training that started from other weights).
    """

    profile: str
    ratio: float
    fwhm: float
    spacing: tuple[float, float]
    stride: int
    overlap: int
    training: dict
    slices: dict | None
    intensities: str = "volume"


def write(folder: str | os.PathLike, network: "keras.Model", slices: OwnSlices, training: dict) -> None:
    """Writes the files of a finished training.

    Args:
        folder: Of the training; it exists.
        network: The trained network, a chain of layers between its input and the sum with it.
        slices: The volume, with the slices that were held out.
        training: Facts without patient data for the card: steps, seed.
    """
    folder = pathlib.Path(folder)
    with atomic_write(folder / "model.keras") as temporary:
        network.save(temporary)
    rng = np.random.default_rng(0)
    patches, _ = slices.batch(rng, _PATCHES, _SIDE)
    held = {}
    for number, (_, degraded, sharp, _lines) in enumerate(slices.check_pairs()):
        half = slice(0, -(-_HELD_OUT // 2))
        held |= {f"degraded_{number}": degraded[half], f"sharp_{number}": sharp[half]}
    with atomic_write(folder / PLANES) as temporary, open(temporary, "wb") as file:
        np.savez(file, patches=patches, **held)
    own, spacing = slices.volume.grid, slices.volume.grid.spacing[0]
    unit = (np.clip(slices.scale.to_unit(image), 0.0, 1.0) for image in slices.volume.values)
    stride, overlap = _reach(network)
    run = PlaneRun(
        slices.profile.kind,
        spacing / slices.grid.spacing[0],
        slices.profile.fwhm / spacing,
        (float(min(own.spacing[1:])), float(max(own.spacing[1:]))),
        stride,
        overlap,
        training,
        slice_scope.describe(unit),
        "volume" if slices.scale == UnitScale.of(slices.volume.values) else "source",
    )
    write_text(folder / NAME, json.dumps(dataclasses.asdict(run), indent=1) + "\n")


def read(folder: str | os.PathLike) -> PlaneRun:
    """Returns the record in a folder.

    Raises:
        InputError: It has none, or a damaged one.
    """
    path = pathlib.Path(folder) / NAME
    try:
        return PlaneRun(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"expected {path} of a finished training on a volume; run it again with --workdir") from error


def _reach(network: "keras.Model") -> tuple[int, int]:
    """Returns the stride of a chain of convolutions, and how many pixels on each side a pixel depends on."""
    import keras

    stride, reach = 1, 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            reach += stride * (max(layer.kernel_size) // 2)
            stride *= layer.strides[0]
    return stride, -(-reach // stride) * stride
