"""Reads DICOM Pixel Data as unsigned integers for training and viewing, without other Attributes of the patient.

The values:

* CT in Hounsfield units: `HU + 1024`, clipped to [0, 4095], `max_val` 4095, the same for all scanners.
  Values are clipped (padding below -1024 HU, metal above 3071 HU) for training and viewing only.
* Other gray images: stored values, or the output of a Modality LUT Sequence (0028,3000). Rescale
  Slope (0028,1053) and Intercept (0028,1052) are not applied, since they would only round gray levels,
  with two exceptions: a negative slope inverts, and slices of a series with different slopes (PET)
  are converted to the largest slope. Negative values are shifted so that the lowest becomes 0.
  `max_val` is the full scale of Bits Stored (0028,0101) up to 12 bits, which detectors use. For MR,
  whose unit is arbitrary, and for more bits, it is `levels.full_scale` of the file, or of its series
  where an intensity scale is passed (`tfmisr.edge.series`). Where the slopes of a series are equal no
  gray level is lost, and images are scaled by powers of two only.
* Color: RGB.
"""

import contextlib
import math
import os
from collections.abc import Iterable, Iterator

import numpy as np
import pydicom
from pydicom import uid

from tfmisr.edge import dicom_file, modality_lut, palette, stored_values
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.dicom_file import suppress_pydicom_messages
from tfmisr.edge.dicom_rules import GRAY, unsupported_reason
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Frames, IntensityScaleChooser, to_unsigned

LOWEST_HU, CT_MAX_VAL = -1024, 4095

# SOP Classes with Pixel Data (7FE0,0010) whose pixels are no image intensities.
NON_IMAGE_SOP_CLASSES = (
    uid.RTDoseStorage,
    uid.SegmentationStorage,
    uid.UID("1.2.840.10008.5.1.4.1.1.66.7"),  # Label Map Segmentation
    uid.ParametricMapStorage,
    uid.VLWholeSlideMicroscopyImageStorage,
)


def read_header(path: str | os.PathLike) -> pydicom.Dataset:
    """Returns the Data Set of a file without its Pixel Data.

    Raises:
        InputError: The file is not a DICOM file, or is broken.
    """
    with _decoding(path, "not a readable DICOM file"):
        ds = dicom_file.read_header(path)
        ds.get("SOPClassUID"), ds.get("Rows"), ds.get("NumberOfFrames")
    return ds


