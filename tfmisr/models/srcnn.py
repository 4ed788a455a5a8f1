"""SRCNN: the first convolutional network for super-resolution, three layers on the interpolated image.

Dong, Loy, He and Tang, Image Super-Resolution Using Deep Convolutional Networks, IEEE TPAMI 2016,
https://arxiv.org/abs/1501.00092.

Departures:
* Zero padding keeps the image's size; the authors train without padding and lose the border.
* Convolutions are initialized as He et al. and LeCun et al. propose, not with a standard deviation of 0.001.
* All channels of a color image are processed together; the authors process the luminance alone.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "9-1-5": {"mapping_kernel": 1},
    "9-3-5": {"mapping_kernel": 3},
    "9-5-5": {"mapping_kernel": 5},
}


def build(
    scale: int, channels: int = 1, num_filters: int = 64, mapped_filters: int = 32, mapping_kernel: int = 1
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of the first layer, which extracts patches.
        mapped_filters: Filters of the second layer, which maps them.
        mapping_kernel: Side of the second layer's kernels.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = layers.BicubicUpsampling(scale, name="bicubic")(low_res)
    x = layers.conv(num_filters, "extract_conv", kernel_size=9)(x)
    x = keras.layers.ReLU(name="extract_relu")(x)
    x = layers.conv(mapped_filters, "map_conv", kernel_size=mapping_kernel)(x)
    x = keras.layers.ReLU(name="map_relu")(x)
    return keras.Model(low_res, layers.output_conv(channels, kernel_size=5)(x), name="srcnn")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [32, 64, 128]),
        "mapped_filters": hp.Choice("mapped_filters", [16, 32, 64]),
        "mapping_kernel": hp.Choice("mapping_kernel", [1, 3, 5]),
    }
