"""Structural similarity as a loss: 1 - SSIM and 1 - MS-SSIM, with gradients that stay finite."""

import keras
import numpy as np
from keras import ops

from tfmisr.losses._images import planes
from tfmisr.losses._loss import Integer, Loss

_C1, _C2 = 0.01**2, 0.03**2
_WINDOW = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_WINDOW = (_WINDOW / _WINDOW.sum()).astype("float32")
_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
# Lower bound of a scale's similarity: the derivative of x**0.0448 is unbounded at 0.
_MIN_SIMILARITY = 1e-3


@keras.saving.register_keras_serializable("tfmisr")
class SSIM(keras.losses.Loss):
    """1 - structural similarity, in [0, 2]; the same SSIM as `tfmisr.metrics.ssim`, in float32.

    Images need at least 11 x 11 pixels.

    Reference:
        Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity,
        IEEE TIP 2004, https://doi.org/10.1109/TIP.2003.819861
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "ssim", dtype: str | None = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        similarity, _ = _similarity(planes(y_true), planes(y_pred))
        return 1 - _over_channels(similarity, y_pred.shape[-1])


SSIM_LOSS = Loss("ssim", SSIM, min_side=11, order=40)


@keras.saving.register_keras_serializable("tfmisr")
class MultiScaleSSIM(keras.losses.Loss):
    """1 - multi-scale structural similarity, in [0, 1].

    The published five scales need images of 161 pixels, more than a training patch has. The default is the first
    three of the published weights, normalized to a sum of 1, which need 41 pixels; with `scales=5` this is
    `tfmisr.metrics.ms_ssim`. A scale below 0.001, as of unrelated images, counts as 0.001, so that the gradient stays
    finite.

    Args:
        scales: Number of scales, 1 to 5; images need `10 * 2**(scales - 1) + 1` pixels a side.

    Reference:
        Wang et al., Multi-scale Structural Similarity for Image Quality Assessment, Asilomar 2003,
        https://doi.org/10.1109/ACSSC.2003.1292216
        As a loss of restored images: Zhao et al., Loss Functions for Image Restoration with Neural Networks,
        IEEE TCI 2017, https://arxiv.org/abs/1511.08861
    """

    def __init__(
        self, scales: int = 3, reduction: str = "sum_over_batch_size", name: str = "ms_ssim", dtype: str | None = None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.scales = scales

    def call(self, y_true, y_pred):
        weights = _WEIGHTS[: self.scales] / _WEIGHTS[: self.scales].sum()
        channels = y_pred.shape[-1]
        y_true, y_pred = planes(y_true), planes(y_pred)
        product = 1.0
        for scale, weight in enumerate(weights):
            if scale:
                y_true, y_pred = _halved(y_true), _halved(y_pred)
            last = scale == self.scales - 1
            similarity = _similarity(y_true, y_pred)[0 if last else 1]
            product = product * ops.maximum(similarity, _MIN_SIMILARITY) ** float(weight)
        return 1 - _over_channels(product, channels)

    def get_config(self):
        return {**super().get_config(), "scales": self.scales}


# The window of 11 pixels must fit on the last scale: 10 * 2**(scales - 1) + 1.
MULTI_SCALE_LOSS = Loss(
    "ms_ssim",
    MultiScaleSSIM,
    {"scales": Integer(3, 1, 5)},
    min_side=("scales", {1: 11, 2: 21, 3: 41, 4: 81, 5: 161}),
    order=50,
)


def _blur(images):
    for shape in ((11, 1, 1, 1), (1, 11, 1, 1)):
        kernel = ops.convert_to_tensor(_WINDOW.reshape(shape))
        images = ops.conv(images, kernel, padding="valid", data_format="channels_last")
    return images


def _similarity(y_true, y_pred):
    """Returns the means of SSIM and of its contrast-structure part, each of shape `(planes,)`."""
    # Moments about mid-gray: moments about 0 lose half of float32's digits in the differences below.
    a, b = y_true - 0.5, y_pred - 0.5
    mean_a, mean_b = _blur(a), _blur(b)
    covariance = _blur(a * b) - mean_a * mean_b
    # A variance that is negative by rounding could make the denominator 0.
    variances = ops.relu(_blur(a * a) - mean_a * mean_a) + ops.relu(_blur(b * b) - mean_b * mean_b)
    structure = (2 * covariance + _C2) / (variances + _C2)
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a * mean_a + mean_b * mean_b + _C1)
    return ops.mean(luminance * structure, axis=(1, 2, 3)), ops.mean(structure, axis=(1, 2, 3))


def _halved(images):
    return ops.average_pool(images, 2, 2, padding="same", data_format="channels_last")


def _over_channels(values, channels):
    return ops.mean(ops.reshape(values, (-1, channels)), axis=1)
