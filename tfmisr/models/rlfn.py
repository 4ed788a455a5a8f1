"""RLFN, winner of the NTIRE 2022 challenge on efficient super-resolution: plain residual blocks, spatial attention.

Kong, Li, Liu, Liu, He, Bai, Chen and Fu, Residual Local Feature Network for Efficient Super-Resolution, CVPR Workshops
2022, https://arxiv.org/abs/2205.07514. The enhanced spatial attention is that of Liu et al., Residual Feature
Aggregation Network for Image Super-Resolution, CVPR 2020, with fewer convolutions.

Departures:
* `global_residual` is this project's own, after VDSR (Kim et al., CVPR 2016).
* The strided convolution and the pooling of the attention pad the image, so that a tiny image has a map too.

The attention map is resized to the image's size, so images cannot be cut into tiles.
"""

import keras

from tfmisr import layers
from tfmisr.layers import attention
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "baseline": {"num_filters": 52, "num_blocks": 6},
    "small": {"num_filters": 48, "num_blocks": 6},
}

_SLOPE = 0.05


def build(
    scale: int,
    channels: int = 1,
    num_filters: int = 52,
    num_blocks: int = 6,
    attention_filters: int = 16,
    global_residual: bool = False,
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_blocks: Number of residual local feature blocks.
        attention_filters: Filters of the spatial attention.
        global_residual: Compute the residual to the bicubic interpolation of the input in place of the image:
            its int8 file loses less.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = stem = layers.small_variance_conv(num_filters, "stem_conv")(low_res)
    for i in range(1, num_blocks + 1):
        x = _block(x, attention_filters, f"block{i}")
    x = keras.layers.Add(name="trunk_add")([stem, layers.small_variance_conv(num_filters, "trunk_conv")(x)])
    if global_residual:
        return keras.Model(low_res, layers.global_residual(x, low_res, scale), name="rlfn")
    return keras.Model(low_res, layers.pixel_shuffle_output(x, scale, channels), name="rlfn")


def _block(x, attention_filters, name):
    filters, y = x.shape[-1], x
    for i in (1, 2, 3):
        y = layers.small_variance_conv(filters, f"{name}_conv{i}")(y)
        y = keras.layers.LeakyReLU(_SLOPE, name=f"{name}_relu{i}")(y)
    y = keras.layers.Add(name=f"{name}_add")([x, y])
    y = layers.small_variance_conv(filters, f"{name}_fuse", kernel_size=1)(y)
    return _spatial_attention(y, attention_filters, f"{name}_attention")


def _spatial_attention(x, filters, name):
    reduced = layers.small_variance_conv(filters, f"{name}_reduce", kernel_size=1)(x)
    y = layers.small_variance_conv(filters, f"{name}_stride", strides=2)(reduced)
    y = keras.layers.MaxPooling2D(7, 3, padding="same", name=f"{name}_pool")(y)
    y = layers.small_variance_conv(filters, f"{name}_conv")(y)
    y = attention.BilinearResizing(name=f"{name}_resize")(y, reduced)
    around = layers.small_variance_conv(filters, f"{name}_skip", kernel_size=1)(reduced)
    y = keras.layers.Add(name=f"{name}_add")([y, around])
    y = layers.small_variance_conv(x.shape[-1], f"{name}_expand", kernel_size=1)(y)
    y = keras.layers.Activation("sigmoid", name=f"{name}_sigmoid")(y)
    return keras.layers.Multiply(name=f"{name}_weighted")([x, y])


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 48, 52]),
        "num_blocks": hp.Int("num_blocks", 2, 8, step=2),
    }
