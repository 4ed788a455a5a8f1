"""The generator of the paper's GAN: six residual blocks.

Baraiya and Kothari, Deep learning for medical image super-resolution for precision diagnosis, after
Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (DCGAN),
ICLR 2016, https://arxiv.org/abs/1511.06434.

Departures, where the paper is silent:
* The blocks are those of SRGAN (Ledig et al., CVPR 2017, https://arxiv.org/abs/1609.04802): no ReLU after the sum,
  and a long skip from the stem over all blocks. The input is the low-resolution image instead of DCGAN's noise.
* The output has no tanh; the bicubic interpolation of the input is added to it.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {"baseline": {"num_filters": 64, "num_blocks": 6}}


def build(scale: int, channels: int = 1, num_filters: int = 64, num_blocks: int = 6) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_blocks: Number of residual blocks of two convolutions.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    stem = layers.conv(num_filters, "stem_conv")(low_res)
    x = stem = keras.layers.ReLU(name="stem_relu")(stem)
    for i in range(1, num_blocks + 1):
        x = layers.residual_block(x, num_filters, f"block{i}", final_relu=False)
    x = layers.conv(num_filters, "trunk_conv", use_bias=False)(x)
    x = keras.layers.Add(name="trunk_add")([stem, layers.batch_normalization("trunk_bn")(x)])
    return keras.Model(low_res, layers.global_residual(x, low_res, scale), name="resnet6")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64, 96]),
        "num_blocks": hp.Choice("num_blocks", [2, 4, 6, 12]),
    }
