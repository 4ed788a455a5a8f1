"""PSNR and SSIM of a CT slice as it is read: within a display window.

Images are `HU + 1024` with `max_val` 4095, as this package reads CT (see `tfmisr.edge.dicom`); of images of another
full scale these measures are nan. Over the whole range of Hounsfield units air and table outweigh the differences
that matter: a window of 400 HU is a tenth of it, and an error there looks ten times as large to a reader.
"""

import functools

import numpy as np

from tfmisr.metrics.similarity import psnr, ssim

CT_MAX_VAL, _LOWEST_HU = 4095, -1024

# Window level and width in HU, as radiologists set them: Radiopaedia, Windowing (CT),
# https://doi.org/10.53347/rID-52108
WINDOWS = {"lung": (-600, 1500), "soft_tissue": (50, 400), "bone": (400, 1800), "brain": (40, 80)}


def within(image: np.ndarray, window: str) -> np.ndarray:
    """Returns the part of `HU + 1024` that a window shows, float64 from 0 to the window's width, clipped."""
    level, width = WINDOWS[window]
    return np.clip(np.asarray(image, np.float64) + _LOWEST_HU - (level - width / 2), 0, width)


def _windowed(measure, window, y_true, y_pred, max_val):
    if max_val != CT_MAX_VAL:
        return float("nan")
    return measure(within(y_true, window), within(y_pred, window), WINDOWS[window][1])


METRICS = {
    f"{measure.__name__}_{window}": functools.partial(_windowed, measure, window)
    for window in WINDOWS
    for measure in (psnr, ssim)
}
