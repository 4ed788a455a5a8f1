"""Full-reference metrics: PSNR, SSIM and MS-SSIM."""

import math

import numpy as np
from scipy import ndimage

from tfmisr.metrics._metric import Metric
from tfmisr.metrics._region import channels, halve, pair

SSIM_MIN_SIDE = 11
MS_SSIM_MIN_SIDE = 161

_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_GAUSSIAN = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_GAUSSIAN /= _GAUSSIAN.sum()


def psnr(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; inf for identical images."""
    y_true, y_pred = pair(y_true, y_pred, max_val)
    mse = np.mean(np.square(y_true - y_pred))
    return float(10 * np.log10(max_val**2 / mse)) if mse else float("inf")


PSNR = Metric(
    "psnr",
    psnr,
    "PSNR",
    "PSNR",
    ".2f",
    "higher",
    unit="dB",
    interval=True,
    ideal=math.inf,
    undefined="reproduced exactly, as blank images are (infinite PSNR)",
    center=True,
    default=True,
    order=10,
)


def ssim(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Structural similarity, in [-1, 1], as its authors define it.

    Gaussian window of 11 x 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance,
    mean over the positions where the window lies inside the image, then over the channels.
    Equals `skimage.metrics.structural_similarity` with `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False`; nan where a side is shorter than 11 pixels.

    Reference:
        Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity,
        IEEE TIP 2004, https://doi.org/10.1109/TIP.2003.819861
    """
    y_true, y_pred = pair(y_true, y_pred, max_val)
    if min(y_true.shape[:2]) < SSIM_MIN_SIDE:
        return float("nan")
    return float(np.mean([_similarity(*pair, max_val)[0] for pair in channels(y_true, y_pred)]))


SSIM = Metric(
    "ssim",
    ssim,
    "SSIM Gaussian 11x11 sigma 1.5 (Wang 2004)",
    "SSIM",
    ".4f",
    "higher",
    ideal=1.0,
    undefined="a side is below 11 pixels",
    center=True,
    default=True,
    order=20,
)


def ms_ssim(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Multi-scale structural similarity over five scales, in [0, 1].

    The published weights belong to five scales, so an image with a side below 161 pixels, whose
    fifth scale is smaller than the window, gives nan. Scales are halved by the 2 x 2 mean (an odd
    last row or column is doubled first); a negative term counts as 0; channels are averaged.

    Reference:
        Wang et al., Multi-scale Structural Similarity for Image Quality Assessment, Asilomar 2003,
        https://doi.org/10.1109/ACSSC.2003.1292216
    """
    y_true, y_pred = pair(y_true, y_pred, max_val)
    if min(y_true.shape[:2]) < MS_SSIM_MIN_SIDE:
        return float("nan")
    return float(np.mean([_multi_scale(*pair, max_val) for pair in channels(y_true, y_pred)]))


MS_SSIM = Metric(
    "ms_ssim",
    ms_ssim,
    "MS-SSIM five scales (Wang 2003)",
    "MS-SSIM",
    ".4f",
    "higher",
    ideal=1.0,
    undefined="a side is below 161 pixels",
    default=True,
    order=30,
)


def _blur(image):
    for axis in (0, 1):
        image = ndimage.correlate1d(image, _GAUSSIAN, axis)
    return image[5:-5, 5:-5]


def _similarity(y_true, y_pred, max_val):
    """Returns the means of SSIM and of its contrast-structure part over one channel."""
    c1, c2 = (0.01 * max_val) ** 2, (0.03 * max_val) ** 2
    mean_true, mean_pred = _blur(y_true), _blur(y_pred)
    variances = _blur(y_true**2 + y_pred**2) - mean_true**2 - mean_pred**2
    covariance = _blur(y_true * y_pred) - mean_true * mean_pred
    structure = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_true * mean_pred + c1) / (mean_true**2 + mean_pred**2 + c1)
    return np.mean(luminance * structure), np.mean(structure)


def _multi_scale(y_true, y_pred, max_val):
    product = 1.0
    for weight in _MS_SSIM_WEIGHTS[:-1]:
        product *= max(_similarity(y_true, y_pred, max_val)[1], 0.0) ** weight
        y_true, y_pred = halve(y_true, "symmetric"), halve(y_pred, "symmetric")
    return product * max(_similarity(y_true, y_pred, max_val)[0], 0.0) ** _MS_SSIM_WEIGHTS[-1]
