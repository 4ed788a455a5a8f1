"""The slices that a derived series was made from: their Attributes, places and padding (V-11)."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pydicom
from pydicom import uid

from tfmisr.edge import dicom, dicom_file, stored_values
from tfmisr.edge.derived import eligibility, encoding, removed_attributes, verbatim
from tfmisr.edge.derived.product import Product
from tfmisr.edge.element_values import label
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, VolumeGrid

CLASSIC = (uid.CTImageStorage, uid.MRImageStorage)
_TOLERANCE = 0.25  # of the distance between slices


class Source(Protocol):
    """What was read (`tfmisr.edge.volumes.reading.Source`): the volume, and the files that it came from."""

    @property
    def volume(self) -> Volume:
        """The volume."""

    @property
    def paths(self) -> Sequence[str | os.PathLike]:
        """Its files, in any order: one for each slice, or one Enhanced object."""

    @property
    def headers(self) -> Sequence[pydicom.Dataset]:
        """Data Sets of the slices that were selected, in any order."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """An acquired slice: a file, or a frame of an Enhanced object.

    Attributes:
        path: The file.
        frame: Number of the frame, from 1; `None` for a file of one slice.
        header: Data Set without Pixel Data; of a frame, that of the object.
        group: Functional groups of the frame, empty for a file.
        distance: Place of its center along the slice axis of the grid, mm from the first voxel center.
        rescale: Rescale Slope and Intercept.
    """

    path: pathlib.Path
    frame: int | None
    header: verbatim.Verbatim
    group: pydicom.Dataset
    distance: float
    rescale: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Slices:
    """The slices of a series in the order of the volume.

    Attributes:
        items: The slices.
        grid: Of the volume that was read from them.
        description: Data Set that describes the stored values: bits, sign and padding are those of all slices.
        remarks: Sentences on what may be wrong.
    """

    items: tuple[Slice, ...]
    grid: VolumeGrid
    description: pydicom.Dataset
    remarks: tuple[str, ...]

    @property
    def headers(self) -> list[verbatim.Verbatim]:
        """The Data Sets of the slices."""
        return [item.header for item in self.items]

    @functools.cached_property
    def distances(self) -> np.ndarray:
        """Places of the slices along the slice axis in mm, float64 (slices,)."""
        return np.array([item.distance for item in self.items])

    @property
    def is_enhanced(self) -> bool:
        """Whether the slices are frames of one Enhanced object."""
        return self.items[0].frame is not None


def load(source: Source, product: Product) -> Slices:
    """Reads the Attributes of all slices again, with the bytes of their files.

    Raises:
        InputError: An image must not be processed (D-07), or the files are not those of the volume.
    """
    paths = [pathlib.Path(path) for path in source.paths]
    wanted = {str(header.get("SOPInstanceUID")) for header in source.headers}
    grid, remarks, items, description = source.volume.grid, [], [], None
    for path in paths:
        with dicom_file.raise_input_errors(os.fspath(path)):
            header, image, found = _load(path, product)
            remarks += found
            if wanted and str(header.SOPInstanceUID) not in wanted:
                continue
            items += _slices(path, header, image, grid)
            description = description or _without_pixels(image)
    if description is None or not items:
        raise InputError("expected the DICOM files of the volume, found none of them")
    items.sort(key=lambda item: item.distance)
    _check_places(items, grid)
    return Slices(tuple(items), grid, description, tuple(dict.fromkeys(remarks)))


def _load(path: pathlib.Path, product: Product) -> tuple[verbatim.Verbatim, pydicom.Dataset, list[str]]:
    """Returns the Attributes to copy, the image, and remarks."""
    ds = dicom_file.load(path)
    header = removed_attributes.copy_remaining(ds, product)  # before anything is decoded
    remarks = eligibility.check_eligibility(ds, product)
    if ds.SOPClassUID not in (*CLASSIC, *eligibility.ENHANCED):
        raise InputError(f"{ds.SOPClassUID.name} has no derived series; expected CT or MR images")
    if "ModalityLUTSequence" in ds:
        raise InputError(f"{label('ModalityLUTSequence')} has no inverse; write a .nii.gz instead")
    image = stored_values.read(ds)
    for element in image.corrections:
        header[element.tag] = element
    encoding.record_lossy_compression(header, image.ds)
    return header, image.ds, [*remarks, *image.remarks]


def _without_pixels(ds: pydicom.Dataset) -> pydicom.Dataset:
    description = pydicom.Dataset({tag: ds[tag] for tag in ds.keys() if 0x00280000 <= tag < 0x00281200})
    description.Modality = ds.get("Modality")
    return description


def _slices(path: pathlib.Path, header: verbatim.Verbatim, ds: pydicom.Dataset, grid: VolumeGrid) -> list[Slice]:
    if header.SOPClassUID in CLASSIC:
        rescale = _rescale(ds)
        return [Slice(path, None, header, pydicom.Dataset(), _distance(header, grid), rescale)]
    raise InputError("an Enhanced source is not supported yet")


def _rescale(item: pydicom.Dataset) -> tuple[float, float]:
    slope, intercept = item.get("RescaleSlope"), item.get("RescaleIntercept")
    return float(slope or 1), float(intercept or 0)


def _distance(item: pydicom.Dataset, grid: VolumeGrid) -> float:
    position = item.get("ImagePositionPatient")
    if not position:
        raise InputError(f"{label('ImagePositionPatient')} is missing")
    return float(np.dot(np.array(position, float) - grid.origin, grid.directions[0]))


def _check_places(items: list[Slice], grid: VolumeGrid) -> None:
    """Checks that the slices lie where the volume has them."""
    expected = np.arange(grid.shape[0]) * grid.spacing[0]
    places = np.array([item.distance for item in items])
    if len(items) != grid.shape[0] or np.abs(places - expected).max() > _TOLERANCE * grid.spacing[0]:
        raise InputError(f"expected the {grid.shape[0]} slices of the volume. Received: {len(items)} at other places")


class Padding:
    """Reads the padding of acquired slices one at a time.

    Args:
        slices: The slices.
    """

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self.limits = dicom.padding_range(slices.description)
        self._last: tuple[int, np.ndarray, np.ndarray] | None = None

    def at(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the stored values (rows, columns) of a slice and a mask of its padding; `None` without padding."""
        if self.limits is None:
            return None
        if self._last is None or self._last[0] != index:
            stored = self._read(index)
            self._last = index, stored, (stored >= self.limits[0]) & (stored <= self.limits[1])
        return self._last[1:]

    def _read(self, index: int) -> np.ndarray:
        item = self._slices.items[index]
        with dicom_file.raise_input_errors(os.fspath(item.path)):
            frames = iter(stored_values.read(dicom_file.load(item.path)).frames)
            for _ in range((item.frame or 1) - 1):
                next(frames)
            return next(frames)
