"""Upscales the frames of an image: stored values in, stored values out (D-30 to D-36)."""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pydicom

from tfmisr.edge import dicom, dicom_file, palette
from tfmisr.edge.derived import padding, ranges
from tfmisr.edge.derived.downsampling_consistency import Consistency, measure
from tfmisr.edge.derived.geometry import Grid, grids
from tfmisr.edge.derived.product import Product
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Frames, IntensityScaleChooser
from tfmisr.edge.stored_values import StoredImage

_ROWS_AT_ONCE = 64  # source rows that are rounded together


@dataclasses.dataclass(frozen=True)
class LevelUpscaler:
    """An upscaler that takes the rounding of the stored values into account, as the consistency with the input does.

    Attributes:
        function: Maps float32 (rows, columns, channels) in [0, 1], and the number of stored values from 0 to 1, to the
            upscaled image.
        applicability: Called after the last frame: `Product.applicability` of the image; `None`: that of the product.
    """

    function: Callable[[np.ndarray, float], np.ndarray]
    applicability: Callable[[], str] | None = None


Upscale = Callable[[np.ndarray], np.ndarray] | LevelUpscaler


@dataclasses.dataclass
class Pixels:
    """The upscaled frames.

    Attributes:
        data: Bytes of Pixel Data (7FE0,0010), native, little endian, padded to even length.
        bits: Bits per sample where they differ from the source's, as after a palette; else `None`.
        smallest: Lowest value that is not padding.
        largest: Highest value that is not padding.
        clipped: Number of samples that the upscaler returned outside the stored range.
        consistency: Difference between the downsampled result and the source.
        intensities: Stored values that map to 0 and 1, where they are not the file's own; see `Product`.
    """

    data: bytes = b""
    bits: int | None = None
    smallest: int | None = None
    largest: int | None = None
    clipped: int = 0
    consistency: Consistency = Consistency()
    intensities: str = ""


def _with_padding(ds: pydicom.Dataset, stored: Frames) -> Frames:
    """Returns frames (rows, columns, 1 or 3), color as RGB, each with a mask of padding or `None`."""
    return Frames(stored.count, lambda: (_frame(ds, frame) for frame in stored))


def _frame(ds: pydicom.Dataset, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        return palette.apply(frame, ds), None
    if frame.ndim == 3:
        return frame, None
    return frame[..., np.newaxis], dicom.padding_mask(ds, frame)


def upscale_frames(
    source: StoredImage, upscale: Upscale, product: Product, name: str, scale: IntensityScaleChooser | None = None
) -> Pixels:
    """Decodes, upscales and rounds the frames one at a time.

    Args:
        source: The image.
        upscale: Maps float32 (rows, columns, channels) in [0, 1] to `scale` times as many rows and columns; or a
            `LevelUpscaler`.
        product: IntensityScale and convention.
        name: Name of the source in error messages.
        scale: Intensity scale of the source's series; by default its own.

    Raises:
        InputError: The pixels cannot be decoded, or the upscaler's result is not usable.
    """
    ds, count = source.ds, source.frames.count
    with dicom_file.raise_input_errors(name):
        frames = _with_padding(ds, source.frames)
        frame_ranges = ranges.frame_ranges(ds, frames, scale)
        decoded = iter(frames)
    result, stream = Pixels(intensities=frame_ranges[0].note), io.BytesIO()
    for index in range(count):
        with dicom_file.raise_input_errors(name):
            frame = next(decoded, None)
            if frame is None:
                raise InputError(f"Pixel Data (7FE0,0010) ends before frame {index + 1} of {count}")
            image = frame[0] if frame[1] is None else padding.extrapolate(*frame)
            lr, beyond = frame_ranges[index].to_network(image)
        # Outside of raise_input_errors: an exception of the upscaler is not an error of the file.
        levels = abs(frame_ranges[index].span)
        sr = upscale.function(lr, levels) if isinstance(upscale, LevelUpscaler) else upscale(lr)
        sr = frame_ranges[index].to_stored(_checked(sr, lr, product, name))
        pixels = _stored(ds, frame, sr, beyond, grids(ds, product), result)
        stream.write(np.ascontiguousarray(pixels, _dtype(ds, result)).data)
    if stream.tell() % 2:
        stream.write(b"\0")
    result.data = stream.getvalue()  # shares its memory with the stream
    return result


def _checked(sr: np.ndarray, lr: np.ndarray, product: Product, name: str) -> np.ndarray:
    sr, expected = np.asarray(sr, np.float32), (*(n * product.scale for n in lr.shape[:2]), lr.shape[2])
    if sr.shape != expected:
        raise InputError(f"{name}: the upscaler must return the shape {expected}. Received: {sr.shape}")
    if not np.isfinite(sr).all():
        raise InputError(f"{name}: the upscaler returned values that are not finite")
    return sr


def _stored(
    ds: pydicom.Dataset,
    frame: tuple[np.ndarray, np.ndarray | None],
    sr: np.ndarray,
    beyond: np.ndarray | None,
    axes: tuple[Grid, Grid],
    result: Pixels,
) -> np.ndarray:
    """Returns the stored values of an upscaled frame; updates the statistics in `result`."""
    (stored, mask), limits, result_mask = frame, _stored_range(ds), None
    pixels = _rounded(sr, beyond, axes, limits, result)
    if mask is not None and (padding_limits := dicom.padding_range(ds)) is not None:
        padding.avoid_padding_values(pixels, padding_limits, limits)
        result_mask = padding.restore(pixels, stored, mask, axes)
    native = pixels if result_mask is None else pixels[~result_mask]
    if native.size:
        low, high = int(native.min()), int(native.max())
        result.smallest = low if result.smallest is None else min(low, result.smallest)
        result.largest = high if result.largest is None else max(high, result.largest)
    valid = None if mask is None else ~mask
    result.consistency = result.consistency.worst(measure(stored, pixels, axes, valid))
    return pixels


def _is_palette(ds: pydicom.Dataset) -> bool:
    return ds.PhotometricInterpretation == "PALETTE COLOR"


def _stored_range(ds: pydicom.Dataset) -> tuple[int, int]:
    if _is_palette(ds):
        return 0, (1 << dicom.bits_of(ds)) - 1
    if ds.PixelRepresentation:
        return -(1 << (ds.BitsStored - 1)), (1 << (ds.BitsStored - 1)) - 1
    return 0, (1 << ds.BitsStored) - 1


def _dtype(ds: pydicom.Dataset, result: Pixels) -> str:
    if _is_palette(ds):
        result.bits = dicom.bits_of(ds)
        return f"<u{result.bits // 8}"
    return f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}"


def _rounded(
    sr: np.ndarray, beyond: np.ndarray | None, axes: tuple[Grid, Grid], limits: tuple[int, int], result: Pixels
) -> np.ndarray:
    """Returns integers within the stored range; adds the number of clipped samples to `result`."""
    pixels = np.empty(sr.shape, np.int16 if limits[0] < 0 else np.uint16)
    for start in range(0, sr.shape[0], _ROWS_AT_ONCE * axes[0].scale):
        rows = slice(start, start + _ROWS_AT_ONCE * axes[0].scale)
        values = np.rint(sr[rows] if beyond is None else sr[rows] + ranges.linear(beyond, axes, rows))
        result.clipped += int(np.count_nonzero((values < limits[0]) | (values > limits[1])))
        pixels[rows] = np.clip(values, *limits)
    return pixels
