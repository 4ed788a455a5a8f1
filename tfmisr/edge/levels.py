"""From the integers of any file to unsigned ones with a full scale, alike for all its frames."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

MAX_PIXELS = 2**27  # of one frame; the largest mammograms have 2**25


class Frames:
    """Frames that can be gone through again; a single one is decoded once.

    Args:
        count: Number of frames.
        decode: Starts decoding; called anew for each way through several frames.
        offset: Of a signed file, what is added to the frames' values to give the file's own; `None`
            for an unsigned one.
    """

    def __init__(self, count: int, decode: Callable[[], Iterator], offset: int | None = None) -> None:
        self.count, self.offset = count, offset
        self._decode = decode
        self._kept = list(decode()) if count == 1 else None

    def __iter__(self) -> Iterator:
        return iter(self._kept) if self._kept is not None else self._decode()


def full_scale(highest: int) -> int:
    """Returns the smallest `2**k - 1`, k >= 8, that is not below `highest`.

    The `max_val` of images in 16 bits that use only some of them, as most MR do: 65535 would leave
    such an image nearly black to a network, and would flatter its PSNR by 24 dB at 12 bits.
    """
    return (1 << max(8, int(highest).bit_length())) - 1


@dataclasses.dataclass(frozen=True)
class Scale:
    """Which values are 0 and 1 to a network: those of one file, or one pair for all files of a series.

    Attributes:
        shift: The value that becomes 0; never above 0.
        max_val: `shift + max_val` becomes 1.
        slope: Rescale Slope (0028,1053) that these values are in units of. The values of a file of another slope,
            as slices of PET have, are converted: `(own slope * value + own intercept - intercept) / slope`.
        intercept: Rescale Intercept (0028,1052) of the same units.
    """

    shift: int
    max_val: int
    slope: float = 1.0
    intercept: float = 0.0

    def units(self, rescale: tuple[float, float]) -> tuple[float, float]:
        """Returns (gain, offset): `gain * value + offset` converts a file of this slope and intercept."""
        slope, intercept = rescale
        return slope / self.slope, (intercept - self.intercept) / self.slope

    def choose(self, lowest: int, highest: int, rescale: tuple[float, float]) -> "Scale":
        """Returns the scale of a file with these limits: this one.

        Raises:
            InputError: It does not cover the file, or brightness runs the other way there.
        """
        gain, offset = self.units(rescale)
        if gain < 0:
            raise InputError("Rescale Slope (0028,1053) has another sign than in its series; enlarge it apart")
        low, high = gain * lowest + offset, gain * highest + offset
        if low < self.shift - 0.5 or high >= self.shift + self.max_val + 0.5:
            raise InputError(
                f"the values go from {low:.6g} to {high:.6g}, beyond the scale of the series, "
                f"{self.shift} to {self.shift + self.max_val}; it was found without this file: "
                "enlarge the whole series anew, into another folder"
            )
        return self


class ScaleChooser(Protocol):
    """Chooses the intensity scale of a file by its lowest and highest value: a `Scale`, or a `series.Survey`."""

    def choose(self, lowest: int, highest: int, rescale: tuple[float, float]) -> Scale:
        """Returns the scale of a file with these limits and this Rescale Slope and Intercept."""


def own_scale(lowest: int, highest: int, rescale: tuple[float, float] = (1.0, 0.0)) -> Scale:
    """Returns the scale of a file, or of a series, by its limits alone.

    Raises:
        InputError: The values do not fit 16 bits.
    """
    shift = min(lowest, 0)
    if highest - shift > 65535:
        raise InputError(f"values must fit 16 bits. Received: {lowest} to {highest}")
    return Scale(shift, full_scale(highest - shift), *rescale)


def to_unsigned(
    frames: Iterable,
    bits: int,
    inverted: bool = False,
    max_val: int | None = None,
    scale: ScaleChooser | None = None,
    rescale: tuple[float, float] = (1.0, 0.0),
) -> tuple[Callable[..., np.ndarray], int]:
    """Finds the map from the integers of a file to unsigned ones, the same for all its frames.

    Args:
        frames: Pairs of an integer array and a mask, true where there is no image, or `None`.
        bits: Up to 8 gives uint8, more gives uint16.
        inverted: The lowest value is the brightest.
        max_val: Value of full brightness; found in the frames by default.
        scale: Where `max_val` is not given: a `Scale`, or another object with its `choose`; by default the frames' own.
        rescale: Rescale Slope and Intercept of the file.

    Returns:
        The map, a function of array and mask, and `max_val`.

    Raises:
        InputError: The values do not fit 16 bits, or not the scale.
    """
    valid = (values if mask is None else values[~mask] for values, mask in frames)
    limits = [int(limit) for v in valid if v.size for limit in (v.min(), v.max())]
    lowest, highest = min(limits, default=0), max(limits, default=0)
    own = own_scale(lowest, highest, rescale)
    chosen = own if scale is None or max_val is not None else scale.choose(lowest, highest, rescale)
    shift, (gain, offset) = chosen.shift, chosen.units(rescale)
    if max_val is None or max_val < highest - shift:
        max_val = 255 if bits <= 8 else chosen.max_val
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

    A constant alpha is dropped. A varying one is applied over black: what its author has hidden,
    perhaps a name, stays hidden.
    """
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    if pixels.shape[-1] in (1, 3):
        return pixels
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    return colour if alpha.min() == alpha.max() else over_black(colour, alpha)


def over_black(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Returns the color times its unassociated alpha, both unsigned integers of one type."""
    return np.rint(color * (alpha / np.iinfo(color.dtype).max)).astype(color.dtype)


def apply_exif_orientation(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """Returns the image turned as the Orientation tag (274) of EXIF and TIFF asks for."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


__getattr__ = renamed(__name__, without_alpha="drop_alpha", upright="apply_exif_orientation")
