"""Series of CT and MR slices of an analytic phantom, as files and as the `Source` that was read from them."""

import dataclasses
import pathlib

import numpy as np
import pydicom
from dicom_sources import ct, mr
from pydicom.data import get_testdata_file

from tfmisr.edge.derived.series import SeriesProduct
from tfmisr.edge.volumes import Volume, VolumeGrid

OBLIQUE = ([0.8, 0.6, 0.0], [-0.36, 0.48, 0.8])  # direction of the column index, then of the row index
CORONAL = ([1.0, 0.0, 0.0], [0.0, 0.0, -1.0])
AXIAL = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])


@dataclasses.dataclass(frozen=True)
class Source:
    """As `tfmisr.edge.volumes.reading.Source`."""

    volume: Volume
    paths: list
    kind: str = "dicom"
    frame_numbers: tuple = ()
    padding: np.ndarray | None = None


def grid_of(shape=(8, 24, 32), spacing=(5.0, 0.7, 0.5), origin=(-10.0, 20.0, 30.0), plane=AXIAL, sense=1):
    """A grid; `sense` -1 for slices whose index grows against the normal of the plane."""
    normal = sense * np.cross(*plane)
    directions = tuple(tuple(map(float, axis)) for axis in (normal, plane[1], plane[0]))
    return VolumeGrid(shape, spacing, origin, directions)


def pattern(grid, low=-900.0, high=1200.0, about=None):
    """A smooth function of the patient's coordinates, with a bright spot, at the voxels of a grid: float32.

    The spot is near the first voxel of `about`, by default of the grid itself.
    """
    about = about or grid
    index = np.stack([*np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), np.ones(grid.shape)], axis=-1)
    place = index @ grid.affine[:3].T - about.origin
    depth, down, right = np.moveaxis(place @ np.transpose(about.directions), -1, 0)
    waves = 0.35 + 0.12 * np.sin(depth / 7 + right / 3) * np.cos(down / 4) + 0.005 * right
    spot = np.exp(-((depth - 12) ** 2) / 40 - (down - 5) ** 2 / 4 - (right - 5) ** 2 / 3)
    return (low + (high - low) * (waves + 0.5 * spot)).astype(np.float32)


def thin_product(**fields):
    """A producer of thin slices."""
    values = {"name": "tfmisr", "version": "0.1.0", "model": "self", "weights_sha256": "ab" * 32}
    return SeriesProduct(**{**values, "method": "self-supervised", "parameters": "900 steps, seed 0", **fields})


def averaged(thin, thick_grid, thin_grid, profile):
    """The acquired slices of thin ones: weighted by the profile at the middles of the thin slices."""
    places = thick_grid.slice_coordinates(thin_grid) * thick_grid.spacing[0]
    apart = np.arange(thick_grid.shape[0])[:, None] * thick_grid.spacing[0] - places
    if profile.kind == "gaussian":
        weights = np.exp(-4 * np.log(2) * (apart / profile.fwhm) ** 2)
    else:
        inside = (profile.fwhm + thin_grid.spacing[0]) / 2 - np.abs(apart)
        weights = np.clip(inside, 0, min(profile.fwhm, thin_grid.spacing[0]))
    return np.einsum("ij,jyx->iyx", weights / weights.sum(axis=1, keepdims=True), thin).astype(np.float32)


def write_source(
    folder, values, grid, make=ct, thickness=5.0, backwards=False, edit=None, intercept=0, unsigned=False, **attributes
):
    """Writes `values` (in the unit after the rescale) as a series; the names of the files are in no useful order.

    Args:
        folder: Existing folder.
        values: (slices, rows, columns).
        grid: Where they lie.
        make: `ct` or `mr` of `dicom_sources`.
        thickness: Slice Thickness in mm.
        backwards: Instance Number decreases with the slice index.
        edit: Called with each data set and its slice index.
        intercept: Rescale Intercept.
        unsigned: Whether stored values are unsigned.
        **attributes: For `make`.
    """
    count, paths = grid.shape[0], []
    modality = "MR" if make is mr else "CT"
    for index in range(count):
        number = count - index if backwards else index + 1
        pixels = np.rint(values[index] - intercept).astype(np.uint16 if unsigned or make is mr else np.int16)
        ds = make(
            pixels,
            **{
                "SOPInstanceUID": f"1.2.3.4.1.{index + 1}",
                "InstanceNumber": number,
                "FrameOfReferenceUID": "1.2.3.4.5",
                "PixelSpacing": list(grid.spacing[1:]),
                "ImageOrientationPatient": [*grid.directions[2], *grid.directions[1]],
                "ImagePositionPatient": [round(float(v), 9) for v in grid.position(index)],
                "SliceThickness": thickness,
                "SpacingBetweenSlices": grid.spacing[0],
                "SliceLocation": round(100 - 1.0 * index * grid.spacing[0], 6),
                "SmallestImagePixelValue": None,
                **attributes,
            },
        )
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        if edit:
            edit(ds, index)
        paths.append(pathlib.Path(folder) / f"{(index * 7919) % 1009:04d}")
        ds.save_as(paths[-1], enforce_file_format=True)
    volume = Volume(np.rint(values).astype(np.float32), grid, thickness, modality)
    return Source(volume, paths)


def small(name, folder):
    """Four slices, 5 mm apart, with all Attributes of pydicom's CT_small or MR_small."""
    for index in range(4):
        ds = pydicom.dcmread(get_testdata_file(f"{name}_small.dcm"))
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.{index}"
        normal = np.cross(*np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float))
        position = np.array(ds.ImagePositionPatient, float) + 5 * index * normal
        ds.ImagePositionPatient = [pydicom.valuerep.DSfloat(float(value), auto_format=True) for value in position]
        ds.InstanceNumber, ds.SliceThickness = index + 1, 5
        ds.pop("DataSetTrailingPadding", None)
        ds.save_as(folder / f"{index}.dcm")
