"""RCAN: residual groups of residual blocks with channel attention.

Zhang, Li, Li, Wang, Zhong and Fu, Image Super-Resolution Using Very Deep Residual Channel Attention Networks, ECCV
2018, https://arxiv.org/abs/1807.02758.

`large` is the paper's network. As in the authors' code x4 is two shuffles by 2, x8 three, and x3 is one shuffle by 3.
The channel attention depends on the whole image, so images cannot be cut into tiles.

Departures:
* `global_residual` is this project's own, after VDSR (Kim et al., CVPR 2016).
* `baseline` is this project's own: a size that trains on one device in hours.
* The mean color of DIV2K is not subtracted: it is not that of medical images.
"""

import keras

from tfmisr import layers
from tfmisr.layers import attention
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "baseline": {"num_groups": 4, "num_blocks": 4},
    "large": {"num_groups": 10, "num_blocks": 20},
}

_REDUCTION = 16


def build(
    scale: int,
    channels: int = 1,
    num_filters: int = 64,
    num_groups: int = 4,
    num_blocks: int = 4,
    global_residual: bool = False,
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution; the attention reduces them to a sixteenth.
        num_groups: Number of residual groups.
        num_blocks: Number of residual channel attention blocks in a group.
        global_residual: Compute the residual to the bicubic interpolation of the input, by one sub-pixel convolution,
            in place of the image: its int8 file loses less.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = stem = layers.small_variance_conv(num_filters, "stem_conv")(low_res)
    for i in range(1, num_groups + 1):
        x = _group(x, num_blocks, f"group{i}")
    x = keras.layers.Add(name="trunk_add")([stem, layers.small_variance_conv(num_filters, "trunk_conv")(x)])
    if global_residual:
        return keras.Model(low_res, layers.global_residual(x, low_res, scale), name="rcan")
    x = layers.pixel_shuffle_upsampling(x, scale)
    return keras.Model(low_res, layers.output_conv(channels)(x), name="rcan")


def _group(x, num_blocks, name):
    y = x
    for i in range(1, num_blocks + 1):
        y = _block(y, f"{name}_block{i}")
    return keras.layers.Add(name=f"{name}_add")([x, layers.small_variance_conv(x.shape[-1], f"{name}_conv")(y)])


def _block(x, name):
    filters = x.shape[-1]
    y = layers.small_variance_conv(filters, f"{name}_conv1")(x)
    y = keras.layers.ReLU(name=f"{name}_relu")(y)
    y = layers.small_variance_conv(filters, f"{name}_conv2")(y)
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool", dtype="float32")(y)
    y = attention.channel_gate(y, pooled, max(filters // _REDUCTION, 1), f"{name}_gate")
    return keras.layers.Add(name=f"{name}_add")([x, y])


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64]),
        "num_groups": hp.Int("num_groups", 2, 10, step=2),
        "num_blocks": hp.Choice("num_blocks", [2, 4, 10, 20]),
    }
