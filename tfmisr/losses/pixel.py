"""Losses of pixels and of differences of neighbors: MSE, MAE, PSNR, Charbonnier, gradients, total variation."""

import math

import keras
import numpy as np
from keras import ops

from tfmisr.losses._images import image_mean, planes
from tfmisr.losses._loss import Choice, Loss, Number

MSE = Loss("mse", keras.losses.MeanSquaredError, order=10)
MAE = Loss("mae", keras.losses.MeanAbsoluteError, order=20)


@keras.saving.register_keras_serializable("tfmisr")
class Charbonnier(keras.losses.Loss):
    """Charbonnier loss, a smooth L1.

    Computes `sqrt((y_true - y_pred)**2 + epsilon**2)` per pixel.

    Args:
        epsilon: Width of the quadratic part, in image intensity (images are in [0, 1]).

    Reference:
        Lai et al., Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution, CVPR 2017,
        https://arxiv.org/abs/1704.03915
    """

    def __init__(
        self,
        epsilon: float = 1e-3,
        reduction: str = "sum_over_batch_size",
        name: str = "charbonnier",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        difference = ops.cast(y_true, y_pred.dtype) - y_pred
        return ops.mean(ops.sqrt(ops.square(difference) + self.epsilon**2), axis=-1)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


CHARBONNIER = Loss("charbonnier", Charbonnier, {"epsilon": Number(1e-3)}, order=30)


@keras.saving.register_keras_serializable("tfmisr")
class PSNR(keras.losses.Loss):
    """Loss of PSNR in dB: `10 * log10(1 + MSE / epsilon)` of each image, with the MSE of all its pixels.

    An image of a tenth of the error counts as much as another, where the mean squared error over a batch is that of its
    worst images: for images of very different difficulty, such as with and without noise.

    Args:
        epsilon: Mean squared error below which an image counts less and less, in squared intensity (images are in
            [0, 1]); 1e-6 is 60 dB.

    Reference:
        The PSNR loss of Chen et al., HINet: Half Instance Normalization Network for Image Restoration, CVPR 2021
        Workshops, https://arxiv.org/abs/2105.06086; here plus 60 dB, so that it is 0 for equal images
    """

    def __init__(
        self,
        epsilon: float = 1e-6,
        reduction: str = "sum_over_batch_size",
        name: str = "psnr",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        squares = image_mean(ops.square(ops.cast(y_true, y_pred.dtype) - y_pred))
        return 10 / math.log(10) * ops.log1p(squares / self.epsilon)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


PSNR_LOSS = Loss("psnr", PSNR, {"epsilon": Number(1e-6)}, order=1010)


@keras.saving.register_keras_serializable("tfmisr")
class Gradient(keras.losses.Loss):
    """Mean absolute difference of the horizontal and of the vertical intensity gradients.

    Both are in intensity per pixel and are taken where the filter lies inside the image. Flat regions contribute
    nothing, whatever their brightness, so add this loss to another.

    Args:
        kind: `sobel`, a central difference smoothed across its direction, or `difference`, of adjacent pixels, which
            is sensitive to the finest detail and to noise.

    Reference:
        Based on the gradient difference loss of Mathieu et al., Deep Multi-Scale Video Prediction beyond Mean Square
        Error, ICLR 2016, https://arxiv.org/abs/1511.05440, which compares magnitudes; here the signs are compared too.
    """

    def __init__(
        self,
        kind: str = "sobel",
        reduction: str = "sum_over_batch_size",
        name: str = "gradient",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.kind = kind

    def call(self, y_true, y_pred):
        gradients = _sobel if self.kind == "sobel" else _differences
        # The filters are linear: the difference of the gradients is the gradient of the difference.
        vertical, horizontal = gradients(y_pred - y_true)
        return (image_mean(ops.abs(vertical)) + image_mean(ops.abs(horizontal))) / 2

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


GRADIENT = Loss("gradient", Gradient, {"kind": Choice(("sobel", "difference"))}, min_side=3, order=60)


@keras.saving.register_keras_serializable("tfmisr")
class TotalVariation(keras.losses.Loss):
    """Total variation of the restored image: sum of the mean absolute differences of adjacent rows and columns.

    A no-reference regularizer: it favors flat images, so add it with a small weight to another loss.

    Reference:
        Rudin, Osher and Fatemi, Nonlinear Total Variation Based Noise Removal Algorithms, Physica D 1992,
        https://doi.org/10.1016/0167-2789(92)90242-F; the anisotropic form
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "total_variation", dtype: str | None = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        vertical, horizontal = _differences(y_pred)
        return image_mean(ops.abs(vertical)) + image_mean(ops.abs(horizontal))


TOTAL_VARIATION = Loss("total_variation", TotalVariation, min_side=2, order=80)


def _differences(images):
    return images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]


def _sobel(images):
    kernel = np.outer([-1, 0, 1], [1, 2, 1]).astype("float32") / 8
    kernels = ops.convert_to_tensor(np.stack([kernel, kernel.T], -1)[:, :, None])  # (3, 3, 1, 2)
    batch, channels = ops.shape(images)[0], images.shape[-1]
    gradients = ops.conv(planes(images), kernels, padding="valid", data_format="channels_last")
    gradients = ops.reshape(gradients, (batch, channels, *ops.shape(gradients)[1:]))
    return gradients[..., 0], gradients[..., 1]
