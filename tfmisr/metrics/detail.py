"""Edges, sharpness and noise: GMSD and gradient energy ratio (full-reference), Laplacian and noise (no-reference)."""

import numpy as np
from scipy import ndimage

from tfmisr.metrics._metric import Metric
from tfmisr.metrics._region import channels, halve, luma, pair

_PREWITT = np.outer([1, 1, 1], [1, 0, -1]) / 3
_SOBEL = np.outer([1, 2, 1], [1, 0, -1]) / 8
_LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
# The difference of two Laplacians: zero on flat areas, slopes and straight edges along an axis.
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])


def gmsd(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Gradient magnitude similarity deviation, 0 and above; 0 for identical images, lower is better.

    As in the authors' code: halved by the 2 x 2 mean, Prewitt filters with zero padding, c = 170 for values of 0
    to 255. RGB is measured by its luma. Images that differ equally everywhere have 0 too, since only the spread of the
    similarity counts.

    Reference:
        Xue et al., Gradient Magnitude Similarity Deviation: A Highly Efficient Perceptual Image Quality Index,
        IEEE TIP 2014, https://arxiv.org/abs/1308.3052
    """
    images = (luma(image) * (255 / max_val) for image in pair(y_true, y_pred, max_val))
    a, b = (_magnitude(halve(image, "constant")) for image in images)
    return float(np.std((2 * a * b + 170) / (a**2 + b**2 + 170)))


GMSD = Metric(
    "gmsd",
    gmsd,
    "GMSD c=170, of the luma (Xue 2014)",
    "GMSD",
    ".4f",
    "lower",
    ideal=0.0,
    order=110,
)


def sharpness(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Gradient energy of the restored image over that of the reference: 1 is equally sharp, less is blurred.

    Mean square of the Sobel gradients where the filter lies inside the image, over all channels. Noise and false
    edges raise it too, so more than 1 is not better. nan where a side is shorter than 3 pixels or the reference is
    flat.

    Reference:
        Gradient energy (Tenengrad) as a measure of focus: Krotkov, Focusing, IJCV 1988,
        https://doi.org/10.1007/BF00127822
    """
    y_true, y_pred = pair(y_true, y_pred, max_val)
    if min(y_true.shape[:2]) < 3:
        return float("nan")
    true, pred = (sum(_energy(plane) for plane in np.moveaxis(image, 2, 0)) for image in (y_true, y_pred))
    return float(pred / true) if true else float("nan")


SHARPNESS = Metric(
    "sharpness",
    sharpness,
    "sharpness: Sobel gradient energy, SR over HR",
    "sharpness (HR 1)",
    ".3f",
    ideal=1.0,
    undefined="blank, or a side is below 3 pixels",
    order=120,
)


def laplacian(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Variance of the restored image's Laplacian, for values of 0 to 255; no-reference.

    Fine detail and noise raise it, blur lowers it; compare it with that of the reference. Mean over the channels; nan
    where a side is shorter than 3 pixels.

    Reference:
        Pech-Pacheco et al., Diatom Autofocusing in Brightfield Microscopy: A Comparative Study, ICPR 2000,
        https://doi.org/10.1109/ICPR.2000.903548
    """
    return _no_reference(y_true, y_pred, max_val, lambda plane: np.var(_filter_inside(plane, _LAPLACE)))


LAPLACIAN = Metric(
    "laplacian",
    laplacian,
    "Laplacian: its variance, values 0 to 255",
    "Laplacian",
    ".1f",
    no_reference=True,
    undefined="a side is below 3 pixels",
    order=130,
)


def noise(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Standard deviation of the restored image's noise, for values of 0 to 255; no-reference.

    Fine texture counts as noise; compare it with that of the reference. Mean over the channels; nan where a side is
    shorter than 3 pixels.

    Reference:
        Immerkaer, Fast Noise Variance Estimation, Computer Vision and Image Understanding 1996,
        https://doi.org/10.1006/cviu.1996.0060
    """
    factor = np.sqrt(np.pi / 2) / 6
    return _no_reference(y_true, y_pred, max_val, lambda plane: factor * np.mean(np.abs(_filter_inside(plane, _NOISE))))


NOISE = Metric(
    "noise",
    noise,
    "noise: Immerkaer 1996, values 0 to 255",
    "noise",
    ".2f",
    no_reference=True,
    undefined="a side is below 3 pixels",
    order=140,
)


def _no_reference(y_true, y_pred, max_val, measure):
    y_true, y_pred = pair(y_true, y_pred, max_val)
    if min(y_pred.shape[:2]) < 3:
        return float("nan")
    return float(np.mean([measure(plane * (255 / max_val)) for _, plane in channels(y_true, y_pred)]))


def _magnitude(image):
    horizontal, vertical = (ndimage.correlate(image, kernel, mode="constant") for kernel in (_PREWITT, _PREWITT.T))
    return np.sqrt(horizontal**2 + vertical**2)


def _energy(plane):
    return sum(np.mean(_filter_inside(plane, kernel) ** 2) for kernel in (_SOBEL, _SOBEL.T))


def _filter_inside(plane, kernel):
    return ndimage.correlate(plane, kernel)[1:-1, 1:-1]
