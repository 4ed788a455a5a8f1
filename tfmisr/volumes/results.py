"""Writes what `python -m tfmisr.volume` made: derived series or NIfTI, montage, page and half-widths."""

import dataclasses
import pathlib
import re
import typing

import tfmisr
from tfmisr import cli
from tfmisr.edge.text import counted
from tfmisr.edge.volumes import nifti_reading, planes, resampling
from tfmisr.edge.volumes.volume import Volume
from tfmisr.volumes.restoring import Restored

if typing.TYPE_CHECKING:
    from tfmisr.edge.volumes.half_width import OwnCalibration
    from tfmisr.volumes.command import Task

_UNUSABLE = re.compile(r"[^A-Za-z0-9 ._+():/-]")  # in the name of a model in DICOM (`Product`)


@dataclasses.dataclass
class Files:
    """What was written.

    Attributes:
        statements: Sentences on further files.
        remarks: Sentences on what may be wrong.
    """

    statements: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)


def check(task: "Task") -> None:
    """Checks, before a training, that the source may be processed and that what was asked for can be written.

    Raises:
        InputError: The series must not be processed (D-07 and others).
        ModuleNotFoundError: A package is missing; the message names the extra.
    """
    if task.request.montage:
        with cli.naming_extras("--montage"):
            from tfmisr.evaluation import volume_montage  # noqa: F401
    if is_nifti(task.request.output):
        nifti_reading.nibabel()
        return
    from tfmisr.edge.derived.series import SeriesProduct, sources

    product = SeriesProduct("tfmisr", tfmisr.__version__, "planes", "", force=task.request.force)
    sources.load(task.source, product)


def is_nifti(path: str) -> bool:
    """Returns whether a name is that of a NIfTI file."""
    return path.lower().endswith((".nii", ".nii.gz"))


def write(task: "Task", restored: Restored) -> Files:
    """Writes the result and what was asked for beside it.

    The half-widths are computed before anything is written, and the result is written before the pictures.

    Raises:
        InputError: The result cannot be written in the form that was asked for.
    """
    files, request = Files(), task.request
    half_widths, calibration = _half_widths(task, restored, files) if request.uncertainty else (None, None)
    guarantee = calibration.statement if calibration else ""
    if is_nifti(request.output):
        _write_nifti(request.output, task, restored, files)
    else:
        _write_series(task, restored, _summary(calibration), files)
    if calibration:
        from tfmisr.edge.volumes import half_width_writing

        path = pathlib.Path(request.uncertainty).expanduser()
        half_width_writing.write(path, half_widths, task.source, calibration)
        files.statements.append(guarantee)
    if request.montage or request.page:
        _draw(task, restored)
    return files


def _summary(calibration: "OwnCalibration | None") -> str:
    """Returns what half-widths are worth, short enough for Derivation Description; empty without."""
    if calibration is None:
        return ""
    return (
        f"w such that {1 - calibration.alpha:.0%} of the voxels lie within result +- w, calibrated on in-plane images "
        f"of this volume (measured on others: {calibration.coverage:.1%}); no guarantee for the slice axis"
    )


def _write_nifti(path: str, task: "Task", restored: Restored, files: Files) -> None:
    from tfmisr.edge.volumes import nifti

    clipped = nifti.write(pathlib.Path(path).expanduser(), restored.volume, task.source)
    _remark_clipped(clipped, "range of the data type", restored, files)


def _remark_clipped(count: int, limits: str, restored: Restored, files: Files) -> None:
    """Says how many values were clipped, and that the consistency was measured without."""
    if count:
        less = "; the consistency was measured before that, and does not hold around them" * bool(restored.consistency)
        files.remarks.append(f"{counted(count, 'value')} clipped to the {limits}{less}")


def _write_series(task: "Task", restored: Restored, guarantee: str, files: Files) -> None:
    from tfmisr.edge.derived.series import SeriesProduct, write_series

    request, network = task.request, restored.network
    product = SeriesProduct(
        name="tfmisr",
        version=tfmisr.__version__,
        model=_UNUSABLE.sub("_", network.name if network else restored.method)[:47],
        weights_sha256=network.weights_sha256 if network else "",
        ai=network is not None,
        method=restored.method,
        parameters=_parameters(task, restored),
        consistency=restored.consistency,
        uncertainty=guarantee,
    )
    folder = pathlib.Path(request.output).expanduser()
    report = write_series(task.source, restored.volume, folder, product, task.profile, request.enhanced, request.force)
    files.remarks.extend(report.remarks)
    _remark_clipped(report.clipped, "stored range", restored, files)


def _parameters(task, restored) -> str:
    if restored.network is None:
        return ""
    request = task.request
    turned = f", {request.rotations} rotations" if request.rotations > 1 else ""
    used = f"planes {' and '.join(request.planes)}, fusion {request.fusion}{turned}"
    return ", ".join(filter(None, [restored.network.parameters, used]))


def _half_widths(task: "Task", restored: Restored, files: Files) -> "tuple[Volume | None, OwnCalibration | None]":
    from tfmisr.edge.volumes import half_width

    network = restored.network
    if network is None:
        files.remarks.append("no half-widths: the result is an interpolation, which has none")
        return None, None
    source = task.source.volume
    calibration = half_width.calibrate(source, task.grid, network.predict, task.profile, network.scale)
    refined = [
        planes.upsample(source, task.grid, network.predict, (plane,), scale=network.scale, memory=task.request.memory)
        for plane in planes.PLANES
    ]
    base = resampling.resample(source, task.grid)
    widths = half_width.half_widths(calibration, refined, base, network.scale.max_val)
    return widths, calibration


def _draw(task: "Task", restored: Restored) -> None:
    request, source = task.request, task.source
    drawn = {"spline": resampling.resample(source.volume, task.grid).values, restored.method: restored.volume.values}
    unit = "HU" if source.volume.modality == "CT" else ""
    title = f"{source.name}, {source.volume.grid.spacing[0]:.3g} to {task.grid.spacing[0]:.3g} mm"
    if request.montage:
        with cli.naming_extras("--montage"):
            from tfmisr.evaluation import volume_montage

            path = pathlib.Path(request.montage).expanduser()
            volume_montage.save(path, source.volume, drawn, task.grid, title=title, unit=unit)
    if request.page:
        from tfmisr.edge.volumes import page

        page.save(pathlib.Path(request.page).expanduser(), drawn, task.grid, title, unit, restored.statements[-1])
