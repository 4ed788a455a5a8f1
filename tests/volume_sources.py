"""Small DICOM series and multi-frame images with a known place in the patient."""

import numpy as np
import pydicom
from dicom_sources import OBLIQUE, ct, item, mr
from pydicom import uid
from pydicom.sequence import Sequence

ORIGIN = np.array([-100.25, 30.5, -7.125])
AXIAL = [1, 0, 0, 0, 1, 0]
SAGITTAL = [0, 1, 0, 0, 0, -1]


def normal(orientation=OBLIQUE):
    return np.cross(orientation[:3], orientation[3:])


def numbered(count, rows=6, columns=8):
    """Pixels (count, rows, columns) whose values name their place: 1000 * slice + 20 * row + column."""
    s, r, c = np.ogrid[:count, :rows, :columns]
    return (1000 * s + 20 * r + c).astype(np.int16)


def series(count=5, step=None, kind=ct, orientation=OBLIQUE, pixels=None, each=lambda index: {}, **attributes):
    """Returns data sets of parallel slices in the order of their positions.

    `step` is the vector in mm from slice to slice, by default 2.5 mm along the normal; `each` returns those of one.
    """
    step = 2.5 * normal(orientation) if step is None else np.asarray(step, float)
    pixels = numbered(count) if pixels is None else pixels
    found = []
    for index in range(count):
        place = {"ImagePositionPatient": decimals(ORIGIN + index * step), "ImageOrientationPatient": orientation}
        own = {"SOPInstanceUID": f"1.2.3.9.{index + 1}", "InstanceNumber": index + 1, "SpacingBetweenSlices": None}
        dtype = np.uint16 if kind is mr else np.int16
        found.append(kind(pixels[index].astype(dtype), **{**own, **place, **attributes, **each(index)}))
        found[-1].file_meta.MediaStorageSOPInstanceUID = found[-1].SOPInstanceUID
    return found


def decimals(values):
    """As Decimal Strings of at most 16 characters."""
    return [f"{value:.10g}" for value in values]


def save(folder, data_sets, order=None, prefix="slice"):
    """Saves data sets, in an order of names that is not theirs: each file is named by a permutation."""
    order = np.random.default_rng(0).permutation(len(data_sets)) if order is None else order
    folder.mkdir(exist_ok=True, parents=True)
    for index, ds in enumerate(data_sets):
        ds.save_as(folder / f"{prefix}{order[index]:03}.dcm", enforce_file_format=True)
    return folder


def enhanced(count=5, sop_class=uid.EnhancedCTImageStorage, order=None, each=lambda index: {}, **attributes):
    """An Enhanced image of the slices of `series`, whose frames are in another order.

    Frame `f` is slice `order[f]`, with the functional groups of `each(slice)` besides.
    """
    order = np.random.default_rng(1).permutation(count) if order is None else order
    pixels = numbered(count)
    common = item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.7, 0.5], SliceThickness=2.0)]),
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=OBLIQUE)]),
        PixelValueTransformationSequence=Sequence([item(RescaleSlope=2, RescaleIntercept=-1000, RescaleType="HU")]),
    )
    groups = []
    for index in order:
        place = decimals(ORIGIN + 2.5 * index * normal())
        groups.append(item(PlanePositionSequence=Sequence([item(ImagePositionPatient=place)]), **each(index)))
    fields = {
        "NumberOfFrames": count,
        "PixelData": pixels[order].tobytes(),
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "SharedFunctionalGroupsSequence": Sequence([common]),
        "PerFrameFunctionalGroupsSequence": Sequence(groups),
    }
    without = dict.fromkeys(
        "ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices RescaleSlope "
        "RescaleIntercept RescaleType".split()
    )
    ds = ct(pixels[0], **{**without, **fields, **attributes})
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def affine_by_pydicom(first: pydicom.Dataset, last: pydicom.Dataset, count: int) -> np.ndarray:
    """The matrix from (slice, row, column, 1) to mm, by equation C.7.6.2.1-1 of PS3.3."""
    matrix = np.eye(4)
    start, end = (np.array(ds.ImagePositionPatient, float) for ds in (first, last))
    orientation = np.array(first.ImageOrientationPatient, float)
    matrix[:3, 0] = (end - start) / (count - 1)
    matrix[:3, 1] = orientation[3:] * float(first.PixelSpacing[0])
    matrix[:3, 2] = orientation[:3] * float(first.PixelSpacing[1])
    matrix[:3, 3] = start
    return matrix
