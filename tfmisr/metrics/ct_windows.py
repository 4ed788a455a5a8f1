"""PSNR and SSIM of a CT slice within a display window (VOI window), as it is read.

Images are `HU + 1024` with `max_val` 4095, as this package reads CT (see `tfmisr.edge.dicom`); of images of another
full scale these metrics are nan. Over the whole range of Hounsfield units, air and table outweigh the differences
that matter: a window of 400 HU is a tenth of the range, and an error within it looks ten times as large to a reader.
"""

import functools
import math

import numpy as np

from tfmisr.metrics import _old_names
from tfmisr.metrics._metric import Metric
from tfmisr.metrics.similarity import psnr, ssim

CT_MAX_VAL, _LOWEST_HU = 4095, -1024

# Window center and width in HU, as radiologists set them: Radiopaedia, Windowing (CT),
# https://doi.org/10.53347/rID-52108
WINDOWS = {"lung": (-600, 1500), "soft_tissue": (50, 400), "bone": (400, 1800), "brain": (40, 80)}


def within(image: np.ndarray, window: str) -> np.ndarray:
    """Returns the part of `HU + 1024` that a window shows, float64 from 0 to the window's width, clipped."""
    center, width = WINDOWS[window]
    return np.clip(np.asarray(image, np.float64) + _LOWEST_HU - (center - width / 2), 0, width)


def _windowed(metric, window, y_true, y_pred, max_val):
    if max_val != CT_MAX_VAL:
        return float("nan")
    return metric(within(y_true, window), within(y_pred, window), WINDOWS[window][1])


PSNR_LUNG = Metric(
    "psnr_lung",
    functools.partial(_windowed, psnr, "lung"),
    "PSNR of the lung window, -600 / 1500 HU",
    "PSNR lung window",
    ".2f",
    "higher",
    ideal=math.inf,
    undefined="no CT slice in Hounsfield units, or the same in this window: no dB",
    order=200,
)
SSIM_LUNG = Metric(
    "ssim_lung",
    functools.partial(_windowed, ssim, "lung"),
    "SSIM of the lung window",
    "SSIM lung window",
    ".4f",
    "higher",
    ideal=1.0,
    undefined="no CT slice in Hounsfield units",
    order=210,
)

PSNR_SOFT_TISSUE = Metric(
    "psnr_soft_tissue",
    functools.partial(_windowed, psnr, "soft_tissue"),
    "PSNR of the soft tissue window, 50 / 400 HU",
    "PSNR soft tissue window",
    ".2f",
    "higher",
    ideal=math.inf,
    undefined="no CT slice in Hounsfield units, or the same in this window: no dB",
    order=220,
)
SSIM_SOFT_TISSUE = Metric(
    "ssim_soft_tissue",
    functools.partial(_windowed, ssim, "soft_tissue"),
    "SSIM of the soft tissue window",
    "SSIM soft tissue window",
    ".4f",
    "higher",
    ideal=1.0,
    undefined="no CT slice in Hounsfield units",
    order=230,
)

PSNR_BONE = Metric(
    "psnr_bone",
    functools.partial(_windowed, psnr, "bone"),
    "PSNR of the bone window, 400 / 1800 HU",
    "PSNR bone window",
    ".2f",
    "higher",
    ideal=math.inf,
    undefined="no CT slice in Hounsfield units, or the same in this window: no dB",
    order=240,
)
SSIM_BONE = Metric(
    "ssim_bone",
    functools.partial(_windowed, ssim, "bone"),
    "SSIM of the bone window",
    "SSIM bone window",
    ".4f",
    "higher",
    ideal=1.0,
    undefined="no CT slice in Hounsfield units",
    order=250,
)

PSNR_BRAIN = Metric(
    "psnr_brain",
    functools.partial(_windowed, psnr, "brain"),
    "PSNR of the brain window, 40 / 80 HU",
    "PSNR brain window",
    ".2f",
    "higher",
    ideal=math.inf,
    undefined="no CT slice in Hounsfield units, or the same in this window: no dB",
    order=260,
)
SSIM_BRAIN = Metric(
    "ssim_brain",
    functools.partial(_windowed, ssim, "brain"),
    "SSIM of the brain window",
    "SSIM brain window",
    ".4f",
    "higher",
    ideal=1.0,
    undefined="no CT slice in Hounsfield units",
    order=270,
)


def __getattr__(name: str):
    return _old_names.constant(__name__, name)
