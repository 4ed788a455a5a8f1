"""ABPN, designed for 8-bit integers: the residual is added to the repeated input before the pixel shuffle.

Du, Liu, Tang and Wu, Anchor-based Plain Net for Mobile Image Super-Resolution, CVPR Workshops (Mobile AI) 2021,
https://arxiv.org/abs/2105.09750.

Departures:
* `global_residual` is this project's own, after VDSR (Kim et al., CVPR 2016).
* Pixels are in [0, 1], not in [0, 255].
* The output is clipped in inference and not in training, where a clipped pixel has no gradient.
* The last convolution is initialized to zero, so that the untrained network repeats pixels; the others as He et al.
  propose.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {"baseline": {"num_filters": 28, "num_layers": 4}}


def build(
    scale: int, channels: int = 1, num_filters: int = 28, num_layers: int = 4, global_residual: bool = False
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_layers: Number of convolutions between the first one and the last two.
        global_residual: Add the residual to the bicubic interpolation of the input, in place of its repeated pixels:
            the int8 file holds the residual alone and loses less.
    """
    low_res = x = keras.Input((None, None, channels), name="low_res")
    filters = [num_filters] * (num_layers + 1) + [scale**2 * channels]
    for i, count in enumerate(filters, 1):
        x = layers.conv(count, f"conv{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    x = layers.conv(filters[-1], "output_conv", kernel_initializer="zeros")(x)
    output = layers.global_residual_shuffled if global_residual else layers.anchor_residual
    return keras.Model(low_res, output(x, low_res, scale), name="abpn")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 28, 32, 48]),
        "num_layers": hp.Int("num_layers", 2, 8),
    }
