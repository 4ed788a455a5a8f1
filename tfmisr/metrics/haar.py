"""HaarPSI, with the constants for photographs and with those for medical images."""

import functools

import numpy as np
from scipy import ndimage

from tfmisr.metrics._metric import Metric
from tfmisr.metrics._region import YIQ, halve, pair


def haarpsi(y_true: np.ndarray, y_pred: np.ndarray, max_val: float, medical: bool = False) -> float:
    """Haar wavelet-based perceptual similarity index, in [0, 1].

    As in the authors' code the images are scaled to 0 to 255, halved by the 2 x 2 mean for the
    viewing distance, and padded with zeros. RGB is compared in YIQ.

    Args:
        y_true: The reference.
        y_pred: The restored image, of the same shape, with one channel or three.
        max_val: Value of a full-scale pixel.
        medical: Use the constants C = 5, alpha = 4.9, fitted to radiologists' ratings, among
            others of chest X-rays, instead of C = 30, alpha = 4.2, fitted to photographs.

    Reference:
        Reisenhofer et al., A Haar Wavelet-Based Perceptual Similarity Index for Image Quality
        Assessment, Signal Processing: Image Communication 2018, https://arxiv.org/abs/1607.06140
        Karner et al., Parameter Choices in HaarPSI for IQA with Medical Images, ISBI 2025,
        https://arxiv.org/abs/2410.24098
    """
    y_true, y_pred = pair(y_true, y_pred, max_val)
    if y_true.shape[2] not in (1, 3):
        raise ValueError(f"HaarPSI needs 1 or 3 channels. Received: shape {y_true.shape}")
    constant, alpha = (5.0, 4.9) if medical else (30.0, 4.2)
    images = [_luma_chroma(image * (255 / max_val)) for image in (y_true, y_pred)]
    similarities, weights = _haar_maps([image[0] for image in images], constant)
    if len(images[0]) == 3:
        similarities.append(_chroma_similarity(*(image[1:] for image in images), constant))
        weights.append((weights[0] + weights[1]) / 2)
    total = np.sum(weights)
    if not total:
        return 1.0  # both images are black
    # weighted mean of sigmoid(alpha * similarity), then the inverse of the sigmoid
    score = np.sum(weights / (1 + np.exp(-alpha * np.array(similarities)))) / total
    return float((np.log(score / (1 - score)) / alpha) ** 2)


HAARPSI = Metric(
    "haarpsi",
    haarpsi,
    "HaarPSI C=30 alpha=4.2 (Reisenhofer 2018), HaarPSI_MED C=5 alpha=4.9",
    "HaarPSI",
    ".4f",
    "higher",
    ideal=1.0,
    default=True,
    order=40,
)
HAARPSI_MED = Metric(
    "haarpsi_med",
    functools.partial(haarpsi, medical=True),
    "",  # within that of HaarPSI, as in the first release, whose protocols keep their hash
    "HaarPSI_MED",
    ".4f",
    "higher",
    ideal=1.0,
    default=True,
    order=50,
)


def _luma_chroma(image):
    planes = np.moveaxis(image @ YIQ.T if image.shape[2] == 3 else image, 2, 0)
    return [halve(plane, "constant") for plane in planes]


def _haar_maps(pair, constant):
    """Returns similarities and weights for horizontal and for vertical edges."""
    similarities, weights = [], []
    for axis in (0, 1):
        fine, middle, coarse = ([_haar(image, size, axis) for image in pair] for size in (2, 4, 8))
        similarities.append((_relative_similarity(*fine, constant) + _relative_similarity(*middle, constant)) / 2)
        weights.append(np.maximum(*coarse))
    return similarities, weights


def _haar(image, size, axis):
    step = np.repeat([-1.0, 1.0], size // 2)
    # The origin of -1 puts even filters where MATLAB's conv2(..., "same") has them.
    image = ndimage.correlate1d(image, step, axis, mode="constant", origin=-1)
    image = ndimage.correlate1d(image, np.ones(size), 1 - axis, mode="constant", origin=-1)
    return np.abs(image) / size


def _chroma_similarity(y_true, y_pred, constant):
    i, q = (_relative_similarity(_mean4(a), _mean4(b), constant) for a, b in zip(y_true, y_pred, strict=True))
    return (i + q) / 2


def _mean4(image):
    for axis in (0, 1):
        image = ndimage.correlate1d(image, [0.5, 0.5], axis, mode="constant", origin=-1)
    return np.abs(image)


def _relative_similarity(a, b, constant):
    return (2 * a * b + constant) / (a**2 + b**2 + constant)
