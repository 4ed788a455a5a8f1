"""Maps the gray levels of a file to unsigned integers with a known full scale, the same for all its frames."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

MAX_PIXELS = 2**27  # of one frame; the largest mammograms have 2**25


class Frames:
    """An iterable over frames that can be iterated several times; a single frame is decoded once and cached.

    Args:
        count: Number of frames.
        decode: Returns an iterator of decoded frames; called for each iteration if there are several frames.
        offset: For a signed file, the value to add to the frames to obtain the file's values; `None` for an
            unsigned file.
    """

    def __init__(self, count: int, decode: Callable[[], Iterator], offset: int | None = None) -> None:
        self.count, self.offset = count, offset
        self._decode = decode
        self._cached = list(decode()) if count == 1 else None

    def __iter__(self) -> Iterator:
        return iter(self._cached) if self._cached is not None else self._decode()


def full_scale(highest: int) -> int:
    """Returns the smallest `2**k - 1`, k >= 8, that is not below `highest`.

    This is the `max_val` of 16-bit images that use only part of the range, as most MR images do. With 65535, such an
    image would be nearly black for a network, and its PSNR would be 24 dB too high at 12 bits.
    """
    return (1 << max(8, int(highest).bit_length())) - 1


@dataclasses.dataclass(frozen=True)
class IntensityScale:
    """The values that map to 0 and 1 for a network, of one file or of all files of a series.

    Attributes:
        shift: The value that maps to 0; at most 0.
        max_val: `shift + max_val` maps to 1.
        slope: Rescale Slope (0028,1053) of these values. Values of a file with another slope, as in PET, are converted:
            `(file slope * value + file intercept - intercept) / slope`.
        intercept: Rescale Intercept (0028,1052) of these values.
    """

    shift: int
    max_val: int
    slope: float = 1.0
    intercept: float = 0.0

    def conversion(self, rescale: tuple[float, float]) -> tuple[float, float]:
        """Returns (gain, offset): `gain * value + offset` converts values of a file with this slope and intercept."""
        slope, intercept = rescale
        return slope / self.slope, (intercept - self.intercept) / self.slope

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Returns values in the unit of the source (after Rescale Slope and Intercept) on the scale of a network.

        Args:
            values: Of any shape; `shift` and `shift + max_val` of the scale become 0 and 1, without clipping.

        Returns:
            float32.
        """
        low = self.slope * self.shift + self.intercept
        return ((values - np.float32(low)) / np.float32(self.slope * self.max_val)).astype(np.float32, copy=False)

    def from_unit(self, fractions: np.ndarray) -> np.ndarray:
        """Returns float32 values in the unit of the source from those of `to_unit`."""
        low = self.slope * self.shift + self.intercept
        return (fractions * np.float32(self.slope * self.max_val) + np.float32(low)).astype(np.float32, copy=False)

    def choose(self, lowest: int, highest: int, rescale: tuple[float, float]) -> "IntensityScale":
        """Returns this scale, after checking that it covers the file.

        Args:
            lowest: Lowest value of the file.
            highest: Highest value of the file.
            rescale: Rescale Slope and Intercept of the file.

        Raises:
            InputError: The scale does not cover the values, or the file's slope has the opposite sign.
        """
        gain, offset = self.conversion(rescale)
        if gain < 0:
            raise InputError("Rescale Slope (0028,1053) has a different sign than in its series; upscale it separately")
        low, high = gain * lowest + offset, gain * highest + offset
        if low < self.shift - 0.5 or high >= self.shift + self.max_val + 0.5:
            raise InputError(
                f"the values go from {low:.6g} to {high:.6g}, beyond the scale of the series, "
                f"{self.shift} to {self.shift + self.max_val}, which was determined without this file: "
                "upscale the whole series again, into another folder"
            )
        return self


class IntensityScaleChooser(Protocol):
    """Chooses the intensity scale of a file by its limits: an `IntensityScale`, or a `series.Survey`."""

    def choose(self, lowest: int, highest: int, rescale: tuple[float, float]) -> IntensityScale:
        """Returns the scale of a file with these limits and this Rescale Slope and Intercept."""


def scale_for_limits(lowest: int, highest: int, rescale: tuple[float, float] = (1.0, 0.0)) -> IntensityScale:
    """Returns the scale of a file, or of a series, from its lowest and highest value.

    Raises:
        InputError: The values do not fit 16 bits.
    """
    shift = min(lowest, 0)
    if highest - shift > 65535:
        raise InputError(f"values must fit 16 bits. Received: {lowest} to {highest}")
    return IntensityScale(shift, full_scale(highest - shift), *rescale)


def to_unsigned(
    frames: Iterable,
    bits: int,
    inverted: bool = False,
    max_val: int | None = None,
    scale: IntensityScaleChooser | None = None,
    rescale: tuple[float, float] = (1.0, 0.0),
) -> tuple[Callable[..., np.ndarray], int]:
    """Returns the mapping from the integers of a file to unsigned integers, the same for all its frames.

    Args:
        frames: Pairs of an integer array and a padding mask (true where there is no image) or `None`.
        bits: Up to 8 gives uint8, more gives uint16.
        inverted: The lowest value is the brightest.
        max_val: Full-scale value; by default determined from the frames.
        scale: Used without `max_val`; by default determined from the frames.
        rescale: Rescale Slope and Intercept of the file.

    Returns:
        The mapping, a function of array and mask, and `max_val`.

    Raises:
        InputError: The values do not fit 16 bits, or not the scale.
    """
    valid = (values if mask is None else values[~mask] for values, mask in frames)
    limits = [int(limit) for v in valid if v.size for limit in (v.min(), v.max())]
    lowest, highest = min(limits, default=0), max(limits, default=0)
    file_scale = scale_for_limits(lowest, highest, rescale)
    used = file_scale if scale is None or max_val is not None else scale.choose(lowest, highest, rescale)
    shift, (gain, offset) = used.shift, used.conversion(rescale)
    if max_val is None or max_val < highest - shift:
        max_val = 255 if bits <= 8 else used.max_val
    dtype = np.uint8 if bits <= 8 else np.uint16
    black = highest if inverted else lowest

    def convert(values: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        values = values.astype(np.int64)
        if mask is not None:
            values[mask] = black
        if (gain, offset) != (1.0, 0.0):
            values = np.rint(values * gain + offset).astype(np.int64)
        values -= shift
        return (max_val - values if inverted else values).astype(dtype)

    return convert, max_val


def drop_alpha(pixels: np.ndarray) -> np.ndarray:
    """Returns (height, width, 1 or 3) from an array with or without an alpha channel.

    A constant alpha channel is dropped. A varying one is composited over black, so that what its author has hidden,
    perhaps a name, stays hidden.
    """
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    if pixels.shape[-1] in (1, 3):
        return pixels
    color, alpha = pixels[..., :-1], pixels[..., -1:]
    return color if alpha.min() == alpha.max() else over_black(color, alpha)


def over_black(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Returns the color composited over black by its unassociated alpha; both are unsigned integers of one dtype."""
    return np.rint(color * (alpha / np.iinfo(color.dtype).max)).astype(color.dtype)


def apply_exif_orientation(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """Returns the image flipped and rotated according to the Orientation tag (274) of EXIF and TIFF."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


__getattr__ = renamed(
    __name__,
    Scale="IntensityScale",
    own_scale="scale_for_limits",
    upright="apply_exif_orientation",
    without_alpha="drop_alpha",
)
