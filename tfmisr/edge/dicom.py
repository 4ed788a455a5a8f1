"""DICOM pixels as unsigned integers, for training and viewing; of the header only sizes get out.

What the values mean:

* CT in Hounsfield units: `HU + 1024`, clipped to [0, 4095], `max_val` 4095, so that all scanners
  agree. The clipping (padding lies below -1024 HU, metal above 3071 HU) is for training and viewing
  only.
* Any other gray image: the stored values, or what a Modality LUT Sequence makes of them. Rescale
  Slope (0028,1053) and Intercept (0028,1052) are left out: they would only round the levels, except
  that a negative slope inverts, and that slices of a series with different slopes, as of PET, are
  brought to the largest one. Negative values are shifted up so that the lowest becomes 0.
  `max_val` is that of Bits Stored (0028,0101) up to 12 bits, which detectors fill. Of MR, whose
  unit is arbitrary, and of more bits, it is `levels.full_scale` of the file, or of its series where
  that is given (`tfmisr.edge.series`). No level is lost where the slopes of a series are equal, and
  no image is stretched by anything but a power of two.
* Colour: RGB.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pydicom
from pydicom import uid

from tfmisr.edge import dicom_file, palette, stored_values
from tfmisr.edge.dicom_file import silent
from tfmisr.edge.dicom_rules import GRAY, unsupported
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Frames, ScaleChooser, to_unsigned

LOWEST_HU, CT_MAX_VAL = -1024, 4095

# Objects with Pixel Data (7FE0,0010) whose pixels are not brightness.
NO_PICTURES = (
    uid.RTDoseStorage,
    uid.SegmentationStorage,
    uid.UID("1.2.840.10008.5.1.4.1.1.66.7"),  # Label Map Segmentation
    uid.ParametricMapStorage,
    uid.VLWholeSlideMicroscopyImageStorage,
)


def read_header(path: str | os.PathLike) -> pydicom.Dataset:
    """Returns the data set without its pixels.

    Raises:
        InputError: The file is no DICOM file, or is broken.
    """
    with _decoding(path, "not a readable DICOM file"):
        ds = dicom_file.read_header(path)
        ds.get("SOPClassUID"), ds.get("Rows"), ds.get("NumberOfFrames")
    return ds


def refusal(ds: pydicom.Dataset) -> str | None:
    """Returns why an object is no image for this package, or `None` if it is one."""
    kind = uid.UID(str(ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID") or ""))
    # A broken file may have anything in its place, the patient's name included: only known words are repeated.
    name = kind.name if kind in uid.UID_dictionary else "the object"
    if kind in NO_PICTURES:
        return f"{name} holds no brightness to upscale"
    if not ds.get("Rows") or not ds.get("Columns"):
        return f"{name} holds no image"
    if "PixelRepresentation" not in ds:
        return "no integer Pixel Data (7FE0,0010); float pixel data are not supported"
    return None


def bits_of(ds: pydicom.Dataset) -> int:
    """Returns 8 or 16: the bits that the images of a data set are given in."""
    if "ModalityLUTSequence" in ds:
        stored = max(ds.ModalityLUTSequence[0].LUTDescriptor[2], int(_lut_table(ds).max()).bit_length())
    elif ds.PhotometricInterpretation == "PALETTE COLOR":
        stored = 8 * palette.table(ds).itemsize
    else:
        stored = ds.BitsStored
    return 8 if stored <= 8 and hounsfield(ds, 0) is None else 16


def channels_of(ds: pydicom.Dataset) -> int:
    """Returns 1 or 3: how many channels are stored, before equal ones are found."""
    return 1 if ds.PhotometricInterpretation in GRAY else 3


def read_frames(path: str | os.PathLike, scale: ScaleChooser | None = None) -> tuple[Frames, int]:
    """Reads the frames of a DICOM image.

    Args:
        path: A file; its content, not its name, says that it is DICOM.
        scale: `levels.Scale` of its series, where neither header nor modality fixes it; by default the file's own.

    Returns:
        The frames, uint8 or uint16 of shape (height, width, 1 or 3), and `max_val`. Bones are
        bright in a radiograph of either polarity, pixel padding is as dark as the darkest pixel,
        and overlay bits are gone.

    Raises:
        InputError: An object that is no image, or one that cannot be decoded.
    """
    with _decoding(path, "not a readable DICOM image"):
        image = _stored_image(path)
        ds, count = image.ds, image.frames.count
        stored = Frames(count, lambda: _guarded(path, image.frames))
        if ds.PhotometricInterpretation not in GRAY:
            return _colour(stored, ds, scale)
        if (first := hounsfield(ds, 0)) is not None:
            return Frames(count, lambda: _ct(stored, ds, first)), CT_MAX_VAL
        return _gray(path, stored, ds, scale)


def _stored_image(path: str | os.PathLike) -> stored_values.StoredImage:
    try:
        ds = dicom_file.load(path)
        if reason := refusal(ds) or unsupported(ds):
            raise InputError(reason)
        return stored_values.read(ds)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _guarded(path: str | os.PathLike, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields frames; errors while they are decoded name the file."""
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
        with silent():
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"{path}: {what}, or broken ({type(error).__name__})") from None


