"""Pixel losses, reached by name through `keras.losses.get`."""

import keras
from keras import ops

NAMES = ("mse", "mae", "charbonnier")


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


def get(name: str, reduction: str = "sum_over_batch_size") -> keras.losses.Loss:
    """Returns the pixel loss called `mse`, `mae` or `charbonnier`, in float32 whatever the policy.

    Args:
        name: One of `NAMES`.
        reduction: `sum_over_batch_size`, a mean that Keras divides by the replicas of a strategy, or `none`.
    """
    classes = {
        "mse": keras.losses.MeanSquaredError,
        "mae": keras.losses.MeanAbsoluteError,
        "charbonnier": Charbonnier,
    }
    if name not in classes:
        raise ValueError(f"`name` must be one of {NAMES}. Received: name={name}")
    return classes[name](reduction=reduction, dtype="float32")
