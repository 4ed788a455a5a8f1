"""FSRCNN: a faster SRCNN, with few narrow layers on the low-resolution grid and one transposed convolution.

Dong, Loy and Tang, Accelerating the Super-Resolution Convolutional Neural Network, ECCV 2016,
https://arxiv.org/abs/1608.00367.

Departures:
* The kernel of the transposed convolution is 9x9 at x3, as in the paper, and 10x10 at even scales: nine taps cannot lie
  symmetrically around pixel centers that are half a pixel off, and the authors' image is shifted by that half pixel.
* The transposed convolution is initialized so that it keeps the features' variance, not with a standard deviation of
  0.001.
* All channels of a color image are processed together; the authors process the luminance alone.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "baseline": {"num_filters": 56, "shrunk_filters": 12, "num_layers": 4},
    "small": {"num_filters": 32, "shrunk_filters": 5, "num_layers": 1},
}


def build(
    scale: int, channels: int = 1, num_filters: int = 56, shrunk_filters: int = 12, num_layers: int = 4
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of the first and the last but one layer, d in the paper.
        shrunk_filters: Filters of the layers between, s in the paper.
        num_layers: Number of 3x3 convolutions between, m in the paper.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = layers.prelu("extract_prelu")(layers.conv(num_filters, "extract_conv", kernel_size=5)(low_res))
    x = layers.prelu("shrink_prelu")(layers.conv(shrunk_filters, "shrink_conv", kernel_size=1)(x))
    for i in range(1, num_layers + 1):
        x = layers.prelu(f"map{i}_prelu")(layers.conv(shrunk_filters, f"map{i}_conv")(x))
    x = layers.prelu("expand_prelu")(layers.conv(num_filters, "expand_conv", kernel_size=1)(x))
    upsample = keras.layers.Conv2DTranspose(
        channels,
        9 if scale % 2 else 10,
        strides=scale,
        padding="same",
        # Each output pixel depends on one in scale**2 of the taps.
        kernel_initializer=keras.initializers.VarianceScaling(scale**2, "fan_out"),
        dtype="float32",
        name="super_res",
    )
    return keras.Model(low_res, upsample(x), name="fsrcnn")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial: what the paper tries."""
    return {
        "num_filters": hp.Choice("num_filters", [48, 56]),
        "shrunk_filters": hp.Choice("shrunk_filters", [12, 16]),
        "num_layers": hp.Int("num_layers", 2, 4),
    }
