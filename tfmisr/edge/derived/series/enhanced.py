"""The derived series as one Enhanced CT or MR object (PS3.3 A.38, A.36; V-11).

Frames are the new slices, in the order of their Instance Numbers. What all of them share is in Shared Functional Groups
Sequence (5200,9229); Frame Content, Plane Position and Derivation Image are in those of each frame. Dimension 1 is the
stack, dimension 2 the place in it.
"""

import numpy as np
import pydicom
from pydicom import Sequence, uid
from pydicom.tag import Tag

from tfmisr.edge.derived import derivation, encoding, identity, texts, verbatim
from tfmisr.edge.derived.series import enhanced_from_classic, enhanced_from_frames, single_frames
from tfmisr.edge.derived.series.places import Place
from tfmisr.edge.derived.series.single_frames import Series, decimal
from tfmisr.edge.dicom_file import MAX_BYTES
from tfmisr.edge.errors import InputError

_STACK = "1"
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
SOP_CLASSES = {
    uid.CTImageStorage: uid.EnhancedCTImageStorage,
    uid.MRImageStorage: uid.EnhancedMRImageStorage,
    uid.EnhancedCTImageStorage: uid.EnhancedCTImageStorage,
    uid.EnhancedMRImageStorage: uid.EnhancedMRImageStorage,
}


def check_size(series: Series) -> None:
    """Raises `InputError` where the object would be too large for one file."""
    size = int(np.prod(series.grid.shape, dtype=np.int64)) * np.dtype(series.mapping.dtype).itemsize
    if size > MAX_BYTES:
        raise InputError(f"the object would have {size} bytes, more than {MAX_BYTES}; write one file for each slice")


def image(series: Series, placed: list[Place], frames: np.ndarray, fwhm: float) -> tuple[pydicom.Dataset, list[str]]:
    """Returns the object with File Meta Information, and remarks on what was removed.

    Args:
        series: The series.
        placed: Places of the frames, in their order.
        frames: Stored values (frames, rows, columns).
        fwhm: Of the profile of the acquired slices in mm, the thickness where that is unknown.
    """
    first = series.slices.items[0].header
    make = enhanced_from_frames if series.slices.is_enhanced else enhanced_from_classic
    target, shared, remarks = make.common(series, SOP_CLASSES[first.SOPClassUID])
    single_frames.write_common(target, series, "enhanced")
    for keyword in _EQUIPMENT:
        if not target.get(keyword):  # Type 1 here; missing where the scanner's equipment is kept (D-17)
            setattr(target, keyword, "UNKNOWN")
    target.SOPInstanceUID = identity.derived_uid(series.product, "thin volume", *series.key)
    texts.append(target, "ImageComments", "LT", f" {series.product.description}", 10240)
    target.ContentQualification = "RESEARCH"  # not of a product approved for patients (C.8.13.2.1.1)
    target.InstanceNumber, target.NumberOfFrames = 1, len(placed)
    target.Rows, target.Columns = series.grid.shape[1:]
    _write_dimensions(target, series)
    _write_measures(shared, series, fwhm)
    target.SharedFunctionalGroupsSequence = Sequence([shared])
    target.PerFrameFunctionalGroupsSequence = Sequence(
        [_frame(series, place, number) for number, place in enumerate(placed, start=1)]
    )
    target.pop("SourceImageEvidenceSequence", None)
    for header in {item.header.SOPInstanceUID: item.header for item in series.slices.items}.values():
        derivation.list_source(target, header)
    single_frames.write_pixel_data(target, frames)
    encoding.write_file_meta(target, series.product)
    return target, remarks


def _write_dimensions(target: verbatim.Verbatim, series: Series) -> None:
    """Writes the Multi-frame Dimension Module (C.7.6.17)."""
    organization = identity.derived_uid(series.product, "dimensions", *series.key)
    target.DimensionOrganizationType = "3D"
    target.DimensionOrganizationSequence = Sequence([_item(DimensionOrganizationUID=organization)])
    pointers = ("StackID", "stack"), ("InStackPositionNumber", "place in the stack")
    target.DimensionIndexSequence = Sequence(
        [
            _item(
                DimensionIndexPointer=Tag(keyword),
                FunctionalGroupPointer=Tag("FrameContentSequence"),
                DimensionOrganizationUID=organization,
                DimensionDescriptionLabel=text,
            )
            for keyword, text in pointers
        ]
    )


def _write_measures(shared: pydicom.Dataset, series: Series, fwhm: float) -> None:
    """Writes spacing, orientation and rescale, the same for all frames (C.7.6.16.2.1, C.7.6.16.2.4, C.7.6.16.2.9)."""
    grid, mapping = series.grid, series.mapping
    thickness = fwhm if series.thickness is None else series.thickness  # Type 1C here
    measures = _item(
        PixelSpacing=[decimal(spacing) for spacing in grid.spacing[1:]],
        SliceThickness=decimal(thickness),
        SpacingBetweenSlices=decimal(grid.spacing[0]),
    )
    shared.PixelMeasuresSequence = Sequence([measures])
    cosines = [decimal(round(value, 9) + 0.0) for direction in grid.directions[:0:-1] for value in direction]
    shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=cosines)])
    transformation = (shared.get("PixelValueTransformationSequence") or [pydicom.Dataset()])[0]
    transformation.RescaleSlope, transformation.RescaleIntercept = decimal(mapping.slope), decimal(mapping.intercept)
    shared.PixelValueTransformationSequence = Sequence([transformation])


def _frame(series: Series, place: Place, number: int) -> pydicom.Dataset:
    """Returns the functional groups of a frame: its place, its indices and its sources (D-28)."""
    content = _item(StackID=_STACK, InStackPositionNumber=number, DimensionIndexValues=[1, number])
    derived = pydicom.Dataset()
    derivation.add_code(derived)
    derived.DerivationDescription = series.product.description
    sources = [single_frames.reference(series.slices.items[index]) for index in place.sources]
    derived.SourceImageSequence = Sequence(sources)
    return _item(
        FrameContentSequence=Sequence([content]),
        PlanePositionSequence=Sequence([_item(ImagePositionPatient=single_frames.position(place))]),
        DerivationImageSequence=Sequence([derived]),
    )


def _item(**attributes: object) -> pydicom.Dataset:
    item = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
