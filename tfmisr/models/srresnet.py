"""SRResNet, the generator of SRGAN: residual blocks with batch normalization and sub-pixel convolutions.

Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017,
https://arxiv.org/abs/1609.04802.

Departures:
* The paper upscales by 4, with two pixel shuffles by 2. Here x2 has one, x8 three, and x3 one by 3.
* Convolutions before a batch normalization have no bias, which it would cancel.
* Pixels are in [0, 1] at both ends, not in [-1, 1] at the output.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {"baseline": {"num_filters": 64, "num_blocks": 16}}


def build(scale: int, channels: int = 1, num_filters: int = 64, num_blocks: int = 16) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_blocks: Number of residual blocks of two convolutions.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = stem = layers.prelu("stem_prelu")(layers.conv(num_filters, "stem_conv", kernel_size=9)(low_res))
    for i in range(1, num_blocks + 1):
        x = _block(x, f"block{i}")
    x = layers.small_variance_conv(num_filters, "trunk_conv", use_bias=False)(x)
    x = keras.layers.Add(name="trunk_add")([stem, layers.batch_normalization("trunk_bn")(x)])
    x = layers.pixel_shuffle_upsampling(x, scale, layers.prelu)
    return keras.Model(low_res, layers.output_conv(channels, kernel_size=9)(x), name="srresnet")


def _block(x, name):
    filters = x.shape[-1]
    y = layers.small_variance_conv(filters, f"{name}_conv1", use_bias=False)(x)
    y = layers.prelu(f"{name}_prelu")(layers.batch_normalization(f"{name}_bn1")(y))
    y = layers.small_variance_conv(filters, f"{name}_conv2", use_bias=False)(y)
    return keras.layers.Add(name=f"{name}_add")([x, layers.batch_normalization(f"{name}_bn2")(y)])


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64]),
        "num_blocks": hp.Choice("num_blocks", [4, 8, 16]),
    }