def _colour(stored: Frames, ds: pydicom.Dataset, scale: ScaleChooser | None) -> tuple[Frames, int]:
    bits = bits_of(ds)

    def rgb(frame: np.ndarray) -> np.ndarray:
        return palette.apply(frame, ds) if ds.PhotometricInterpretation == "PALETTE COLOR" else frame

    scale = None if bits == 8 else scale
    _, max_val = to_unsigned([] if bits == 8 else ((rgb(f), None) for f in stored), bits, scale=scale)
    dtype = np.uint8 if bits == 8 else np.uint16
    return Frames(stored.count, lambda: (rgb(f).astype(dtype) for f in stored)), max_val


def hounsfield(ds: pydicom.Dataset, frame: int) -> tuple[float, float] | None:
    """Returns (slope, intercept) of a CT frame in Hounsfield units, otherwise `None`."""
    if ds.get("Modality") != "CT" or channels_of(ds) != 1 or "ModalityLUTSequence" in ds:
        return None
    item = rescale(ds, frame)
    if item.get("RescaleIntercept") is None or not item.get("RescaleSlope"):
        return None
    # Rescale Type (0028,1054) is misspelt by some, and absent where it is HU (PS3.3 C.8.2.1).
    kind = str(item.get("RescaleType") or "HU").strip().upper()
    if not kind.startswith(("HU", "HO")):
        return None
    return float(item.RescaleSlope), float(item.RescaleIntercept)


def rescale(ds: pydicom.Dataset, frame: int) -> pydicom.Dataset:
    """Returns what holds Rescale Slope: a functional group in enhanced objects (C.7.6.16)."""
    per_frame = ds.get("PerFrameFunctionalGroupsSequence") or []
    shared = ds.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared):
        if transformation := group.get("PixelValueTransformationSequence"):
            return transformation[0]
    return ds


def units(ds: pydicom.Dataset) -> tuple[float, float] | None:
    """Returns Rescale Slope and Intercept of gray values, (1, 0) without.

    `None` where the frames differ or an element is broken: such a file is compared with no other.
    """
    if channels_of(ds) != 1 or "ModalityLUTSequence" in ds:
        return 1.0, 0.0
    items = {id(item): item for item in (rescale(ds, frame) for frame in range(int(ds.get("NumberOfFrames") or 1)))}
    found = {_slope_and_intercept(item) for item in items.values()}
    return found.pop() if len(found) == 1 else None


def _slope_and_intercept(item: pydicom.Dataset) -> tuple[float, float] | None:
    try:
        slope, intercept = float(item.get("RescaleSlope") or 1), float(item.get("RescaleIntercept") or 0)
    except (TypeError, ValueError):
        return None
    return (slope, intercept) if slope and math.isfinite(slope) and math.isfinite(intercept) else None


def _ct(stored: Frames, ds: pydicom.Dataset, first: tuple[float, float]) -> Iterator[np.ndarray]:
    for index, frame in enumerate(stored):
        slope, intercept = hounsfield(ds, index) or first
        values = np.rint(frame * slope + (intercept - LOWEST_HU))
        if (mask := padding(ds, frame)) is not None:
            values[mask] = 0
        yield np.clip(values, 0, CT_MAX_VAL).astype(np.uint16)[..., np.newaxis]


