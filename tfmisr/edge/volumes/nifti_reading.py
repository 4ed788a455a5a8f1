"""Reads NIfTI-1 and NIfTI-2 files (`.nii`, `.nii.gz`) with nibabel, which the extra `[volume]` installs.

The affine of NIfTI is in RAS coordinates (x to the right), that of `VolumeGrid` in LPS as in DICOM. No axis is flipped:
slices, rows and columns run as in the file. `nifti_writing` writes results.
"""

import contextlib
import gzip
import logging
import math
import os
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import decoding, dicom_series
from tfmisr.edge.volumes.grid import VolumeGrid, triple
from tfmisr.edge.volumes.slices import MAX_MM
from tfmisr.edge.volumes.source import Source
from tfmisr.edge.volumes.volume import Volume

SUFFIXES = (".nii", ".nii.gz")
SHEAR = 1e-3  # cosine between axes that is rounding; registration with 12 parameters shears by more
SAME_SPACING = 0.01  # relative: spacings of 1 mm and 0.995 mm are equal
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 1e-3}
_MAX_DEFLATE = 1032  # output bytes per byte of a deflate stream, at most (zlib.net, "Maximum Compression Factor")
_MAX_OFFSET = 2**26  # bytes of header extensions
_LABELS = {1002: "labels", 1003: "labels", 1007: "vectors", 1008: "points", 1009: "triangles"}


def is_nifti(path: str | os.PathLike) -> bool:
    """Returns whether the name of a file is one of NIfTI."""
    return str(path).lower().endswith(SUFFIXES)


def nibabel() -> Any:
    """Returns the package.

    Raises:
        InputError: It is not installed.
    """
    try:
        import nibabel as package
    except ImportError:
        raise InputError("NIfTI needs nibabel; run: pip install 'tfmisr[volume]'") from None
    return package


def read(path: str | os.PathLike, select: Any = None, slice_axis: int | None = None) -> Source:
    """Reads one volume.

    Args:
        path: The file.
        select: Index of the volume, from 0, in a file of four dimensions; a number or its text.
        slice_axis: Axis of the slices, 0 to 2; by default that of the largest spacing, and the last of equal ones.

    Raises:
        InputError: The file is no NIfTI volume, is broken or too large, is sheared, or has values that are not finite.
    """
    path = pathlib.Path(path)
    with _errors(path):
        header = _header(path)
        shape, volumes = _shape(header)
        index = _index(select, volumes)
        affine = lps_affine(header)
        axes = _axes(affine, slice_axis)
        grid = _grid(affine, axes, shape)
        values = _values(path, header, index, axes, grid)
    slope, intercept = slope_of(header)
    limits = float(values.min()), float(values.max())
    is_integer = header.get_data_dtype().kind in "iu"
    scale = decoding.scale_of_steps(limits, abs(slope), intercept) if is_integer else decoding.scale_of_floats(limits)
    return Source(
        volume=Volume(values, grid),
        kind="nifti",
        name=f"NIfTI, {grid.shape[0]} slices of {grid.shape[1]} x {grid.shape[2]}",
        paths=(path,),
        scale=scale,
        spacing_report=dicom_series.spacing_report(grid.spacing[0], None),
        remarks=tuple(_remarks(header, axes)),
        nifti=header,
        axes=axes,
    )


