"""The network and the loss of an uncertainty head, in Keras.

Four convolutions on the input and the inverted pixel shuffle of the residual; the statistics of the full image pass
two dense layers and are added to the features of the first (a whole-image branch). The output is log s, from -1 to 1
over `LOG_RANGE`. The loss is that of quantile regression on the absolute error.

Reference:
    Koenker and Bassett, Regression Quantiles, Econometrica 1978, for the pinball loss
"""

import math

import keras
from keras import ops

from tfmisr.edge import uncertainty_inputs as inputs

QUANTILE = 0.9
KERNEL, DILATIONS = 3, (1, 2, 2, 1)
RADIUS = KERNEL // 2 * sum(DILATIONS)  # low-resolution pixels
LOG_RANGE = (math.log(0.25 / inputs.LEVELS), math.log(64 / inputs.LEVELS))  # of s, as a fraction of the full scale
_START = 2.0  # levels: s of an untrained head


def build(scale: int, channels: int, filters: int = 32) -> keras.Model:
    """Returns an untrained head.

    Args:
        scale: Upsampling factor of the main network.
        channels: Channels of the images.
        filters: Channels of the hidden layers.

    Returns:
        A network from `low_res` (batch, height, width, (1 + scale * scale) * channels) and `context` (batch, 1, 1,
        statistics), both in [-1, 1], to (batch, height, width, scale * scale * channels) in [-1, 1].
    """
    low_res = keras.Input((None, None, (1 + scale**2) * channels), name="low_res")
    context = keras.Input((1, 1, len(inputs.STATISTICS)), name="context")
    hidden = keras.layers.Conv2D(filters // 2, 1, activation="relu", name="context_hidden")(context)
    shift = keras.layers.Conv2D(filters, 1, name="context_shift")(hidden)
    x = keras.layers.Conv2D(filters, KERNEL, padding="same", name="conv_1")(low_res)
    x = keras.layers.ReLU(name="relu_1")(keras.layers.Add(name="add_context")([x, shift]))
    for i, dilation in enumerate(DILATIONS[1:-1], 2):
        options = {"padding": "same", "activation": "relu", "dilation_rate": dilation, "name": f"conv_{i}"}
        x = keras.layers.Conv2D(filters, KERNEL, **options)(x)
    start = keras.initializers.Constant(_to_output(math.log(_START / inputs.LEVELS)))
    last = {"padding": "same", "activation": "hard_tanh", "bias_initializer": start, "name": "log_s"}
    last["kernel_initializer"] = keras.initializers.RandomNormal(stddev=0.01)
    return keras.Model([low_res, context], keras.layers.Conv2D(scale**2 * channels, KERNEL, **last)(x), name="head")


def _to_output(log_s: float) -> float:
    low, high = LOG_RANGE
    return 2 * (log_s - low) / (high - low) - 1


@keras.saving.register_keras_serializable("tfmisr")
class PinballLoss(keras.losses.Loss):
    """Quantile regression of the absolute error by `s = exp(log s)`: `max(q (e - s), (1 - q) (s - e))`, in levels.

    Args:
        quantile: The quantile `q`.
        reduction: As of `keras.losses.Loss`.
        name: Name in logs.
        dtype: As of `keras.losses.Loss`.
    """

    def __init__(
        self,
        quantile: float = QUANTILE,
        reduction: str = "sum_over_batch_size",
        name: str = "pinball",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.quantile = quantile

    def call(self, y_true, y_pred):
        excess = y_true - levels(y_pred)
        return ops.mean(ops.maximum(self.quantile * excess, (self.quantile - 1) * excess), axis=(1, 2, 3))

    def get_config(self):
        return {**super().get_config(), "quantile": self.quantile}


def levels(output: keras.KerasTensor) -> keras.KerasTensor:
    """Returns s in levels of 8 bits from the network's output."""
    low, high = LOG_RANGE
    return inputs.LEVELS * ops.exp(low + (output + 1) / 2 * (high - low))


def coverage(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the fraction of the pixels whose error is at most s."""
    return ops.mean(ops.cast(y_true <= levels(y_pred), "float32"))