def _gray(
    path: str | os.PathLike, stored: Frames, ds: pydicom.Dataset, scale: ScaleChooser | None
) -> tuple[Frames, int]:
    lut = _modality_lut(ds)
    pairs = Frames(stored.count, lambda: ((lut(f), padding(ds, f)) for f in stored))
    bits = bits_of(ds)
    full = bits == 8 and not ds.PixelRepresentation
    plain = full and padding_range(ds) is None
    falling = float(rescale(ds, 0).get("RescaleSlope") or 1) < 0
    inverted = (ds.PhotometricInterpretation == "MONOCHROME1") != falling
    try:
        own = None if scale is None or full else units(ds)
        scales = (scale, own) if own else ()
        convert, max_val = to_unsigned([] if plain else pairs, bits, inverted, detector_range(ds), *scales)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Frames(stored.count, lambda: (convert(*p)[..., np.newaxis] for p in pairs)), max_val


def detector_range(ds: pydicom.Dataset) -> int | None:
    """Returns the full-scale value that Bits Stored (0028,0101) says, where detectors fill it, else `None`."""
    fixed = ds.BitsStored <= 12 and not ds.PixelRepresentation and ds.get("Modality") != "MR"
    return (1 << max(8, ds.BitsStored)) - 1 if fixed and "ModalityLUTSequence" not in ds else None


def _modality_lut(ds: pydicom.Dataset) -> Callable[[np.ndarray], np.ndarray]:
    # pydicom's apply_modality_lut overflows where a signed 16-bit table starts below 0.
    if "ModalityLUTSequence" not in ds:
        return lambda frame: frame
    table, first = _lut_table(ds), ds.ModalityLUTSequence[0].LUTDescriptor[1] % 65536
    if ds.PixelRepresentation and first > 32767:  # the sign is the pixels', whichever value representation it has
        first -= 65536
    return lambda frame: table[np.clip(frame.astype(np.int32) - first, 0, len(table) - 1)]


def _lut_table(ds: pydicom.Dataset) -> np.ndarray:
    """Returns the entries of a Modality LUT Sequence that `dicom_rules` accepts."""
    item = ds.ModalityLUTSequence[0]
    entries, data = item.LUTDescriptor[0] % 65536 or 65536, item.LUTData
    if isinstance(data, bytes):
        little = ds.file_meta.TransferSyntaxUID != uid.ExplicitVRBigEndian
        data = np.frombuffer(data[: 2 * entries], "<u2" if little else ">u2")
    return np.atleast_1d(data).astype(np.uint16)[:entries]


def padding_range(ds: pydicom.Dataset) -> tuple[int, int] | None:
    """Returns the lowest and highest stored value that mean "no image here" (PS3.3 C.7.5.1.1.2)."""
    first = ds.get("PixelPaddingValue")
    if not isinstance(first, int):
        return None
    last = ds.get("PixelPaddingRangeLimit")
    ends = [_as_stored(v, ds) for v in (first, last) if isinstance(v, int)]
    return min(ends), max(ends)


def _as_stored(value: int, ds: pydicom.Dataset) -> int:
    """Returns the pixel value with the bits of `value`, which some write as signed where pixels are not, or not."""
    half = 1 << (ds.BitsStored - 1)
    lowest, highest = (-half, half - 1) if ds.PixelRepresentation else (0, 2 * half - 1)
    if lowest <= value <= highest:
        return value
    turn = -1 if ds.PixelRepresentation else 1
    for bits in (16, ds.BitsAllocated, ds.BitsStored):  # of the element, which has 16, of a cell, and of a sample
        other = value + turn * (1 << bits)
        if (lowest <= other < 0) if ds.PixelRepresentation else (half <= other <= highest):
            return other
    whole = 1 << ds.BitsAllocated  # beyond Bits Stored, where overlays and bits of no meaning are
    if ds.PixelRepresentation:
        return value - whole if whole // 2 <= value < whole else value
    return value + whole if -whole // 2 <= value < 0 else value


def padding(ds: pydicom.Dataset, frame: np.ndarray) -> np.ndarray | None:
    """Returns where a frame of stored values is padding, as a mask, or `None` where it has none."""
    limits = padding_range(ds)
    return None if limits is None else (frame >= limits[0]) & (frame <= limits[1])
