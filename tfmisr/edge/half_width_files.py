"""Writes the half-widths of an image as PNG, TIFF or NumPy file, in the unit of the image's values (T-15).

PNG and TIFF hold 16-bit integers, each a half-width **rounded up** in steps of a power of two, so that the interval is
never narrower than the computed one. The step and the unit are in the PNG text chunk "unit" and in the TIFF
ImageDescription, beside the `max_val` of `tfmisr.edge.images`. A NumPy file holds float32, not rounded.
"""

import math
import pathlib
from collections.abc import Iterable

import numpy as np

from tfmisr.edge import image_writing
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

SUFFIXES = (".png", ".tif", ".tiff", ".npy")
_LARGEST = 65535
_ROWS = 256  # rounded at once


def step(full: float) -> float:
    """Returns the step of the integers: the smallest power of two with which `full` fits 16 bits.

    Args:
        full: Largest half-width, the range of the image's values: 255 for 8 bits.
    """
    return 2.0 ** math.ceil(math.log2(full / _LARGEST))


def rounded_up(half_width: np.ndarray, full: float) -> np.ndarray:
    """Returns half-widths as uint16 in steps of `step(full)`, rounded up; those above `full` are `full`.

    Args:
        half_width: float32 array in the unit of the image.
        full: See `step`. No error is larger, so a wider interval says nothing more.
    """
    out, largest = np.empty(half_width.shape, np.uint16), np.float32(math.ceil(full / step(full)))
    for start in range(0, len(out), _ROWS):
        # A power of two divides a float32 exactly.
        steps = np.ceil(half_width[start : start + _ROWS] / np.float32(step(full)))
        out[start : start + _ROWS] = np.minimum(steps, largest)
    return out


def write(path: pathlib.Path, frames: Iterable[np.ndarray], count: int, full: float, unit: str, text: str) -> None:
    """Writes the half-widths of one or more frames atomically.

    Args:
        path: PNG (one frame), TIFF or `.npy`.
        frames: float32 arrays (height, width, 1) in the unit of the image.
        count: Number of frames.
        full: Range of the image's values in that unit.
        unit: Name of the unit, such as "gray levels" or "HU".
        text: What the half-width promises.

    Raises:
        InputError: The suffix is not supported, or a PNG would hold several frames.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"a half-width map must end in {', '.join(SUFFIXES)}. Received: {path}")
    if suffix == ".npy":
        _write_array(path, frames, count)
        return
    note = f"half-width in units of {step(full):.17g} {unit}, rounded up. {text}"
    max_val = math.ceil(full / step(full))
    images = (rounded_up(frame, full) for frame in frames)
    image_writing.write_images(path, images, max_val, count, {"unit": note})


def _write_array(path: pathlib.Path, frames: Iterable[np.ndarray], count: int) -> None:
    # Not mapped into memory: on a full disk, writing to a mapping ends the process (SIGBUS) in place of an error.
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        for index, frame in enumerate(frames):
            values = np.ascontiguousarray(frame[..., 0], np.float32)
            if index == 0:
                shape = values.shape if count == 1 else (count, *values.shape)
                header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(values.data)
