"""Visual information fidelity (VIF) in the pixel domain."""

import numpy as np
from scipy import ndimage

from tfmisr.metrics._metric import Metric
from tfmisr.metrics._region import luma, pair

VIF_MIN_SIDE = 41

_NOISE = 2.0  # variance of the noise of the human visual system, for values of 0 to 255
_TINY = 1e-8  # far above the rounding error of the variance of a flat image


def vif(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Visual information fidelity in the pixel domain (VIFp), 0 and above; 1 for equal images.

    The fraction of the reference's information that the restored image retains, under a model of natural images, of
    blur and additive noise, and of the human visual system. A value above 1 means raised contrast. This is the
    variant in the pixel domain that the authors published as code (vifp_mscale), not the wavelet one of the paper.
    RGB is measured by its luma; nan where a side is shorter than 41 pixels or the reference is flat, so that it
    has no information.

    Reference:
        Sheikh and Bovik, Image Information and Visual Quality, IEEE TIP 2006,
        https://doi.org/10.1109/TIP.2005.859378
    """
    y_true, y_pred = (luma(image) * (255 / max_val) for image in pair(y_true, y_pred, max_val))
    if min(y_true.shape) < VIF_MIN_SIDE:
        return float("nan")
    retained = total = 0.0
    for scale in range(4):
        window = _window(2 ** (4 - scale) + 1)
        if scale:
            y_true, y_pred = (_blur(image, window)[::2, ::2] for image in (y_true, y_pred))
        gain, residual, variance = _channel(y_true, y_pred, window)
        retained += np.sum(np.log10(1 + gain**2 * variance / (residual + _NOISE)))
        total += np.sum(np.log10(1 + variance / _NOISE))
    return float(retained / total) if total else float("nan")


METRIC = Metric(
    "vif",
    vif,
    "VIFp pixel domain, four scales, of the luma (Sheikh 2006)",
    "VIFp",
    ".4f",
    "higher",
    ideal=1.0,
    undefined="blank, or a side is below 41 pixels",
    order=100,
)


def _window(size):
    window = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / (size / 5) ** 2)
    return window / window.sum()


def _blur(image, window):
    margin = len(window) // 2
    for axis in (0, 1):
        image = ndimage.correlate1d(image, window, axis)
    return image[margin:-margin, margin:-margin]


def _channel(y_true, y_pred, window):
    """Returns, at each position, the gain, the variance it does not explain, and the reference's variance."""
    mean_true, mean_pred = _blur(y_true, window), _blur(y_pred, window)
    variance = np.maximum(_blur(y_true**2, window) - mean_true**2, 0.0)
    other = np.maximum(_blur(y_pred**2, window) - mean_pred**2, 0.0)
    covariance = _blur(y_true * y_pred, window) - mean_true * mean_pred
    gain = covariance / (variance + _TINY)
    residual = np.maximum(other - gain * covariance, _TINY)
    # No information is retained where one image is flat, nor where the restored one is inverted.
    flat = variance < _TINY
    gain = np.where(flat | (other < _TINY) | (gain < 0), 0.0, gain)
    return gain, residual, np.where(flat, 0.0, variance)
