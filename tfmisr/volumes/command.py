"""The work of `python -m tfmisr.volume`: reads a volume, makes its slices thinner, writes it and says what it did."""

import dataclasses
import pathlib

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.edge.volumes import planes, reading, resampling, slice_profile
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.profile_estimation import estimate_fwhm
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.edge.volumes.source import Source
from tfmisr.edge.volumes.volume import Volume
from tfmisr.progress import bar

_UNCERTAINTY_COPIES = 4  # both planes, the interpolation and the half-widths
_LEAST_RATIO = 1.01  # of the distances: below it nothing is gained


@dataclasses.dataclass(frozen=True)
class Request:
    """What the flags of the command say; see `python -m tfmisr.volume --help`.

    `method` is `self`, `model` or an interpolation; one of `steps` and `minutes` is a number where it is `self`.
    """

    inputs: list[str]
    output: str
    method: str = "self"
    series: str | None = None
    select: str | None = None
    resample_tilt: bool = False
    slice_profile: str | None = None
    spacing: str = "iso"
    model: str | None = None
    weights: str | None = None
    minutes: float | None = None
    steps: int | None = None
    seed: int = 0
    workdir: str | None = None
    planes: tuple[str, ...] = planes.PLANES
    fusion: str = "mean"
    rotations: int = 1
    consistency: bool = True
    force: bool = False
    enhanced: bool = False
    montage: str | None = None
    page: str | None = None
    uncertainty: str | None = None
    memory: float = 8.0
    threads: int | None = None


@dataclasses.dataclass(frozen=True)
class Thinned:
    """What the command wrote.

    Attributes:
        output: The folder or file.
        shape: Slices, rows, columns.
        spacing: mm between the new slices.
        statements: What was done and measured, one sentence each; the last says what the self-check found.
        remarks: What may be wrong.
    """

    output: pathlib.Path
    shape: tuple[int, int, int]
    spacing: float
    statements: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.statements)


@dataclasses.dataclass(frozen=True)
class Task:
    """A volume that was read, and what it is to become.

    Attributes:
        request: The flags.
        source: The volume and its files.
        grid: Grid of the new slices.
        profile: Profile of the acquired slices.
        reason: Where its width comes from.
    """

    request: Request
    source: Source
    grid: VolumeGrid
    profile: SliceProfile
    reason: str

    @property
    def ratio(self) -> float:
        """Distance between the acquired slices over that between the new ones."""
        return self.source.volume.grid.spacing[0] / self.grid.spacing[0]


def thin(request: Request) -> Thinned:
    """Reads, restores and writes a volume.

    Raises:
        InputError: The input is not one volume, or does not fit the flags; nothing is written then.
    """
    from tfmisr.volumes import restoring, results

    task = _task(request)
    results.check(task)
    restored = restoring.restore(task)
    files = results.write(task, restored)
    own = task.source.volume.grid
    done = (
        f"{task.source.name}: {counted(own.shape[0], 'slice')} at {own.spacing[0]:.4g} mm to {task.grid.shape[0]} at "
        f"{task.grid.spacing[0]:.4g} mm, written to {request.output}"
    )
    statements = [task.source.spacing_report, f"slice profile {task.profile}: {task.reason}", done]
    statements += [*files.statements, *restored.statements]
    remarks = (*task.source.remarks, *files.remarks)
    output = pathlib.Path(request.output).expanduser()
    return Thinned(output, task.grid.shape, task.grid.spacing[0], tuple(statements), remarks)


def _task(request) -> Task:
    def shown(items):
        return bar(items, desc="reading", leave=False)

    source = reading.read(request.inputs, request.series, request.select, request.resample_tilt, shown=shown)
    if source.kind == "nifti" and not request.output.lower().endswith((".nii", ".nii.gz")):
        raise InputError(f"expected --output to end in .nii or .nii.gz for NIfTI. Received: {request.output}")
    grid = _target(source.volume.grid, request)
    profile, reason = _profile(source.volume, request.slice_profile)
    more = _UNCERTAINTY_COPIES if request.uncertainty else 1 if request.montage or request.page else 0
    if request.method in resampling.METHODS:
        planes.check_memory(grid, request.memory, more=more)
    else:
        planes.check_memory(grid, request.memory, request.fusion, request.rotations, more)
    return Task(request, source, grid, profile, reason)


def _target(own: VolumeGrid, request) -> VolumeGrid:
    spacing = min(own.spacing[1:]) if request.spacing == "iso" else float(request.spacing)
    if own.spacing[0] < spacing * _LEAST_RATIO:
        raise InputError(
            f"expected a --spacing below the distance between slices, {own.spacing[0]:.4g} mm. Received: {spacing:.4g} "
            "mm" + (" (iso: the pixel spacing); the slices are thin already" if request.spacing == "iso" else "")
        )
    if request.rotations > 1 and abs(own.spacing[1] / own.spacing[2] - 1) > 0.01:
        raise InputError("--rotations needs square pixels; leave it out")
    return own.with_slice_spacing(spacing)


def _profile(volume: Volume, text: str | None) -> tuple[SliceProfile, str]:
    if text and text != "estimate":
        return SliceProfile.parse(text), "as given"
    known = None if text else slice_profile.known_profile(volume)
    if known:
        return known
    fwhm = estimate_fwhm(volume)
    if fwhm is not None:
        return SliceProfile("gaussian", fwhm), "estimated from the spectra along and across the slices"
    spacing = volume.grid.spacing[0]
    reason = "the distance between the slices: their thickness is unknown, and the spectra do not determine it"
    return SliceProfile("gaussian", spacing), reason