def rejection_reason(ds: pydicom.Dataset) -> str | None:
    """Returns why a SOP Instance is not an image for this package, or `None` if it is one."""
    sop_class = uid.UID(str(ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID") or ""))
    # In a broken file the value may be anything, even the patient's name: only registered UIDs are repeated.
    name = sop_class.name if sop_class in uid.UID_dictionary else "the SOP Instance"
    if sop_class in NON_IMAGE_SOP_CLASSES:
        return f"{name} has no image intensities to upscale"
    if not ds.get("Rows") or not ds.get("Columns"):
        return f"{name} has no image"
    if "PixelRepresentation" not in ds:
        return "no integer Pixel Data (7FE0,0010); float pixel data are not supported"
    return None


def bits_of(ds: pydicom.Dataset) -> int:
    """Returns 8 or 16: the bit depth in which `read_frames` returns the image."""
    if "ModalityLUTSequence" in ds:
        stored = max(ds.ModalityLUTSequence[0].LUTDescriptor[2], int(modality_lut.table(ds).max()).bit_length())
    elif ds.PhotometricInterpretation == "PALETTE COLOR":
        stored = 8 * palette.table(ds).itemsize
    else:
        stored = ds.BitsStored
    return 8 if stored <= 8 and hounsfield(ds, 0) is None else 16


def channels_of(ds: pydicom.Dataset) -> int:
    """Returns 1 or 3: the number of stored channels; equal ones are detected later, from the pixels."""
    return 1 if ds.PhotometricInterpretation in GRAY else 3


def read_frames(path: str | os.PathLike, scale: IntensityScaleChooser | None = None) -> tuple[Frames, int]:
    """Reads the frames of a DICOM image.

    Args:
        path: A file; DICOM is detected from its content, not from its name.
        scale: `levels.IntensityScale` of its series, used where neither Attributes nor modality define one; by
            default the file's own.

    Returns:
        The frames, uint8 or uint16 of shape (height, width, 1 or 3), and `max_val`. Bones are bright in
        MONOCHROME1 and MONOCHROME2, pixel padding has the value of the darkest pixel, and overlay bits are removed.

    Raises:
        InputError: The SOP Instance is not an image, or cannot be decoded.
    """
    with _decoding(path, "not a readable DICOM image"):
        image = _stored_image(path)
        ds, count = image.ds, image.frames.count
        stored = Frames(count, lambda: _guarded(path, image.frames))
        if ds.PhotometricInterpretation not in GRAY:
            return _color(stored, ds, scale)
        if (first := hounsfield(ds, 0)) is not None:
            return Frames(count, lambda: _ct(stored, ds, first)), CT_MAX_VAL
        return _gray(path, stored, ds, scale)


def _stored_image(path: str | os.PathLike) -> stored_values.StoredImage:
    try:
        ds = dicom_file.load(path)
        if reason := rejection_reason(ds) or unsupported_reason(ds):
            raise InputError(reason)
        return stored_values.read(ds)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _guarded(path: str | os.PathLike, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields frames; adds the path to errors while they are decoded."""
    remaining = iter(frames)
    while True:
        try:
            frame = next(remaining, None)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        if frame is None:
            return
        yield frame


@contextlib.contextmanager
def _decoding(path: str | os.PathLike, what: str) -> Iterator[None]:
    try:
        with suppress_pydicom_messages():
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001
        raise InputError(f"{path}: {what}, or broken ({type(error).__name__})") from None


def _color(stored: Frames, ds: pydicom.Dataset, scale: IntensityScaleChooser | None) -> tuple[Frames, int]:
    bits = bits_of(ds)

    def rgb(frame: np.ndarray) -> np.ndarray:
        return palette.apply(frame, ds) if ds.PhotometricInterpretation == "PALETTE COLOR" else frame

    scale = None if bits == 8 else scale
    _, max_val = to_unsigned([] if bits == 8 else ((rgb(f), None) for f in stored), bits, scale=scale)
    dtype = np.uint8 if bits == 8 else np.uint16
    return Frames(stored.count, lambda: (rgb(f).astype(dtype) for f in stored)), max_val


def hounsfield(ds: pydicom.Dataset, frame: int) -> tuple[float, float] | None:
    """Returns (slope, intercept) to Hounsfield units of a CT frame, `None` for other images.

    Args:
        ds: The image.
        frame: Index of the frame, from 0.
    """
    if ds.get("Modality") != "CT" or channels_of(ds) != 1 or "ModalityLUTSequence" in ds:
        return None
    item = rescale_item(ds, frame)
    if item.get("RescaleIntercept") is None or not item.get("RescaleSlope"):
        return None
    # Rescale Type (0028,1054) is misspelled by some vendors, and absent where it is HU (PS3.3 C.8.2.1).
    unit = str(item.get("RescaleType") or "HU").strip().upper()
    if not unit.startswith(("HU", "HO")):
        return None
    return float(item.RescaleSlope), float(item.RescaleIntercept)


def rescale_item(ds: pydicom.Dataset, frame: int) -> pydicom.Dataset:
    """Returns the Data Set or Item with Rescale Slope of a frame: a functional group in Enhanced images (C.7.6.16)."""
    per_frame = ds.get("PerFrameFunctionalGroupsSequence") or []
    shared = ds.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared):
        if transformation := group.get("PixelValueTransformationSequence"):
            return transformation[0]
    return ds


def slope_and_intercept(ds: pydicom.Dataset) -> tuple[float, float] | None:
    """Returns Rescale Slope (0028,1053) and Intercept (0028,1052) of gray values, (1, 0) if absent.

    `None` where the frames differ or an Attribute is broken: such a file has no scale in common with others.
    """
    if channels_of(ds) != 1 or "ModalityLUTSequence" in ds:
        return 1.0, 0.0
    frames = range(int(ds.get("NumberOfFrames") or 1))
    items = {id(item): item for item in (rescale_item(ds, frame) for frame in frames)}
    pairs = {_finite_slope_and_intercept(item) for item in items.values()}
    return pairs.pop() if len(pairs) == 1 else None


def _finite_slope_and_intercept(item: pydicom.Dataset) -> tuple[float, float] | None:
    try:
        slope, intercept = float(item.get("RescaleSlope") or 1), float(item.get("RescaleIntercept") or 0)
    except (TypeError, ValueError):
        return None
    return (slope, intercept) if slope and math.isfinite(slope) and math.isfinite(intercept) else None


def _ct(stored: Frames, ds: pydicom.Dataset, first: tuple[float, float]) -> Iterator[np.ndarray]:
    for index, frame in enumerate(stored):
        slope, intercept = hounsfield(ds, index) or first
        values = np.rint(frame * slope + (intercept - LOWEST_HU))
        if (mask := padding_mask(ds, frame)) is not None:
            values[mask] = 0
        yield np.clip(values, 0, CT_MAX_VAL).astype(np.uint16)[..., np.newaxis]


def _gray(
    path: str | os.PathLike, stored: Frames, ds: pydicom.Dataset, scale: IntensityScaleChooser | None
) -> tuple[Frames, int]:
    lut = modality_lut.mapping(ds)
    pairs = Frames(stored.count, lambda: ((lut(f), padding_mask(ds, f)) for f in stored))
    bits = bits_of(ds)
    is_fixed = bits == 8 and not ds.PixelRepresentation
    needs_limits = not is_fixed or padding_range(ds) is not None
    has_negative_slope = float(rescale_item(ds, 0).get("RescaleSlope") or 1) < 0
    inverted = (ds.PhotometricInterpretation == "MONOCHROME1") != has_negative_slope
    try:
        rescale = None if scale is None or is_fixed else slope_and_intercept(ds)
        scales = (scale, rescale) if rescale else ()
        convert, max_val = to_unsigned(pairs if needs_limits else [], bits, inverted, detector_full_scale(ds), *scales)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Frames(stored.count, lambda: (convert(*p)[..., np.newaxis] for p in pairs)), max_val


def detector_full_scale(ds: pydicom.Dataset) -> int | None:
    """Returns `2**BitsStored - 1`, at least 255, where detectors use that range (up to 12 bits, no MR), else `None`."""
    fixed = ds.BitsStored <= 12 and not ds.PixelRepresentation and ds.get("Modality") != "MR"
    return (1 << max(8, ds.BitsStored)) - 1 if fixed and "ModalityLUTSequence" not in ds else None


def padding_range(ds: pydicom.Dataset) -> tuple[int, int] | None:
    """Returns the lowest and highest stored value of pixel padding (PS3.3 C.7.5.1.1.2), `None` without padding."""
    first = ds.get("PixelPaddingValue")
    if not isinstance(first, int):
        return None
    last = ds.get("PixelPaddingRangeLimit")
    ends = [_as_stored(v, ds) for v in (first, last) if isinstance(v, int)]
    return min(ends), max(ends)


def _as_stored(value: int, ds: pydicom.Dataset) -> int:
    """Returns the pixel value with the bits of `value`: some vendors encode it with the wrong sign."""
    half = 1 << (ds.BitsStored - 1)
    lowest, highest = (-half, half - 1) if ds.PixelRepresentation else (0, 2 * half - 1)
    if lowest <= value <= highest:
        return value
    direction = -1 if ds.PixelRepresentation else 1
    for bits in (16, ds.BitsAllocated, ds.BitsStored):  # of the Data Element, of a pixel cell, and of a sample
        other = value + direction * (1 << bits)
        if (lowest <= other < 0) if ds.PixelRepresentation else (half <= other <= highest):
            return other
    span = 1 << ds.BitsAllocated  # beyond Bits Stored: overlays and unused bits
    if ds.PixelRepresentation:
        return value - span if span // 2 <= value < span else value
    return value + span if -span // 2 <= value < 0 else value


def padding_mask(ds: pydicom.Dataset, frame: np.ndarray) -> np.ndarray | None:
    """Returns a mask that is true where a frame of stored values is padding; `None` without padding."""
    limits = padding_range(ds)
    return None if limits is None else (frame >= limits[0]) & (frame <= limits[1])


__getattr__ = renamed(
    __name__,
    NO_PICTURES="NON_IMAGE_SOP_CLASSES",
    refusal="rejection_reason",
    unsupported="tfmisr.edge.dicom_rules.unsupported_reason",
    units="slope_and_intercept",
    rescale="rescale_item",
    detector_range="detector_full_scale",
    padding="padding_mask",
)
