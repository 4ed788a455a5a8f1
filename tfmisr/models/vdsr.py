"""VDSR: twenty plain convolutions with a global residual connection.

Kim, Lee and Lee, Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016,
https://arxiv.org/abs/1511.04587.

Departures:
* The last convolution is initialized to zero, so that the untrained network is the interpolation; the others as He et
  al. propose, as in the paper.
* One network serves one scale, where the authors train one for x2, x3 and x4 together.
* All channels of a color image are processed together; the authors process the luminance alone.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {"baseline": {"num_filters": 64, "num_layers": 20}}


def build(scale: int, channels: int = 1, num_filters: int = 64, num_layers: int = 20) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution but the last.
        num_layers: Number of convolutions, the last one included.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = upsampled = layers.BicubicUpsampling(scale, name="bicubic")(low_res)
    for i in range(1, num_layers):
        x = layers.conv(num_filters, f"conv{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    x = layers.conv(channels, "output_conv", kernel_initializer="zeros")(x)
    super_res = keras.layers.Add(name="super_res", dtype="float32")([upsampled, x])
    return keras.Model(low_res, super_res, name="vdsr")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial: the depths that the paper compares."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64]),
        "num_layers": hp.Int("num_layers", 5, 20, step=5),
    }
