"""The paper's "ResNet with 18 layers", adapted to super-resolution.

Baraiya and Kothari, Deep learning for medical image super-resolution for precision diagnosis. The network is that of
He et al., Deep Residual Learning for Image Recognition, CVPR 2016, https://arxiv.org/abs/1512.03385.

Departures from ResNet-18, a classifier:
* One 3x3 stem and eight basic blocks, all with 64 filters and without strides or pooling, so that no detail is lost;
  the fully connected eighteenth layer becomes the sub-pixel convolution that outputs the image.
* The bicubic interpolation of the input is added to its output (global residual).
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {"baseline": {"num_filters": 64, "num_blocks": 8}}


def build(scale: int, channels: int = 1, num_filters: int = 64, num_blocks: int = 8) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_blocks: Number of residual blocks of two convolutions.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = layers.conv(num_filters, "stem_conv", use_bias=False)(low_res)
    x = keras.layers.ReLU(name="stem_relu")(layers.batch_normalization("stem_bn")(x))
    for i in range(1, num_blocks + 1):
        x = layers.residual_block(x, num_filters, f"block{i}")
    return keras.Model(low_res, layers.global_residual(x, low_res, scale), name="resnet18")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial: the paper's study of layers and filters."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64, 96]),
        "num_blocks": hp.Choice("num_blocks", [2, 4, 8, 12]),
    }
