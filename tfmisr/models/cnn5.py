"""The paper's five-layer CNN: "64 filters per layer, 3x3 kernels, batch normalisation and residual connections".

Baraiya and Kothari, Deep learning for medical image super-resolution for precision diagnosis.

Departures, where the paper is silent:
* The layers work on the low-resolution grid; a sixth, sub-pixel convolution without activation outputs the image.
* The residual connections join layers 1 and 3, and 3 and 5; a global one adds the bicubic interpolation of the input.
* ReLU follows every one of the five convolutions, after its batch normalization.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {"baseline": {"num_filters": 64, "num_layers": 5}}


def build(scale: int, channels: int = 1, num_filters: int = 64, num_layers: int = 5) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_layers: Number of convolutions before the sub-pixel one.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x, shortcut = low_res, None
    for i in range(1, num_layers + 1):
        x = layers.conv(num_filters, f"conv{i}", use_bias=False)(x)
        x = layers.batch_normalization(f"bn{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
        if i % 2:
            x = x if shortcut is None else keras.layers.Add(name=f"add{i}")([shortcut, x])
            shortcut = x
    return keras.Model(low_res, layers.global_residual(x, low_res, scale), name="cnn5")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial: the paper's study of layers and filters."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64, 96]),
        "num_layers": hp.Int("num_layers", 3, 9, step=2),
    }
