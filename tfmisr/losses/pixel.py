"""Losses of single pixels and of their neighbours: Charbonnier, gradients, total variation."""

import keras
import numpy as np
from keras import ops


def image_mean(values):
    """Returns the mean over all axes but the first: one value an image."""
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


def planes(images):
    """Returns `(batch, height, width, channels)` as `(batch * channels, height, width, 1)`.

    One ordinary convolution then treats all channels alike: those of a depthwise one have no deterministic
    gradient on GPUs.
    """
    _, height, width, _ = ops.shape(images)
    return ops.reshape(ops.transpose(images, (0, 3, 1, 2)), (-1, height, width, 1))


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

    def __init__(self, epsilon=1e-3, reduction="sum_over_batch_size", name="charbonnier", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        difference = ops.cast(y_true, y_pred.dtype) - y_pred
        return ops.mean(ops.sqrt(ops.square(difference) + self.epsilon**2), axis=-1)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("tfmisr")
class Gradient(keras.losses.Loss):
    """Mean absolute difference of the horizontal and of the vertical intensity gradients.

    Both are in intensity per pixel and are taken where the filter lies inside the image. Flat regions count
    nothing, whatever their brightness, so this loss goes beside another.

    Args:
        kind: `sobel`, a central difference smoothed across its direction, or `difference`, of next neighbours, which
            sees the finest detail and the noise.

    Reference:
        After the gradient difference loss of Mathieu et al., Deep Multi-Scale Video Prediction beyond Mean Square
        Error, ICLR 2016, https://arxiv.org/abs/1511.05440, which compares magnitudes; here signs count.
    """

    def __init__(self, kind="sobel", reduction="sum_over_batch_size", name="gradient", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.kind = kind

    def call(self, y_true, y_pred):
        gradients = _sobel if self.kind == "sobel" else _differences
        # Both are linear: the gradients' difference is the difference's gradients.
        vertical, horizontal = gradients(y_pred - y_true)
        return (image_mean(ops.abs(vertical)) + image_mean(ops.abs(horizontal))) / 2

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("tfmisr")
class TotalVariation(keras.losses.Loss):
    """Total variation of the restored image alone: mean absolute difference of next neighbours, both ways added.

    It rewards flat images and never looks at the truth, so it is of use with a small weight beside another loss.

    Reference:
        Rudin, Osher and Fatemi, Nonlinear Total Variation Based Noise Removal Algorithms, Physica D 1992,
        https://doi.org/10.1016/0167-2789(92)90242-F; the anisotropic form
    """

    def __init__(self, reduction="sum_over_batch_size", name="total_variation", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        vertical, horizontal = _differences(y_pred)
        return image_mean(ops.abs(vertical)) + image_mean(ops.abs(horizontal))


def _differences(images):
    return images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]


def _sobel(images):
    kernel = np.outer([-1, 0, 1], [1, 2, 1]).astype("float32") / 8
    kernels = ops.convert_to_tensor(np.stack([kernel, kernel.T], -1)[:, :, None])  # (3, 3, 1, 2)
    batch, channels = ops.shape(images)[0], images.shape[-1]
    found = ops.conv(planes(images), kernels, padding="valid", data_format="channels_last")
    found = ops.reshape(found, (batch, channels, *ops.shape(found)[1:]))
    return found[..., 0], found[..., 1]
