"""RDN: residual dense blocks with global feature fusion.

Zhang, Tian, Kong, Zhong and Fu, Residual Dense Network for Image Super-Resolution, CVPR 2018,
https://arxiv.org/abs/1802.08797.

`large` is the paper's network (D = 16, C = 8, G = 64, configuration B of the code); `medium` is configuration A of the
code (D = 20, C = 6, G = 32). As in the authors' code x4 is two shuffles by 2 and x3 is one by 3; here x8 is three by 2.

Departures:
* `global_residual` is this project's own, after VDSR (Kim et al., CVPR 2016).
* `baseline` is this project's own: a size that trains on one device in hours.
* The pixel shuffles of `medium` keep 64 filters, where the code's have the growth rate, 32.
* The mean color of DIV2K is not subtracted: it is not that of medical images.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "baseline": {"num_blocks": 6, "num_layers": 4, "growth_filters": 32},
    "medium": {"num_blocks": 20, "num_layers": 6, "growth_filters": 32},
    "large": {"num_blocks": 16, "num_layers": 8, "growth_filters": 64},
}


def build(
    scale: int,
    channels: int = 1,
    num_filters: int = 64,
    num_blocks: int = 6,
    num_layers: int = 4,
    growth_filters: int = 32,
    global_residual: bool = False,
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters between the blocks, G0 in the paper.
        num_blocks: Number of residual dense blocks, D in the paper.
        num_layers: Convolutions in a block, C in the paper.
        growth_filters: Filters that each of them adds, G in the paper.
        global_residual: Compute the residual to the bicubic interpolation of the input, by one sub-pixel convolution,
            in place of the image: its int8 file loses less.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    stem = layers.small_variance_conv(num_filters, "stem_conv")(low_res)
    x, blocks = layers.small_variance_conv(num_filters, "shallow_conv")(stem), []
    for i in range(1, num_blocks + 1):
        x = _block(x, num_layers, growth_filters, f"block{i}")
        blocks.append(x)
    x = keras.layers.Concatenate(name="trunk_concat")(blocks)
    x = layers.small_variance_conv(num_filters, "trunk_fuse", kernel_size=1)(x)
    x = keras.layers.Add(name="trunk_add")([stem, layers.small_variance_conv(num_filters, "trunk_conv")(x)])
    if global_residual:
        return keras.Model(low_res, layers.global_residual(x, low_res, scale), name="rdn")
    x = layers.pixel_shuffle_upsampling(x, scale)
    return keras.Model(low_res, layers.output_conv(channels)(x), name="rdn")


def _block(x, num_layers, growth_filters, name):
    dense = x
    for i in range(1, num_layers + 1):
        y = layers.small_variance_conv(growth_filters, f"{name}_conv{i}")(dense)
        y = keras.layers.ReLU(name=f"{name}_relu{i}")(y)
        dense = keras.layers.Concatenate(name=f"{name}_concat{i}")([dense, y])
    y = layers.small_variance_conv(x.shape[-1], f"{name}_fuse", kernel_size=1)(dense)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_blocks": hp.Choice("num_blocks", [4, 6, 10, 16]),
        "num_layers": hp.Int("num_layers", 2, 8, step=2),
        "growth_filters": hp.Choice("growth_filters", [16, 32, 64]),
    }
