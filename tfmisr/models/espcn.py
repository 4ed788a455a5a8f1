"""ESPCN: three convolutions on the low-resolution grid and a pixel shuffle.

Shi, Caballero, Huszár, Totz, Aitken, Bishop, Rueckert and Wang, Real-Time Single Image and Video Super-Resolution Using
an Efficient Sub-Pixel Convolutional Neural Network, CVPR 2016, https://arxiv.org/abs/1609.05158.

Departures:
* Zero padding keeps the image's size.
* All channels of a color image are processed together; the authors process the luminance alone.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {"baseline": {"num_filters": 64, "mapped_filters": 32}}


def build(scale: int, channels: int = 1, num_filters: int = 64, mapped_filters: int = 32) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of the first layer.
        mapped_filters: Filters of the second layer.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = low_res
    for i, (filters, kernel_size) in enumerate([(num_filters, 5), (mapped_filters, 3)], 1):
        x = layers.conv(filters, f"conv{i}", kernel_size, kernel_initializer="glorot_normal")(x)
        x = keras.layers.Activation("tanh", name=f"tanh{i}")(x)
    return keras.Model(low_res, layers.pixel_shuffle_output(x, scale, channels), name="espcn")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [32, 64, 128]),
        "mapped_filters": hp.Choice("mapped_filters", [16, 32, 64]),
    }
