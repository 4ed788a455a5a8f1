"""EDSR: SRResNet without batch normalization, wider and deeper.

Lim, Son, Kim, Nah and Lee, Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPR Workshops 2017,
https://arxiv.org/abs/1707.02921.

As in the authors' code x4 is two shuffles by 2 and x3 is one by 3; here x8 is three by 2.

Departures:
* `global_residual` is this project's own, after VDSR (Kim et al., CVPR 2016).
* The mean color of DIV2K is not subtracted: it is not that of medical images.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "baseline": {"num_filters": 64, "num_blocks": 16, "residual_scaling": 1.0},
    "large": {"num_filters": 256, "num_blocks": 32, "residual_scaling": 0.1},
}


def build(
    scale: int,
    channels: int = 1,
    num_filters: int = 64,
    num_blocks: int = 16,
    residual_scaling: float = 1.0,
    global_residual: bool = False,
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_blocks: Number of residual blocks of two convolutions.
        residual_scaling: Factor of each block's residual; below 1 it keeps the training of wide networks stable.
        global_residual: Compute the residual to the bicubic interpolation of the input, by one sub-pixel convolution,
            in place of the image: its int8 file loses less.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = stem = layers.small_variance_conv(num_filters, "stem_conv")(low_res)
    for i in range(1, num_blocks + 1):
        x = _block(x, residual_scaling, f"block{i}")
    x = keras.layers.Add(name="trunk_add")([stem, layers.small_variance_conv(num_filters, "trunk_conv")(x)])
    if global_residual:
        return keras.Model(low_res, layers.global_residual(x, low_res, scale), name="edsr")
    x = layers.pixel_shuffle_upsampling(x, scale)
    return keras.Model(low_res, layers.output_conv(channels)(x), name="edsr")


def _block(x, residual_scaling, name):
    y = layers.small_variance_conv(x.shape[-1], f"{name}_conv1")(x)
    y = keras.layers.ReLU(name=f"{name}_relu")(y)
    y = layers.small_variance_conv(x.shape[-1], f"{name}_conv2")(y)
    if residual_scaling != 1:
        y = keras.layers.Rescaling(residual_scaling, name=f"{name}_scaled")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64, 128]),
        "num_blocks": hp.Choice("num_blocks", [4, 8, 16, 32]),
        "residual_scaling": hp.Choice("residual_scaling", [1.0, 0.1]),
    }
