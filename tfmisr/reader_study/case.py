"""One case of a study: the stored values of its image, what a network gets of them, and how they are displayed."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import pydicom

from tfmisr.degradations import crop_to_multiple
from tfmisr.edge import dicom, dicom_file, images, stored_values
from tfmisr.edge.derived import padding, ranges
from tfmisr.edge.derived.ranges import Range
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Frames, IntensityScale
from tfmisr.reader_study.windowing import CT_PRESETS, FUNCTIONS, LINEAR, Preset, Window

# Percentiles that the initial window spans for an image without a window in its header.
_WINDOW_PERCENTILES = (0.1, 99.9)


@dataclasses.dataclass(frozen=True)
class Case:
    """One image at full resolution. No field identifies the patient.

    Attributes:
        pixels: int32 array (height, width) of stored values; both sides are multiples of the scale.
        limits: Lowest and highest value that Bits Stored and Pixel Representation allow.
        range: Mapping from stored values to a network's [0, 1] and back.
        window: Initial window, the same for all arms.
        slope: Rescale Slope (0028,1053), for the window.
        intercept: Rescale Intercept (0028,1052), for the window.
        inverted: Whether low values are displayed bright: MONOCHROME1.
        padding: Lowest and highest stored value that are Pixel Padding, or `None`.
        levels: Low-resolution images are rounded to multiples of 1 / `levels`.
        source: SHA-256 of the file, or of the dataset's name, split and image id.
        presets: Further windows to choose from, the same for all arms.
    """

    pixels: np.ndarray
    limits: tuple[int, int]
    range: Range
    window: Window
    slope: float
    intercept: float
    inverted: bool
    padding: tuple[int, int] | None
    levels: int
    source: str
    presets: tuple[Preset, ...] = ()

    @property
    def mask(self) -> np.ndarray:
        """Boolean array (height, width): whether a pixel is Pixel Padding."""
        if self.padding is None:
            return np.zeros(self.pixels.shape, bool)
        return (self.pixels >= self.padding[0]) & (self.pixels <= self.padding[1])

    def to_network(self) -> np.ndarray:
        """Returns the network's input: float32 (height, width, 1) in [0, 1], extrapolated into the padding."""
        stored = self.pixels[..., None]
        if self.padding is not None:
            stored = padding.extrapolate(stored, self.mask)
        return self.range.to_network(stored)[0]

    def to_stored(self, image: np.ndarray) -> np.ndarray:
        """Returns the stored values of a network's output.

        Args:
            image: Array (height, width, 1), clipped to [0, 1].

        Returns:
            int32 array (height, width); this image's padding pixels are kept, and no other pixel is padding.
        """
        stored = np.rint(self.range.to_stored(np.clip(image[..., 0], 0, 1)))
        stored = np.clip(stored, *self.limits).astype(np.int32)
        if self.padding is not None:
            padding.avoid_padding_values(stored, self.padding, self.limits)
            stored[self.mask] = self.pixels[self.mask]
        return stored


def from_array(pixels: np.ndarray, max_val: int, scale: int, source: bytes) -> Case:
    """Returns the case of an array of unsigned pixels.

    Args:
        pixels: Array (height, width).
        max_val: Value that is 1.0 to a network.
        scale: Upsampling factor; the image is cropped to a multiple of it.
        source: Bytes that identify the source, for `Case.source`.

    Raises:
        InputError: A side is shorter than 16 or longer than 8192 pixels.
    """
    pixels = crop_to_multiple(pixels, scale).astype(np.int32)
    return Case(
        pixels=_checked_size(pixels),
        limits=(0, max_val),
        range=Range(0, max_val),
        window=_percentile_window(pixels),
        slope=1.0,
        intercept=0.0,
        inverted=False,
        padding=None,
        levels=max_val,
        source=hashlib.sha256(source).hexdigest(),
        presets=(_full_range(pixels),),
    )


def read_file(path: str | os.PathLike, scale: int, intensities: IntensityScale | None = None) -> Case:
    """Returns the case of one image file.

    Args:
        path: DICOM, PNG, TIFF or JPEG file with a single gray image.
        scale: Upsampling factor; the image is cropped to a multiple of it.
        intensities: Intensity scale of the file's series; by default that of the file.

    Raises:
        InputError: The image cannot be displayed: color, several frames, a Modality LUT, more than 16 bits, or Burned
            In Annotation YES.
    """
    content = pathlib.Path(path).read_bytes()
    if images.detect_format(path) == "DICOM":
        return _read_dicom(path, scale, content, intensities)
    frames = images.read_images(path, intensities)
    if len(frames) > 1 or frames[0].pixels.shape[-1] != 1:
        raise InputError(f"{path}: expected a single gray image")
    return from_array(frames[0].pixels[..., 0], frames[0].max_val, scale, content)


