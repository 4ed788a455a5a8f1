"""Estimates, from its header, how much memory an image takes, so that one that does not fit is refused undecoded.

Beside what the process holds already there are the image and its result, and the activations of one window. How much
those take depends on the network and its runtime, and is measured once a process with one window.
"""

import contextlib
import functools
import os
import pathlib
import sys

import numpy as np

from tfmisr.cluster.isolation import resident_memory
from tfmisr.edge import dicom, images, resize
from tfmisr.edge.errors import InputError
from tfmisr.inference.batch import BatchUpscaler

# Bytes per value, measured with the interpolations at 1024x1024 and 2048x2048, 8 and 16 bits, PNG and TIFF: up to 15 a
# value of the result (as float32, as integers, and in three forms while a PNG is encoded).
_PER_RESULT_VALUE, _PER_SOURCE_VALUE = 16, 12
# The same of half-widths, by their types and not measured: the map and its steepness in float32, and a PNG of 16 bits.
_PER_HALF_WIDTH = 16
_SIDE = 192  # of the window that is measured
_LEAST_PER_PIXEL = 512  # smaller networks are lost in the noise
_LARGEST_WINDOW = 440  # default of tfmisr.edge.tiling.default_max_tile; larger only for very wide receptive fields
_LARGEST_OVERLAP = 64


def require_fit(path: pathlib.Path, name: str, upscaler: BatchUpscaler, limit: int | None) -> None:
    """Refuses an image that does not fit.

    Args:
        path: The image.
        name: What the message calls it.
        upscaler: It is loaded by this.
        limit: Largest resident memory of this process in bytes; `None` for no bound.

    Raises:
        InputError: The estimate is above the limit.
    """
    if limit is None or (header := images.read_header(path)) is None:
        return
    per_pixel = _per_pixel(upscaler)  # the process holds the network from here on
    needed = resident_memory() + estimate(header, upscaler, per_pixel, _frames(path))
    if needed > limit:
        raise InputError(
            f"{name}: {header.height}x{header.width} pixels need about {needed / 1e6:,.0f} MB, more than "
            f"--memory_limit, {limit / 1e6:,.0f} MB; raise it, or choose a smaller --max_tile"
        )


def estimate(header: images.Header, upscaler: BatchUpscaler, per_pixel: float, frames: int = 1) -> int:
    """Returns the bytes that an image takes beside the loaded network.

    Args:
        header: Of the image.
        upscaler: Scale and sides of tiles.
        per_pixel: Bytes for each pixel of a window; see the module.
        frames: Number of images that are held at a time: all of a DICOM file.
    """
    pixels = header.height * header.width
    values = pixels * header.channels
    result = values * upscaler.scale**2
    result_bytes = _PER_RESULT_VALUE + (_PER_HALF_WIDTH if upscaler.uncertainty or upscaler.report else 0)
    held = (frames - 1) * (values + result) * header.bits // 8
    return int(values * _PER_SOURCE_VALUE + result * result_bytes + held + per_pixel * _window(pixels, upscaler))


def _window(pixels, upscaler) -> int:
    """Returns the number of pixels of the largest window."""
    if upscaler.upscaler.parameters == 0:
        return pixels  # classical methods take the full image
    side = upscaler.tile + 2 * _LARGEST_OVERLAP if upscaler.tile else upscaler.max_tile or _LARGEST_WINDOW
    return min(pixels, side**2)


def _frames(path) -> int:
    if images.detect_format(path) != "DICOM":
        return 1  # TIFF pages are read and written one at a time
    return max(int(dicom.read_header(path).get("NumberOfFrames") or 1), 1)


@functools.lru_cache(maxsize=4)
def _per_pixel(upscaler: BatchUpscaler) -> float:
    loaded = upscaler.upscaler
    if loaded.name in resize.METHODS:
        return 0.0
    window = np.zeros((_SIDE, _SIDE, loaded.channels or 1), np.float32)
    loaded(window[:16, :16], upscaler.scale)  # what is allocated once
    before = _reset_peak()
    loaded(window, upscaler.scale)
    return max((_peak() - before) / _SIDE**2, _LEAST_PER_PIXEL)


def _reset_peak() -> int:
    """Begins a new measurement of the largest resident memory, where the system can, and returns it."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # proc(5): resets VmHWM
    return _peak()


def _peak() -> int:
    """Returns the largest resident memory of this process in bytes; the present one where the system knows no other."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status", encoding="ascii") as lines:
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    if os.name != "posix":
        return resident_memory()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
