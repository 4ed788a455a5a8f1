"""RRDB-Net, the generator of ESRGAN: residual blocks of residual dense blocks.

Wang, Yu, Wu, Gu, Liu, Dong, Qiao and Loy, ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, ECCV
Workshops 2018, https://arxiv.org/abs/1809.00219.

`large` is the paper's network; `baseline` has the six blocks of Real-ESRGAN's small one (Wang et al., ICCV Workshops
2021, https://arxiv.org/abs/2107.10833). As in the authors' code x4 repeats pixels by 2, convolves, and does both again.

Departures:
* The paper upscales by 4. Here x2 is one such step and x8 three, and x3 one that repeats pixels by 3. (Real-ESRGAN's x2
  is the network for x4 on a pixel-unshuffled image of half the size.)
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "baseline": {"num_filters": 64, "num_blocks": 6, "growth_filters": 32},
    "large": {"num_filters": 64, "num_blocks": 23, "growth_filters": 32},
}

_SLOPE = 0.2
_RESIDUAL_SCALING = 0.2


def build(
    scale: int, channels: int = 1, num_filters: int = 64, num_blocks: int = 6, growth_filters: int = 32
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters between the dense blocks.
        num_blocks: Number of blocks of three dense blocks each.
        growth_filters: Filters of each convolution of a dense block (growth rate).
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = stem = layers.small_variance_conv(num_filters, "stem_conv")(low_res)
    for i in range(1, num_blocks + 1):
        y = x
        for j in (1, 2, 3):
            y = _dense_block(y, growth_filters, f"block{i}_dense{j}")
        x = _residual(x, y, f"block{i}")
    x = keras.layers.Add(name="trunk_add")([stem, layers.small_variance_conv(num_filters, "trunk_conv")(x)])
    for i, factor in enumerate(layers.stages(scale), 1):
        x = keras.layers.UpSampling2D(factor, name=f"upsample{i}_repeat")(x)
        x = _activated(layers.small_variance_conv(num_filters, f"upsample{i}_conv")(x), f"upsample{i}")
    x = _activated(layers.small_variance_conv(num_filters, "high_res_conv")(x), "high_res")
    return keras.Model(low_res, layers.output_conv(channels)(x), name="rrdb")


def _dense_block(x, growth_filters, name):
    dense = x
    for i in range(1, 5):
        y = _activated(_small_conv(growth_filters, f"{name}_conv{i}")(dense), f"{name}_conv{i}")
        dense = keras.layers.Concatenate(name=f"{name}_concat{i}")([dense, y])
    return _residual(x, _small_conv(x.shape[-1], f"{name}_conv5")(dense), name)


def _small_conv(filters, name):
    # A tenth of He's standard deviation, as in the paper.
    return layers.conv(filters, name, kernel_initializer=keras.initializers.VarianceScaling(2 * 0.1**2))


def _activated(x, name):
    return keras.layers.LeakyReLU(_SLOPE, name=f"{name}_relu")(x)


def _residual(x, y, name):
    y = keras.layers.Rescaling(_RESIDUAL_SCALING, name=f"{name}_scaled")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [32, 48, 64]),
        "num_blocks": hp.Int("num_blocks", 2, 10, step=2),
        "growth_filters": hp.Choice("growth_filters", [16, 32]),
    }
