"""`Source`: a volume with what its files say about it, for those who process it and write results."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pydicom

from tfmisr.edge.levels import IntensityScale
from tfmisr.edge.volumes.volume import Volume


@dataclasses.dataclass(frozen=True, repr=False)
class Source:
    """A volume that was read, with its files.

    Attributes:
        volume: Values after the Modality LUT (HU for CT) or after `scl_slope`, and their grid.
        kind: "dicom" (one file a slice), "enhanced" (multi-frame) or "nifti".
        name: What it is, without patient data: "CT, 40 slices of 512 x 512".
        paths: The file of each slice, in the order of the slices; one path for a NIfTI file.
        scale: The values that map to 0 and 1 for a network: -1024 and 3071 HU for CT, otherwise the full scale of the
            series. `scale.to_unit` and `scale.from_unit` convert.
        spacing_report: Distance between slices, their thickness, and gap or overlap, in one line.
        headers: The Data Set of each slice without Pixel Data, in the order of the slices. Those of a multi-frame image
            are the Attributes of the image with the functional groups of the frame. Empty for NIfTI.
        frame_numbers: The number of the frame of each slice, from 1; empty unless `kind` is "enhanced".
        padding: Boolean, the shape of the values, true where there is no image (Pixel Padding Value, corners of a
            resampled gantry tilt); the values there are the lowest of the volume. `None` without padding.
        remarks: Sentences on what was skipped or changed.
        nifti: The header of a NIfTI file (`nibabel.Nifti1Header`), `None` for DICOM.
        axes: For NIfTI the axis of the file of slices, rows and columns.
    """

    volume: Volume
    kind: str
    name: str
    paths: tuple[pathlib.Path, ...]
    scale: IntensityScale
    spacing_report: str
    headers: list[pydicom.Dataset] = dataclasses.field(default_factory=list)
    frame_numbers: tuple[int, ...] = ()
    padding: np.ndarray | None = None
    remarks: tuple[str, ...] = ()
    nifti: Any = None
    axes: tuple[int, int, int] = (2, 1, 0)

    def __repr__(self) -> str:
        return f"<{self.name}, {self.kind}>"

    @property
    def max_val(self) -> int:
        """Full scale of `scale`, in steps of its slope."""
        return self.scale.max_val
