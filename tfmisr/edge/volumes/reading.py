"""Reads a volume: a DICOM series, an Enhanced CT or MR image, or a NIfTI file (V-01 to V-03).

What cannot be a volume is refused with the reason in one line, before pixels are decoded. Files are opened with
bounded memory (`dicom_file`, `nifti`), and references in them are never followed.
"""

from collections.abc import Callable

import numpy as np

from tfmisr.edge import dicom_file
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.edge.volumes import decoding, dicom_files, dicom_series, nifti, selection, slices, stacking, tilt
from tfmisr.edge.volumes.dicom_files import Paths
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.selection import Select
from tfmisr.edge.volumes.source import Source as Source
from tfmisr.edge.volumes.stacking import Stack
from tfmisr.edge.volumes.volume import Volume


def read(
    paths: Paths,
    series: str | None = None,
    select: Select | int = None,
    resample_tilt: bool = False,
    slice_axis: int | None = None,
    shown: Callable = iter,
) -> Source:
    """Reads a volume.

    Args:
        paths: A folder, a file, a glob pattern, or a list of these; NIfTI is one file, `.nii` or `.nii.gz`.
        series: Series Instance UID or Series Number, where there are several series.
        select: Which of several slices at one place: "EchoTime=4.6", or a mapping; for a NIfTI file of four dimensions,
            the index of the volume, from 0.
        resample_tilt: Resample a series with gantry tilt, within its planes, to an orthogonal grid.
        slice_axis: Axis of the slices in a NIfTI file, 0 to 2; by default that of the largest spacing, and the last of
            equal ones.
        shown: Wraps the iteration over files, such as a progress bar.

    Returns:
        The volume with its headers.

    Raises:
        InputError: The input is not one volume; the message says why and what to do.
        dicom_files.SeveralSeries: An `InputError` with the series that were found.
    """
    found = dicom_files.expand(paths)
    if nifti.is_nifti(found[0]):
        if len(found) > 1:
            raise InputError(f"expected one NIfTI file. Received: {len(found)} paths")
        for name, given in (("--series", series), ("--resample_tilt", resample_tilt)):
            if given:
                raise InputError(f"{name} is for DICOM. Received: {found[0]}")
        return nifti.read(found[0], select, slice_axis)
    if slice_axis is not None:
        raise InputError("--slice_axis is for NIfTI: slices of DICOM have their own place")
    with dicom_file.suppress_pydicom_messages():
        return _read_dicom(found, series, None if select is None else _text(select), resample_tilt, shown)


def _text(select: Select | int) -> Select:
    return str(select) if isinstance(select, int) else select


def _read_dicom(paths: Paths, series: str | None, select: Select, resample_tilt: bool, shown: Callable) -> Source:
    entries, remarks = dicom_files.list_series(paths, shown)
    entry, more = dicom_files.choose(entries, series)
    remarks += more
    if entry.localizers:
        remarks.append(f"skipped {counted(entry.localizers, 'localizer')} of the series")
    chosen = selection.apply(entry.slices, select)
    for one in chosen:
        with dicom_files.naming(one.path):
            dicom_series.check_image(one)
    dicom_series.check_series(chosen)
    stack = stacking.stack(chosen)
    if stack.is_tilted and not resample_tilt:
        raise InputError(
            f"expected slices behind each other along their normal. Received: a sheared grid, gantry tilt "
            f"{stack.tilt:.3g} degrees; resample it within the planes with --resample_tilt"
        )
    return _source(stack, remarks, shown)


def _source(stack: Stack, remarks: list[str], shown: Callable) -> Source:
    decoded = decoding.decode(stack.slices, stack.grid.shape, shown)
    if stack.is_tilted:
        remarks.append(f"resampled the planes: gantry tilt {stack.tilt:.3g} degrees")
        decoded, grid = _without_tilt(stack, decoded)
    else:
        grid = stack.grid
    first = stack.slices[0]
    thickness = dicom_series.thickness_of(stack.slices)
    stated = slices.number(first.header.get("SpacingBetweenSlices"))
    modality = str(first.header.get("Modality") or "")
    return Source(
        volume=Volume(decoded.values, grid, thickness, modality),
        kind="dicom" if first.frame is None else "enhanced",
        name=f"{modality}, {counted(grid.shape[0], 'slice')} of {grid.shape[1]} x {grid.shape[2]}",
        paths=tuple(one.path for one in stack.slices),
        scale=decoding.intensity_scale(stack.slices, decoded.limits),
        spacing_report=dicom_series.spacing_report(grid.spacing[0], thickness, stated),
        headers=[one.header for one in stack.slices],
        frame_numbers=tuple(one.frame + 1 for one in stack.slices if one.frame is not None),
        padding=decoded.padding,
        remarks=tuple(remarks),
    )


def _without_tilt(stack: Stack, decoded: decoding.Decoded) -> tuple[decoding.Decoded, VolumeGrid]:
    shear = tilt.orthogonal(stack.grid)
    if np.prod(shear.grid.shape, dtype=float) > dicom_series.MAX_VOXELS:
        raise InputError(f"the grid without tilt would have more than {dicom_series.MAX_VOXELS} voxels")
    values, outside = tilt.resample(decoded.values, shear, decoded.limits[0])
    return decoding.Decoded(values, outside, decoded.limits), shear.grid
