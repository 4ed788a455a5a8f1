"""Writes a volume as NIfTI: affine exact, codes, units and data type of the source kept, file whole or absent (V-12).

A result of a NIfTI source has its header: sform and qform are each multiplied by the same matrix of indices, so both
stay exact where they differ (scanner and template), and the quaternion keeps its bits. Extensions and the timing of
slices (`slice_code`, `slice_duration`) describe the acquired slices and are dropped. The same volume gives the same
bytes: the time in the gzip header is 0 (RFC 1952, 2.3.1).
"""

import contextlib
import gzip
import os
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np

from tfmisr.edge import files
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import nifti_reading
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.source import Source
from tfmisr.edge.volumes.volume import Volume

_PARALLEL = 1e-6  # difference of unit vectors that is rounding
_SNAP = 1e-9  # of a voxel
_LEVEL = 1  # of gzip, as nibabel: others take several times as long for a few percent
_MAX_NIFTI_1 = 32767  # voxels along an axis


def write(path: str | os.PathLike, volume: Volume, source: Source) -> int:
    """Writes a volume.

    Args:
        path: `.nii` or `.nii.gz`.
        volume: Values in the unit of the source, on a grid with the axes of the source.
        source: What it was made from. The header of NIfTI is kept; integers of DICOM become int16 where they fit
            (HU of CT), other values as float32.

    Returns:
        How many values were clipped to the limits of the data type.

    Raises:
        InputError: The name has another ending, or values are not finite, or the grid has other axes.
    """
    path = pathlib.Path(path)
    if not nifti_reading.is_nifti(path):
        raise InputError(f"expected an output .nii or .nii.gz. Received: {path.name}")
    if source.kind == "nifti":
        header, axes = _updated(source, volume.grid), source.axes
    else:
        header, axes = _of_dicom(source, volume.grid), (2, 1, 0)
    with files.atomic_write(path) as temporary, _opened(temporary, path) as file:
        return _write(file, header, volume.values.transpose(np.argsort(axes)))


@contextlib.contextmanager
def _opened(temporary: pathlib.Path, path: pathlib.Path) -> Iterator[BinaryIO]:
    with open(temporary, "wb") as raw:
        if path.suffix.lower() != ".gz":
            yield raw
            return
        with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed:
            yield cast(BinaryIO, packed)


def _write(file: BinaryIO, header: Any, values: np.ndarray) -> int:
    """Writes header and values (i, j, k), the first axis fastest; returns how many values were clipped."""
    slope, intercept = nifti_reading.slope_of(header)
    dtype, clipped = header.get_data_dtype(), 0
    file.write(header.binaryblock)
    file.write(bytes(int(header["vox_offset"]) - header.sizeof_hdr))  # no extensions
    for k in range(values.shape[2]):
        raw = (values[:, :, k].T.astype(np.float64) - intercept) / slope
        if not np.isfinite(raw).all():
            raise InputError("expected finite values to write")
        if dtype.kind in "iu":
            raw, count = _rounded(raw, dtype)
            clipped += count
        file.write(np.ascontiguousarray(raw, dtype).tobytes())
    return clipped


def _rounded(raw: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Returns integers within the limits of the type, and how many were beyond."""
    limits = np.iinfo(dtype)
    raw = np.rint(raw)
    low, high = raw <= limits.min, raw >= limits.max
    inside = np.where(low | high, 0, raw).astype(dtype)  # the largest int64 is no float64
    inside[low], inside[high] = limits.min, limits.max
    return inside, int((raw < limits.min).sum() + (raw > limits.max).sum())


def _updated(source: Source, grid: VolumeGrid) -> Any:
    """Returns the header of the source for another grid with the same axes."""
    header = source.nifti.copy()
    scale, shift = _index_map(source.volume.grid, grid)
    to_old = np.eye(4)
    shape = [0, 0, 0]
    for ours, axis in enumerate(source.axes):
        to_old[axis, axis], to_old[axis, 3], shape[axis] = scale[ours], shift[ours], grid.shape[ours]
    sform, qform = header.get_sform() @ to_old, header.get_qform() @ to_old
    header.set_data_shape(shape)
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        header[name] = sform[row]
    for row, name in enumerate(("qoffset_x", "qoffset_y", "qoffset_z")):
        header[name] = qform[row, 3]
    header["pixdim"][1:4] = header["pixdim"][1:4] * np.diag(to_old)[:3]
    for name in ("slice_start", "slice_end", "slice_code", "slice_duration"):
        header[name] = 0
    header["vox_offset"] = header.single_vox_offset
    return header


def _index_map(old: VolumeGrid, new: VolumeGrid) -> tuple[np.ndarray, np.ndarray]:
    """Returns (scale, shift): an index of the new grid, times scale, plus shift, is the index of the old one."""
    if np.abs(np.subtract(old.directions, new.directions)).max() > _PARALLEL:
        raise InputError("expected a result with the axes of its NIfTI source")
    scale = np.divide(new.spacing, old.spacing)
    shift = np.linalg.solve(old.affine[:3, :3], np.subtract(new.origin, old.origin))
    scale[np.abs(scale - 1) < _SNAP] = 1
    shift[np.abs(shift) < _SNAP] = 0
    return scale, shift


def _of_dicom(source: Source, grid: VolumeGrid) -> Any:
    package = nifti_reading.nibabel()
    kind = package.Nifti1Header if max(grid.shape) <= _MAX_NIFTI_1 else package.Nifti2Header
    header = kind()
    header.set_data_shape(grid.shape[::-1])
    header.set_data_dtype(_dtype(source))
    affine = nifti_reading.TO_LPS @ grid.affine[:, [2, 1, 0, 3]]
    header.set_qform(affine, 1)
    header.set_sform(affine, 1)
    header.set_xyzt_units("mm")
    header["vox_offset"] = header.single_vox_offset
    return header


def _dtype(source: Source) -> type:
    scale = source.scale
    is_integer = scale.slope == 1 and float(scale.intercept).is_integer()
    low = scale.shift + scale.intercept
    return np.int16 if is_integer and low >= -32768 and low + scale.max_val <= 32767 else np.float32
