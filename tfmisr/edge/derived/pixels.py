"""The pixels of a derived image: stored values in, stored values out (D-30 to D-36)."""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pydicom

from tfmisr.edge import dicom, palette
from tfmisr.edge.derived import padding, ranges, reading
from tfmisr.edge.derived.downsampling_consistency import Fidelity, measure
from tfmisr.edge.derived.geometry import Grid, grids
from tfmisr.edge.derived.product import Product
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import Frames, ScaleChooser
from tfmisr.edge.stored_values import StoredImage

_STRIPE = 64  # source rows that are rounded at a time

Upscale = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass
class Pixels:
    """The result of all frames.

    Attributes:
        data: Bytes of Pixel Data (7FE0,0010), native, little endian, padded to even length.
        bits: Bits of a sample where they differ from the source's, as after a palette.
        smallest: Lowest value that is no padding.
        largest: Highest value that is no padding.
        clipped: Number of samples that the upscaler had put outside the stored range.
        fidelity: Difference to the source.
        intensities: Stored values that were 0 and 1 to the upscaler, where they are not the file's own.
    """

    data: bytes = b""
    bits: int | None = None
    smallest: int | None = None
    largest: int | None = None
    clipped: int = 0
    fidelity: Fidelity = Fidelity()
    intensities: str = ""


def _with_padding(ds: pydicom.Dataset, stored: Frames) -> Frames:
    """Returns frames (rows, columns, 1 or 3), color as RGB, each with a mask of padding or `None`."""
    return Frames(stored.count, lambda: (_frame(ds, frame) for frame in stored))


def _frame(ds: pydicom.Dataset, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        return palette.apply(frame, ds), None
    if frame.ndim == 3:
        return frame, None
    return frame[..., np.newaxis], dicom.padding(ds, frame)


def upscale_frames(
    source: StoredImage, upscale: Upscale, product: Product, name: str, scale: ScaleChooser | None = None
) -> Pixels:
    """Decodes, enlarges and rounds frame after frame.

    Args:
        source: The image.
        upscale: Maps float32 (rows, columns, channels) in [0, 1] to `scale` times as many rows and columns.
        product: Scale and convention.
        name: Of the source, for errors.
        scale: `levels.Scale` of the source's series; by default its own.

    Raises:
        InputError: The pixels cannot be decoded, or the upscaler's result is not usable.
    """
    ds, count = source.ds, source.frames.count
    with reading.guarded(name):
        frames = _with_padding(ds, source.frames)
        of_frame = ranges.find(ds, frames, scale)
        decoded = iter(frames)
    result, stream = Pixels(intensities=of_frame[0].note), io.BytesIO()
    for index in range(count):
        with reading.guarded(name):
            frame = next(decoded, None)
            if frame is None:
                raise InputError(f"Pixel Data (7FE0,0010) ends before frame {index + 1} of {count}")
            whole = frame[0] if frame[1] is None else padding.fill(*frame)
            lr, beyond = of_frame[index].to_network(whole)
        # Outside the guard: a mistake in the upscaler is not the file's.
        sr = of_frame[index].to_stored(_checked(upscale(lr), lr, product, name))
        pixels = _stored(ds, frame, sr, beyond, grids(ds, product), result)
        stream.write(np.ascontiguousarray(pixels, _dtype(ds, result)).data)
    if stream.tell() % 2:
        stream.write(b"\0")
    result.data = stream.getvalue()  # shares its memory with the stream
    return result


def _checked(sr: np.ndarray, lr: np.ndarray, product: Product, name: str) -> np.ndarray:
    sr, wanted = np.asarray(sr, np.float32), (*(n * product.scale for n in lr.shape[:2]), lr.shape[2])
    if sr.shape != wanted:
        raise InputError(f"{name}: the upscaler must return the shape {wanted}. Received: {sr.shape}")
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
    """Returns what is stored of a frame; accounts for it in `result`."""
    (stored, mask), limits, there = frame, _stored_range(ds), None
    pixels = _rounded(sr, beyond, axes, limits, result)
    if mask is not None and (padding_limits := dicom.padding_range(ds)) is not None:
        padding.avoid(pixels, padding_limits, limits)
        there = padding.put_back(pixels, stored, mask, axes)
    native = pixels if there is None else pixels[~there]
    if native.size:
        low, high = int(native.min()), int(native.max())
        result.smallest = low if result.smallest is None else min(low, result.smallest)
        result.largest = high if result.largest is None else max(high, result.largest)
    valid = None if mask is None else ~mask
    result.fidelity = result.fidelity.worst(measure(stored, pixels, axes, valid))
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
    """Returns integers within the stored range; counts in `result` what had to be clipped."""
    pixels = np.empty(sr.shape, np.int16 if limits[0] < 0 else np.uint16)
    for start in range(0, sr.shape[0], _STRIPE * axes[0].scale):
        rows = slice(start, start + _STRIPE * axes[0].scale)
        values = np.rint(sr[rows] if beyond is None else sr[rows] + ranges.linear(beyond, axes, rows))
        result.clipped += int(np.count_nonzero((values < limits[0]) | (values > limits[1])))
        pixels[rows] = np.clip(values, *limits)
    return pixels
