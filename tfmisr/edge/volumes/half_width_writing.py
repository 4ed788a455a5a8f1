"""Writes the half-widths of a volume as NIfTI, with their statement in a JSON file beside it (V-08)."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.edge.volumes import nifti_reading, nifti_writing
from tfmisr.edge.volumes.half_width import OwnCalibration
from tfmisr.edge.volumes.source import Source
from tfmisr.edge.volumes.volume import Volume

_DESCRIPTION = "half-width w: result +- w; see the JSON file beside this one"  # at most 79 characters


def check(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path of a half-width volume, before anything is computed.

    Raises:
        InputError: It does not end in `.nii` or `.nii.gz`.
    """
    path = pathlib.Path(path)
    if not nifti_reading.is_nifti(path):
        raise InputError(f"--uncertainty expects a file .nii or .nii.gz. Received: {path.name}")
    return path


def statement_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the statement: `NAME.json` beside `NAME.nii` or `NAME.nii.gz`."""
    path = pathlib.Path(path)
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    return path.with_name(pathlib.Path(name).stem + ".json")


def write(path: str | os.PathLike, half_width: Volume, source: Source, calibration: OwnCalibration) -> None:
    """Writes half-widths as float32, on the grid of the result, and what they are worth.

    Args:
        path: `.nii` or `.nii.gz`.
        half_width: Half-widths in the unit of the source: HU of CT.
        source: What the result was made from.
        calibration: Of `half_width`.

    Raises:
        InputError: The name has another ending, or the grid has other axes than the source.
    """
    path = check(path)
    nifti_writing.write(path, half_width, _float32(source))
    fields = {"description": calibration.statement, **dataclasses.asdict(calibration)}
    write_text(statement_path(path), json.dumps(fields, indent=2) + "\n")


def _float32(source: Source) -> Source:
    """Returns the source as one whose NIfTI header has float32 values, so that half-widths are not rounded."""
    header = source.nifti.copy() if source.kind == "nifti" else _header(source)
    header.set_data_dtype(np.float32)
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["cal_min"] = header["cal_max"] = 0.0
    header["descrip"] = _DESCRIPTION
    axes = source.axes if source.kind == "nifti" else (2, 1, 0)
    return dataclasses.replace(source, kind="nifti", nifti=header, axes=axes)


def _header(source: Source) -> Any:
    """Returns the NIfTI header of a volume of DICOM."""
    grid, header = source.volume.grid, nifti_reading.nibabel().Nifti1Header()
    affine = nifti_reading.TO_LPS @ grid.affine[:, [2, 1, 0, 3]]
    header.set_data_shape(grid.shape[::-1])
    header.set_qform(affine, 1)
    header.set_sform(affine, 1)
    header.set_xyzt_units("mm")
    return header