def _read_dicom(path: str | os.PathLike, scale: int, content: bytes, intensities: IntensityScale | None) -> Case:
    with dicom_file.raise_input_errors(path):
        ds = dicom_file.load(path)
        if reason := dicom.rejection_reason(ds) or dicom.unsupported_reason(ds) or _reason_not_displayable(ds):
            raise InputError(reason)
        image = stored_values.read(ds)
        ds, (pixels,) = image.ds, image.frames
        mask = dicom.padding_mask(ds, pixels)
        intensity_range = ranges.frame_ranges(ds, Frames(1, lambda: iter([(pixels, mask)])), intensities)[0]
        pixels = _checked_size(crop_to_multiple(pixels, scale).astype(np.int32))
        item = dicom.rescale_item(ds, 0)
        slope, intercept = float(item.get("RescaleSlope") or 1), float(item.get("RescaleIntercept") or 0)
        limits = _limits(ds)
        values = (pixels if mask is None else pixels[~crop_to_multiple(mask, scale)]) * slope + intercept
        windows = _header_windows(ds, item)
        return Case(
            pixels=pixels,
            limits=limits,
            range=intensity_range,
            window=windows[0] if windows else _percentile_window(values),
            slope=slope,
            intercept=intercept,
            inverted=ds.PhotometricInterpretation == "MONOCHROME1",
            padding=dicom.padding_range(ds),
            levels=max(1, round(abs(intensity_range.span))),
            source=hashlib.sha256(content).hexdigest(),
            presets=_presets(ds, item, windows, values),
        )


def _reason_not_displayable(ds: pydicom.Dataset) -> str | None:
    if ds.PhotometricInterpretation not in dicom.GRAY:
        return "expected a gray image for a reader study"
    if int(ds.get("NumberOfFrames") or 1) > 1:
        return "expected a single frame for a reader study; write one frame to a separate file"
    if "ModalityLUTSequence" in ds:
        return "a Modality LUT Sequence (0028,3000) is not supported in a reader study"
    if ds.BitsStored > 16:
        return "expected at most 16 Bits Stored (0028,0101) for a reader study"
    if ds.get("BurnedInAnnotation") == "YES":
        return (
            "Burned In Annotation (0028,0301) is YES: readers would see the text in the pixels, perhaps a patient's "
            "name; mask it and set the attribute to NO"
        )
    return None


def _limits(ds: pydicom.Dataset) -> tuple[int, int]:
    low = -(1 << ds.BitsStored - 1) if ds.PixelRepresentation else 0
    return low, low + (1 << ds.BitsStored) - 1


def _header_windows(ds: pydicom.Dataset, item: pydicom.Dataset) -> list[Window]:
    """Returns the valid windows of the header, the first one first; none if the first is missing or invalid."""
    for holder in (*_functional_group(ds), ds):
        centers, widths = (_numbers(holder.get(name)) for name in ("WindowCenter", "WindowWidth"))
        function = str(holder.get("VOILUTFunction") or LINEAR)
        function = function if function in FUNCTIONS else LINEAR
        windows = [Window(center, width, function) for center, width in zip(centers, widths, strict=False)]
        if windows and _is_valid(windows[0]):
            return list(filter(_is_valid, windows))
    return []


def _numbers(value: object) -> list[float]:
    if value is None or not str(value).strip():
        return []
    return [float(number) for number in ([value] if isinstance(value, (int, float, str)) else value)]


def _is_valid(window: Window) -> bool:
    smallest = window.width >= 1 if window.function == LINEAR else window.width > 0
    return bool(smallest and np.isfinite((window.center, window.width)).all())


def _presets(
    ds: pydicom.Dataset, item: pydicom.Dataset, windows: list[Window], values: np.ndarray
) -> tuple[Preset, ...]:
    """Returns the header's further windows, the usual ones of CT, and the full range of the image.

    Window Explanation (0028,1055) is free text, in which a name may stand, and is left out.
    """
    named = [Preset(f"window {n}", window.center, window.width) for n, window in enumerate(windows[1:], 2)]
    is_ct = ds.get("Modality") == "CT" and str(item.get("RescaleType") or ds.get("RescaleType") or "HU") == "HU"
    return (*named, *(CT_PRESETS if is_ct else ()), _full_range(values))


def _full_range(values: np.ndarray) -> Preset:
    window = _percentile_window(values, (0, 100))
    return Preset("full range", window.center, window.width)


def _functional_group(ds: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """Yields the Frame VOI LUT items of an enhanced object (PS3.3 C.7.6.16.2.10)."""
    for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in (ds.get(name) or [])[:1]:
            yield from (group.get("FrameVOILUTSequence") or [])[:1]


def _percentile_window(values: np.ndarray, percentiles: tuple[float, float] = _WINDOW_PERCENTILES) -> Window:
    """Returns the window between two percentiles of the full-resolution image."""
    low, high = (float(v) for v in np.percentile(values, percentiles)) if values.size else (0.0, 1.0)
    low, high = np.floor(low), np.ceil(high)
    # The LINEAR function maps `low` to the lowest and `high` to the highest display value.
    return Window((low + high + 1) / 2, max(high - low + 1, 2.0))


def _checked_size(pixels: np.ndarray) -> np.ndarray:
    if min(pixels.shape) < 16 or max(pixels.shape) > 8192:
        raise InputError(f"image sides must be 16 to 8192 pixels. Received: {pixels.shape}")
    return pixels
