"""The Data Set of one new slice in a derived series of single-frame images (V-11)."""

import dataclasses
import datetime
import hashlib

import numpy as np
import pydicom
from pydicom import Sequence
from pydicom.valuerep import DSfloat

from tfmisr.edge.derived import derivation, eligibility, encoding, identity, texts, verbatim
from tfmisr.edge.derived.series import slice_attributes
from tfmisr.edge.derived.series.places import Place
from tfmisr.edge.derived.series.product import SeriesProduct
from tfmisr.edge.derived.series.rescale import StoredValues
from tfmisr.edge.derived.series.sources import Slice, Slices
from tfmisr.edge.volumes import VolumeGrid


@dataclasses.dataclass(frozen=True)
class Series:
    """A derived series that is being written.

    Attributes:
        slices: The acquired slices.
        grid: Of the new volume.
        product: The producer, with profile and spacings.
        thickness: Slice Thickness of the new slices in mm; `None` if unknown.
        mapping: Of values to stored values.
        when: Time of processing, with a time zone.
    """

    slices: Slices
    grid: VolumeGrid
    product: SeriesProduct
    thickness: float | None
    mapping: StoredValues
    when: datetime.datetime

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the series beside the product: the acquired slices, the new grid, the kind of object."""
        sources = [f"{item.header.SOPInstanceUID} {item.frame or ''}" for item in self.slices.items]
        digest = hashlib.sha256("|".join(sources).encode()).hexdigest()
        grid = f"{self.grid.shape[0]} slices from {np.round(self.grid.origin, 4).tolist()}"
        return str(self.slices.items[0].header.SeriesInstanceUID), digest, grid


def write_common(target: verbatim.Verbatim, series: Series, *kind: str) -> None:
    """Writes what all new images of a series share: series, dates, equipment, spacing, rescale.

    Args:
        target: Attributes that all acquired slices share; changed in place.
        series: The series.
        *kind: Distinguishes series of other objects of the same volume.
    """
    product = series.product
    derivation.record_equipment(target, product, series.when)
    target.SeriesInstanceUID = identity.derived_uid(product, "thin series", *series.key, *kind)
    target.SeriesNumber = int(target.get("SeriesNumber") or 0) + product.series_number_offset
    texts.append(target, "SeriesDescription", "LO", product.label, 64)
    if not product.record_times and target.SOPClassUID not in eligibility.ENHANCED:
        identity.omit_times(target)
        return
    for event in ("InstanceCreation", "Content", "Series"):
        identity.write_date(target, event, series.when)


def common(series: Series) -> tuple[verbatim.Verbatim, list[str]]:
    """Returns the Attributes of all new slices, and remarks on what was removed."""
    target, remarks = slice_attributes.common(series.slices)
    derivation.add_code(target)
    texts.append(target, "DerivationDescription", "ST", f" {series.product.description}", 1024)
    target.ImageType = identity.image_type(target, series.product)
    write_common(target, series)
    target.Rows, target.Columns = series.grid.shape[1:]  # other than the source's after a gantry tilt
    target.SliceThickness = None if series.thickness is None else decimal(series.thickness)
    target.SpacingBetweenSlices = decimal(series.grid.spacing[0])
    if not series.mapping.is_sources:  # else the bytes of the source are kept
        target.RescaleSlope, target.RescaleIntercept = decimal(series.mapping.slope), decimal(series.mapping.intercept)
    return target, remarks


def image(
    shared: verbatim.Verbatim, series: Series, place: Place, pixels: np.ndarray, valid: np.ndarray | None
) -> pydicom.Dataset:
    """Returns the image of a new slice with File Meta Information.

    Args:
        shared: What `common` returns; not changed.
        series: The series.
        place: Of the slice.
        pixels: Stored values (rows, columns).
        valid: Mask, false where there is padding; `None` without padding.
    """
    target = verbatim.copy_dataset(shared, lambda holder, tag: True)
    target.SOPInstanceUID = identity.derived_uid(series.product, "thin slice", *series.key, str(place.index))
    target.InstanceNumber = place.number
    target.ImagePositionPatient = position(place)
    _write_number(target, "SliceLocation", place.location)
    if place.trigger_time is not None:
        target.TriggerTime = decimal(round(place.trigger_time, 6))
    target.SourceImageSequence = Sequence([reference(series.slices.items[index]) for index in place.sources])
    write_limits(target, pixels, valid)
    write_pixel_data(target, pixels)
    encoding.write_file_meta(target, series.product)
    return target


def reference(item: Slice) -> pydicom.Dataset:
    """Returns an Item of Source Image Sequence for an acquired slice (D-14, D-15)."""
    return derivation.source_image(item.header, item.frame)


def position(place: Place) -> list[DSfloat]:
    """Returns Image Position (Patient) in mm, without digits that are rounding errors."""
    return [decimal(round(float(value), 6) + 0.0) for value in place.position]


def decimal(value: float) -> DSfloat:
    """Returns a Decimal String of at most 16 characters (D-27)."""
    return DSfloat(value, auto_format=True)


def write_pixel_data(target: pydicom.Dataset, pixels: np.ndarray) -> None:
    """Writes stored values, little endian, as Pixel Data of even length."""
    data = pixels.tobytes()
    vr = "OW" if pixels.itemsize > 1 else "OB"
    target["PixelData"] = pydicom.DataElement("PixelData", vr, data + b"\0" * (len(data) % 2))


def _write_number(target: pydicom.Dataset, keyword: str, value: float | None) -> None:
    target.pop(keyword, None)
    if value is not None:
        setattr(target, keyword, decimal(round(value, 6)))


def write_limits(target: pydicom.Dataset, pixels: np.ndarray, valid: np.ndarray | None) -> None:
    """Writes Smallest and Largest Image Pixel Value where the source has them; padding is excluded (D-33).

    Args:
        target: Changed in place.
        pixels: Stored values.
        valid: Mask, false where there is padding; `None` without padding.
    """
    native = pixels if valid is None else pixels[valid]
    for keyword, function in {"SmallestImagePixelValue": np.min, "LargestImagePixelValue": np.max}.items():
        if keyword in target:
            del target[keyword]
            if native.size:
                vr = "SS" if target.PixelRepresentation else "US"
                target[keyword] = pydicom.DataElement(keyword, vr, int(function(native)))
