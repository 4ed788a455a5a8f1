"""One thick series to a derived series of thin slices, without TensorFlow, as the gateway calls it.

Reading, interpolation or a network of planes, consistency with the acquired slices, and writing, each with the defaults
of `python -m tfmisr.volume`, so that both give the same images. What cannot be done without doubt is refused before a
file is written.
"""

import dataclasses
import os
import pathlib
import re
import typing
from collections.abc import Sequence

import numpy as np

from tfmisr.edge import card, plane_card
from tfmisr.edge.derived.series import SeriesProduct, write_series
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.volumes import planes, reading, resampling
from tfmisr.edge.volumes.consistency import SliceConsistency
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.profile_estimation import estimate_fwhm
from tfmisr.edge.volumes.slice_profile import SliceProfile, known_profile
from tfmisr.edge.volumes.source import Source
from tfmisr.edge.volumes.volume import Volume

NETWORK_SUFFIX = ".tflite"
_LEAST_RATIO = 1.01  # of the spacings: below it there is nothing to upscale
_DESCRIPTIONS = {"spline": "cubic spline", "linear": "linear interpolation", "lanczos": "Lanczos interpolation"}
_PROGRAM = 0.3e9  # bytes of the process beside the volumes: libraries, a slice and its file


class DerivedSeries(typing.NamedTuple):
    """What was written.

    Attributes:
        paths: Its files, in the order of the slices.
        remarks: Sentences on what was skipped or removed, without patient data.
    """

    paths: list[pathlib.Path]
    remarks: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Job:
    source: Source
    grid: VolumeGrid
    profile: SliceProfile
    method: str
    threads: int
    memory: float  # GiB beside the acquired volume

    @property
    def volume(self) -> Volume:
        return self.source.volume


def upscale_series(
    paths: Sequence[str | os.PathLike],
    folder: str | os.PathLike,
    method: str,
    spacing: float | str = "iso",
    threads: int = 1,
    memory: float = 4.0,
    **product: typing.Any,
) -> DerivedSeries:
    """Makes the derived series of a series.

    Args:
        paths: The files of one series, in any order.
        folder: Where the files go; it does not exist yet.
        method: As of `check_method`.
        spacing: As of `check_spacing`.
        threads: Of a network.
        memory: GB that the process may take.
        **product: Fields of `SeriesProduct` that do not follow from the method, such as `version`.

    Raises:
        InputError: The files are not one volume, the volume is not one that the method is for, or it does not fit the
            memory. Nothing was written.
    """
    check_method(method)
    source = reading.read(list(paths))
    grid = target_grid(source.volume, spacing)
    left = (memory * 1e9 - _PROGRAM - source.volume.values.nbytes) / 2**30
    _check_memory(grid, left, memory)
    job = _Job(source, grid, _profile(source.volume), method, threads, left)
    result, fields, remarks = _refined(job) if method.endswith(NETWORK_SUFFIX) else _interpolated(job)
    made = SeriesProduct(name="tfmisr", **fields, **product)
    report = write_series(source, result, folder, made, job.profile)
    written = [pathlib.Path(folder, name) for name in report.files]
    return DerivedSeries(written, (*source.remarks, *remarks, *report.remarks))


def _check_memory(grid: VolumeGrid, left: float, memory: float) -> None:
    try:
        planes.check_memory(grid, left)
    except InputError as error:
        voxels = " x ".join(map(str, grid.shape))
        raise InputError(f"{voxels} voxels need more memory than the {memory:g} GB of the process") from error


def _profile(volume: Volume) -> SliceProfile:
    """Returns a Gaussian profile as wide as Slice Thickness, else as estimated, else as the slices are apart."""
    if known := known_profile(volume):
        return known[0]
    return SliceProfile("gaussian", estimate_fwhm(volume) or volume.grid.spacing[0])


def _interpolated(job: _Job) -> tuple[Volume, dict, tuple[str, ...]]:
    """Returns the new volume, fields of its product, and remarks."""
    name = _DESCRIPTIONS[job.method]
    fields = {"model": name, "weights_sha256": "", "method": name, "ai": False}
    return resampling.resample(job.volume, job.grid, job.method), fields, ()


def _refined(job: _Job) -> tuple[Volume, dict, tuple[str, ...]]:
    """Refines planes by a network and makes them agree with the acquired slices (V-05 to V-07); see `_interpolated`."""
    from tfmisr.edge.volumes.plane_model import PlaneModel

    model = PlaneModel(job.method, job.threads)
    scale = model.scale(job.volume, job.source.scale)
    given = job.volume, job.grid, job.profile, scale
    model.require(*given)
    result = planes.upsample(job.volume, job.grid, model, scale=scale, memory=job.memory)
    if not np.isfinite(result.values).all():
        raise InputError(f"{model.name} gave values that are not finite")
    acquired = job.volume.values
    consistency = SliceConsistency(job.profile, job.volume.grid, job.grid)
    consistency.correct(result.values, acquired, abs(job.source.scale.slope), float(acquired.min()))
    fields = {
        "model": re.sub(r"[^A-Za-z0-9 ._+():/-]", "_", model.name)[:47],
        "weights_sha256": model.card["weights_sha256"],
        "method": "through-plane network",
        "parameters": "planes sagittal and coronal, fusion mean",
        "consistency": f"slice profile {job.profile}, dead zone 0.25 levels",
    }
    return result, fields, tuple(model.remarks(*given))


def check_method(method: str) -> None:
    """Checks that a method exists, without opening its network.

    Args:
        method: `spline`, `lanczos`, `linear`, or the path of a `.tflite` file of a network of planes.

    Raises:
        InputError: It does not exist, or is a network of another kind.
    """
    if method in resampling.METHODS:
        return
    if method == "self":
        raise InputError("a method that trains needs python -m tfmisr.volume; export its network and name that file")
    if not method.endswith(NETWORK_SUFFIX) or not os.path.isfile(method):
        names = ", ".join(resampling.METHODS)
        raise InputError(
            f"expected {names} or the .tflite file of a through-plane network. Received: "
            f"{method}{hint(method, resampling.METHODS)}"
        )
    card.read(method, plane_card.KIND)


def check_spacing(spacing: float | str) -> None:
    """Checks a spacing: `iso`, or mm above 0.

    Raises:
        InputError: It is neither.
    """
    if spacing != "iso" and (isinstance(spacing, str) or not 0 < spacing < float("inf")):
        raise InputError(f"expected iso or a distance in mm above 0 as spacing. Received: {spacing}")


def weights_sha256(method: str) -> str:
    """Opens a method and returns the SHA-256 of its weights; an empty string for an interpolation.

    Raises:
        InputError: As of `check_method`, or the network cannot be opened.
    """
    check_method(method)
    if not method.endswith(NETWORK_SUFFIX):
        return ""
    from tfmisr.edge.volumes.plane_model import PlaneModel

    return PlaneModel(method).card["weights_sha256"]


def target_grid(volume: Volume, spacing: float | str) -> VolumeGrid:
    """Returns the grid of the new slices.

    Args:
        volume: The acquired slices.
        spacing: `iso`, the smaller of the distances of rows and columns, or mm.

    Raises:
        InputError: The slices are not farther apart already.
    """
    check_spacing(spacing)
    goal = float(min(volume.grid.spacing[1:]) if spacing == "iso" else spacing)
    if volume.grid.spacing[0] < _LEAST_RATIO * goal:
        raise InputError(f"the slices are {volume.grid.spacing[0]:.4g} mm apart, not more than {goal:.4g} mm already")
    return volume.grid.with_slice_spacing(goal)
