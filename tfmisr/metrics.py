"""How near a restored image comes to the truth: PSNR, SSIM, MS-SSIM and HaarPSI, in NumPy.

Images are arrays of shape `(height, width)` or `(height, width, channels)`, float or integer;
everything is computed in float64. `max_val` is the value of a full-scale pixel (255, 4095, 1.0).
A measure that is not defined on an image so small is nan, never a variant of itself.
"""

import functools

import numpy as np
from scipy import ndimage

SSIM_MIN_SIDE = 11
MS_SSIM_MIN_SIDE = 161

_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_GAUSSIAN = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_GAUSSIAN /= _GAUSSIAN.sum()
# The authors' own RGB to YIQ; other implementations carry a fourth digit.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def shave(image: np.ndarray, crop_border: int) -> np.ndarray:
    """Returns the image without `crop_border` pixels at each edge, as a view."""
    height, width = image.shape[:2]
    if crop_border < 0 or 2 * crop_border >= min(height, width):
        raise ValueError(
            "`crop_border` must be 0 or more and leave pixels to measure. "
            f"Received: crop_border={crop_border} for an image of {height} x {width}"
        )
    return image[crop_border : height - crop_border, crop_border : width - crop_border]


def centre(image: np.ndarray, fraction: float = 0.625) -> np.ndarray:
    """Returns the central part of the image, as a view.

    Args:
        image: Array of shape `(height, width)` or `(height, width, channels)`.
        fraction: Part of each side that is kept. The default keeps the central 320 x 320 of a
            512 x 512 radiograph: anatomy, without burned-in letters and collimation edges.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be above 0 and at most 1. Received: fraction={fraction}")
    kept = [max(1, round(side * fraction)) for side in image.shape[:2]]
    top, left = ((side - part) // 2 for side, part in zip(image.shape[:2], kept, strict=True))
    return image[top : top + kept[0], left : left + kept[1]]


def psnr(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; inf for equal images."""
    y_true, y_pred = _pair(y_true, y_pred, max_val)
    mse = np.mean(np.square(y_true - y_pred))
    return float(10 * np.log10(max_val**2 / mse)) if mse else float("inf")