@contextlib.contextmanager
def _errors(path: pathlib.Path) -> Iterator[None]:
    """Adds the path to errors, and hides nibabel's log: it may quote the header's text."""
    log = logging.getLogger("nibabel.global")
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (MemoryError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # noqa: BLE001
        raise InputError(f"{path}: broken or unsupported NIfTI ({type(error).__name__})") from None
    finally:
        log.disabled = was_disabled


def _header(path: pathlib.Path) -> Any:
    """Returns the header of a file, after checking that the file can hold what it says."""
    package = nibabel()
    with _opened(path) as file:
        start = file.read(540)
    for kind in (package.Nifti1Header, package.Nifti2Header):
        if kind.may_contain_header(start):
            header = kind(start[: kind.sizeof_hdr], check=True)
            break
    else:
        raise InputError("expected a NIfTI file, found something else")
    if header["magic"].tobytes()[:3] not in (b"n+1", b"n+2"):
        raise InputError("expected one file with header and values (.nii); convert .hdr and .img to it")
    _check_size(path, header)
    return header


def _opened(path: pathlib.Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def _check_size(path: pathlib.Path, header: Any) -> None:
    dimensions = header["dim"][1 : int(header["dim"][0]) + 1]
    if not 1 <= int(header["dim"][0]) <= 7 or (dimensions < 1).any():
        raise InputError("the dimensions in the header must be positive")
    if header.get_data_dtype().kind not in "iuf" or header.get_data_dtype().itemsize > 8:
        raise InputError(f"expected integers or floating-point numbers. Received: {header.get_value_label('datatype')}")
    if math.prod(map(int, dimensions[:3])) > dicom_series.MAX_VOXELS:
        raise InputError(f"expected at most {dicom_series.MAX_VOXELS} voxels")
    offset = int(header.get_data_offset())
    if not 0 <= offset <= _MAX_OFFSET:
        raise InputError(f"expected values within the first {_MAX_OFFSET} bytes of the file")
    needed = offset + math.prod(map(int, dimensions)) * header.get_data_dtype().itemsize
    size = path.stat().st_size * (_MAX_DEFLATE if path.suffix.lower() == ".gz" else 1)
    if size < needed:
        raise InputError("the file is shorter than its header says")


def _shape(header: Any) -> tuple[tuple[int, ...], int]:
    """Returns the three dimensions of a volume and the number of volumes."""
    shape = tuple(map(int, header.get_data_shape()))
    shape = (*shape, *(1,) * (3 - len(shape)))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 4:
        raise InputError(f"expected three or four dimensions. Received: {len(shape)}")
    if found := _LABELS.get(int(header["intent_code"])):
        raise InputError(f"expected an image, found {found}")
    return shape[:3], shape[3] if len(shape) == 4 else 1


def _index(select: Any, volumes: int) -> int:
    if select in (None, "") and volumes == 1:
        return 0
    text = str(select).strip()
    if text.isascii() and text.isdigit() and int(text) < volumes:
        return int(text)
    received = "no --select" if select in (None, "") else f"--select {text[:40]}"
    raise InputError(f"the file has {volumes} volumes: expected --select 0 to {volumes - 1}. Received: {received}")


def lps_affine(header: Any) -> np.ndarray:
    """Returns the matrix (4, 4) from indices of the file to LPS coordinates in mm."""
    affine = np.array(header.get_best_affine(), float)
    affine[:3] *= _MM.get(header.get_xyzt_units()[0], 1.0)
    if not (np.abs(affine) < MAX_MM).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError("the affine is not finite or has no inverse: expected sform or qform of three axes")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs((affine[:3, :3] / lengths).T @ (affine[:3, :3] / lengths) - np.eye(3))
    if cosines.max() > SHEAR:
        angle = math.degrees(math.asin(min(1.0, cosines.max())))
        raise InputError(
            f"expected axes at right angles. Received: a sheared affine, {angle:.3g} degrees off; "
            "resample the image to an orthogonal grid first"
        )
    return TO_LPS @ affine


def _axes(affine: np.ndarray, slice_axis: int | None) -> tuple[int, int, int]:
    """Returns the axes of the file for slices, rows and columns."""
    if slice_axis not in (None, 0, 1, 2):
        raise InputError(f"expected --slice_axis 0, 1 or 2. Received: {slice_axis}")
    if slice_axis is None:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        slice_axis = max(axis for axis in range(3) if spacing[axis] > spacing.max() * (1 - SAME_SPACING))
    rows, columns = (axis for axis in (2, 1, 0) if axis != slice_axis)
    return slice_axis, rows, columns


def _grid(affine: np.ndarray, axes: tuple[int, int, int], shape: tuple[int, ...]) -> VolumeGrid:
    columns = affine[:3, list(axes)]
    spacing = np.linalg.norm(columns, axis=0)
    count, rows, width = (shape[axis] for axis in axes)
    if not dicom_series.enough(count):
        minimum = dicom_series.MIN_SLICES
        raise InputError(f"expected at least {minimum} slices along axis {axes[0]} of the file. Received: {count}")
    first, second, third = (triple(axis) for axis in (columns / spacing).T)
    return VolumeGrid((count, rows, width), triple(spacing), triple(affine[:3, 3]), (first, second, third))


def slope_of(header: Any) -> tuple[float, float]:
    """Returns `scl_slope` and `scl_inter`; (1, 0) where the header has none."""
    slope, intercept = header.get_slope_inter()
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept or 0))


def _values(path: pathlib.Path, header: Any, index: int, axes: tuple[int, int, int], grid: VolumeGrid) -> np.ndarray:
    shape, dtype = tuple(map(int, header.get_data_shape()))[:3], header.get_data_dtype()
    shape = (*shape, *(1,) * (3 - len(shape)))
    count = math.prod(shape)
    start = header.get_data_offset() + index * count * dtype.itemsize
    values = np.empty(grid.shape, np.float32)
    slope, intercept = slope_of(header)
    ordered = values.transpose(np.argsort(axes))  # a view with the axes of the file
    with _opened(path) as file, np.errstate(over="ignore"):  # beyond float32: infinite, and refused
        file.seek(start)
        for k in range(shape[2]):  # the last axis is the slowest in the file
            plane = np.frombuffer(_read_exactly(file, shape[0] * shape[1] * dtype.itemsize), dtype)
            ordered[:, :, k] = plane.reshape(shape[1], shape[0]).T * slope + intercept
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise InputError(f"expected finite values. Received: {bad} of {values.size} that are not")
    return values


def _read_exactly(file: Any, size: int) -> bytes:
    try:
        data = file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError("the compressed file is truncated or broken") from None
    if len(data) != size:
        raise InputError("the file ends within its values")
    return data


def _remarks(header: Any, axes: tuple[int, int, int]) -> Iterator[str]:
    if not int(header["qform_code"]) and not int(header["sform_code"]):
        yield "neither sform nor qform: the place in the patient is unknown, distances are those of pixdim"
    if header.get_xyzt_units()[0] == "unknown":
        yield "the unit of distances is not stated: mm"
    yield f"slices along axis {axes[0]} of the file"
