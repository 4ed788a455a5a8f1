"""Series of CT and MR slices of an analytic phantom, as files and as the `Source` that was read from them."""

import dataclasses
import pathlib

import numpy as np
from dicom_sources import ct, mr

from tfmisr.edge.volumes import Volume, VolumeGrid

OBLIQUE = ([0.8, 0.6, 0.0], [-0.36, 0.48, 0.8])  # direction of the column index, then of the row index
AXIAL = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])


@dataclasses.dataclass(frozen=True)
class Source:
    """As `tfmisr.edge.volumes.reading.Source`."""

    volume: Volume
    paths: list
    frame_numbers: tuple = ()
    padding: np.ndarray | None = None


def grid_of(shape=(8, 24, 32), spacing=(5.0, 0.7, 0.5), origin=(-10.0, 20.0, 30.0), plane=AXIAL, sense=1):
    """A grid; `sense` -1 for slices whose index grows against the normal of the plane."""
    normal = sense * np.cross(*plane)
    directions = tuple(tuple(map(float, axis)) for axis in (normal, plane[1], plane[0]))
    return VolumeGrid(shape, spacing, origin, directions)


def wave(shape, low=-900.0, high=1200.0):
    """A smooth pattern (slices, rows, columns) that differs in all three directions."""
    z, y, x = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    pattern = 0.5 + 0.25 * np.sin(5 * z + 3 * x) * np.cos(4 * y) + 0.2 * z * x
    return (low + (high - low) * np.clip(pattern, 0, 1)).astype(np.float32)


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


def write_source(folder, values, grid, make=ct, thickness=5.0, backwards=False, edit=None, **attributes):
    """Writes `values` (in the unit after the rescale) as a series; the names of the files are in no useful order.

    Args:
        folder: Existing folder.
        values: (slices, rows, columns).
        grid: Where they lie.
        make: `ct` or `mr` of `dicom_sources`.
        thickness: Slice Thickness in mm.
        backwards: Instance Number decreases with the slice index.
        edit: Called with each data set and its slice index.
        **attributes: For `make`.
    """
    count, paths = grid.shape[0], []
    modality = "MR" if make is mr else "CT"
    for index in range(count):
        number = count - index if backwards else index + 1
        pixels = np.rint(values[index]).astype(np.uint16 if make is mr else np.int16)
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
