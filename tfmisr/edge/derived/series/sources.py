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

_CLASSIC = (uid.CTImageStorage, uid.MRImageStorage)
_TOLERANCE = 0.25  # of the distance between slices
_PIXEL_TAGS = (0x00280000, 0x00281200)


class Source(Protocol):
    """What was read (`tfmisr.edge.volumes.reading.Source`): the volume, and the files that it came from."""

    @property
    def volume(self) -> Volume:
        """The volume."""

    @property
    def kind(self) -> str:
        """`dicom` for files of one slice, `enhanced`, or `nifti`."""

    @property
    def paths(self) -> Sequence[str | os.PathLike]:
        """The file of each slice, in the order of the slices."""

    @property
    def frame_numbers(self) -> Sequence[int]:
        """Of an Enhanced object the frame of each slice, from 1; otherwise empty."""

    @property
    def padding(self) -> np.ndarray | None:
        """Boolean (slices, rows, columns), true where there is no image; `None` without padding."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """An acquired slice: a file, or a frame of an Enhanced object.

    Attributes:
        header: Data Set without Pixel Data; of a frame, that of the object.
        frame: Number of the frame, from 1; `None` for a file of one slice.
        group: Functional groups of the frame, its own and the shared ones; empty for a file.
        distance: Place of its center along the slice axis of the grid, mm from the first voxel center.
        rescale: Rescale Slope and Intercept.
    """

    header: verbatim.Verbatim
    frame: int | None
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
        padding: Boolean (slices, rows, columns), true where there is no image; `None` without padding.
        remarks: Sentences on what may be wrong.
    """

    items: tuple[Slice, ...]
    grid: VolumeGrid
    description: pydicom.Dataset
    padding: np.ndarray | None
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
    if source.kind == "nifti":
        raise InputError("expected DICOM files as the source of a derived series; write a .nii.gz instead")
    paths = list(dict.fromkeys(map(pathlib.Path, source.paths)))
    remarks, items, description = [], [], None
    for path in paths:
        with dicom_file.raise_input_errors(os.fspath(path)):
            header, image, found = _load(path, product)
            items += _slices(header, image, source)
        remarks += found
        description = description or _without_pixels(image)
    if description is None:
        raise InputError("expected the DICOM files of the volume, found none")
    _check_places(items, source.volume.grid)
    return Slices(tuple(items), source.volume.grid, description, source.padding, tuple(dict.fromkeys(remarks)))


def _load(path: pathlib.Path, product: Product) -> tuple[verbatim.Verbatim, pydicom.Dataset, list[str]]:
    """Returns the Attributes to copy, the image, and remarks."""
    ds = dicom_file.load(path)
    header = removed_attributes.copy_remaining(ds, product)  # before anything is decoded
    remarks = eligibility.check_eligibility(ds, product)
    if ds.SOPClassUID not in (*_CLASSIC, *eligibility.ENHANCED):
        raise InputError(f"{ds.SOPClassUID.name} has no derived series; expected CT or MR images")
    if "ModalityLUTSequence" in ds:
        raise InputError(f"{label('ModalityLUTSequence')} has no inverse; write a .nii.gz instead")
    image = stored_values.read(ds)
    for element in image.corrections:
        header[element.tag] = element
    encoding.record_lossy_compression(header, image.ds)
    return header, image.ds, [*remarks, *image.remarks]


def _without_pixels(ds: pydicom.Dataset) -> pydicom.Dataset:
    return pydicom.Dataset({tag: ds[tag] for tag in ds.keys() if _PIXEL_TAGS[0] <= tag < _PIXEL_TAGS[1]})


def _slices(header: verbatim.Verbatim, ds: pydicom.Dataset, source: Source) -> list[Slice]:
    grid = source.volume.grid
    if header.SOPClassUID in _CLASSIC:
        return [Slice(header, None, pydicom.Dataset(), _distance(header, grid), _rescale(ds))]
    items, groups = [], header.get("PerFrameFunctionalGroupsSequence") or ()
    for number in source.frame_numbers:
        if not 1 <= number <= len(groups):
            raise InputError(f"{label('PerFrameFunctionalGroupsSequence')} must have one Item per frame")
        group = pydicom.Dataset()
        for holder in (*(header.get("SharedFunctionalGroupsSequence") or ()), groups[number - 1]):
            group.update({tag: holder[tag] for tag in holder.keys()})
        position = _first(group, "PlanePositionSequence")
        rescale = _rescale(_first(group, "PixelValueTransformationSequence"))
        items.append(Slice(header, number, group, _distance(position, grid), rescale))
    return items


def _first(group: pydicom.Dataset, keyword: str) -> pydicom.Dataset:
    return (group.get(keyword) or [pydicom.Dataset()])[0]


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


def padding_value(description: pydicom.Dataset) -> int | None:
    """Returns the stored value of Pixel Padding Value (0028,0120), `None` without it."""
    single = pydicom.Dataset(description)
    single.pop("PixelPaddingRangeLimit", None)
    limits = dicom.padding_range(single)
    return None if limits is None else limits[0]