def ssim(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Structural similarity, in [-1, 1], as its authors define it.

    Gaussian window of 11 x 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance,
    mean over the places where the window lies inside the image, then over the channels. The same
    as `skimage.metrics.structural_similarity` with `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False`; nan where a side is shorter than 11 pixels.

    Reference:
        Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity,
        IEEE TIP 2004, https://doi.org/10.1109/TIP.2003.819861
    """
    y_true, y_pred = _pair(y_true, y_pred, max_val)
    if min(y_true.shape[:2]) < SSIM_MIN_SIDE:
        return float("nan")
    return float(np.mean([_similarity(*pair, max_val)[0] for pair in _channels(y_true, y_pred)]))


def ms_ssim(y_true: np.ndarray, y_pred: np.ndarray, max_val: float) -> float:
    """Multi-scale structural similarity over five scales, in [0, 1].

    The published weights belong to five scales, so an image with a side below 161 pixels, whose
    fifth scale is smaller than the window, gives nan. Scales are halved by the 2 x 2 mean (an odd
    last row or column is doubled first); a negative term counts as 0; channels are averaged.

    Reference:
        Wang et al., Multi-scale Structural Similarity for Image Quality Assessment, Asilomar 2003,
        https://doi.org/10.1109/ACSSC.2003.1292216
    """
    y_true, y_pred = _pair(y_true, y_pred, max_val)
    if min(y_true.shape[:2]) < MS_SSIM_MIN_SIDE:
        return float("nan")
    return float(np.mean([_multi_scale(*pair, max_val) for pair in _channels(y_true, y_pred)]))


def haarpsi(y_true: np.ndarray, y_pred: np.ndarray, max_val: float, medical: bool = False) -> float:
    """Haar wavelet-based perceptual similarity index, in [0, 1].

    As in the authors' code the images are brought to 0 to 255, halved by the 2 x 2 mean for the
    viewing distance, and continued with zeros. RGB is compared in YIQ.

    Args:
        y_true: The truth.
        y_pred: The restored image, of the same shape, with one channel or three.
        max_val: Value of a full-scale pixel.
        medical: Takes the constants C = 5, alpha = 4.9 fitted to radiologists' judgement, among
            others of chest X-rays, in place of C = 30, alpha = 4.2 fitted to photographs.

    Reference:
        Reisenhofer et al., A Haar Wavelet-Based Perceptual Similarity Index for Image Quality
        Assessment, Signal Processing: Image Communication 2018, https://arxiv.org/abs/1607.06140
        Karner et al., Parameter Choices in HaarPSI for IQA with Medical Images, ISBI 2025,
        https://arxiv.org/abs/2410.24098
    """
    y_true, y_pred = _pair(y_true, y_pred, max_val)
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
    # sum of sigmoid(alpha * similarity) * weight, and back through the inverse of the sigmoid
    score = np.sum(weights / (1 + np.exp(-alpha * np.array(similarities)))) / total
    return float((np.log(score / (1 - score)) / alpha) ** 2)


METRICS = {
    "psnr": psnr,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "haarpsi": haarpsi,
    "haarpsi_med": functools.partial(haarpsi, medical=True),
}


def _pair(y_true, y_pred, max_val):
    if y_true.shape != y_pred.shape or y_true.ndim not in (2, 3) or not y_true.size:
        raise ValueError(
            "Two images of the same shape (height, width) or (height, width, channels) are needed. "
            f"Received: {y_true.shape} and {y_pred.shape}"
        )
    if not max_val > 0:
        raise ValueError(f"`max_val` must be above 0. Received: max_val={max_val}")
    shape = (*y_true.shape[:2], -1)
    return y_true.astype(np.float64).reshape(shape), y_pred.astype(np.float64).reshape(shape)


def _channels(y_true, y_pred):
    return zip(np.moveaxis(y_true, 2, 0), np.moveaxis(y_pred, 2, 0), strict=True)


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
        y_true, y_pred = _halve(y_true, "symmetric"), _halve(y_pred, "symmetric")
    return product * max(_similarity(y_true, y_pred, max_val)[0], 0.0) ** _MS_SSIM_WEIGHTS[-1]


def _halve(image, padding):
    height, width = image.shape
    image = np.pad(image, ((0, height % 2), (0, width % 2)), padding)
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


def _luma_chroma(image):
    planes = np.moveaxis(image @ _YIQ.T if image.shape[2] == 3 else image, 2, 0)
    return [_halve(plane, "constant") for plane in planes]


def _haar_maps(pair, constant):
    """Returns similarities and weights for horizontal and for vertical edges."""
    similarities, weights = [], []
    for axis in (0, 1):
        fine, middle, coarse = ([_haar(image, size, axis) for image in pair] for size in (2, 4, 8))
        similarities.append((_alike(*fine, constant) + _alike(*middle, constant)) / 2)
        weights.append(np.maximum(*coarse))
    return similarities, weights


def _haar(image, size, axis):
    step = np.repeat([-1.0, 1.0], size // 2)
    # The origin of -1 puts even filters where MATLAB's conv2(..., "same") has them.
    image = ndimage.correlate1d(image, step, axis, mode="constant", origin=-1)
    image = ndimage.correlate1d(image, np.ones(size), 1 - axis, mode="constant", origin=-1)
    return np.abs(image) / size


def _chroma_similarity(y_true, y_pred, constant):
    i, q = (_alike(_mean4(a), _mean4(b), constant) for a, b in zip(y_true, y_pred, strict=True))
    return (i + q) / 2


def _mean4(image):
    for axis in (0, 1):
        image = ndimage.correlate1d(image, [0.5, 0.5], axis, mode="constant", origin=-1)
    return np.abs(image)


def _alike(a, b, constant):
    return (2 * a * b + constant) / (a**2 + b**2 + constant)
