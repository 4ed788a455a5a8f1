"""IMDN: distillation blocks, which keep a quarter of the channels after each convolution and refine the rest.

Hui, Gao, Yang and Wang, Lightweight Image Super-Resolution with Information Multi-distillation Network, ACM Multimedia
2019, https://arxiv.org/abs/1909.11856.

Departures:
* The distilled channels have a separate convolution instead of a slice of the other one's output: the same weights.
* The mean color of DIV2K is not subtracted: it is not that of medical images.

The contrast-aware attention depends on the whole image, so images cannot be cut into tiles.
"""

import keras

from tfmisr import layers
from tfmisr.layers import attention
from tfmisr.models._types import HyperParameters

VARIANTS = {"baseline": {"num_filters": 64, "num_blocks": 6}}

_SLOPE = 0.05


def build(scale: int, channels: int = 1, num_filters: int = 64, num_blocks: int = 6) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution; a quarter of them is distilled.
        num_blocks: Number of distillation blocks.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = stem = layers.small_variance_conv(num_filters, "stem_conv")(low_res)
    refined = []
    for i in range(1, num_blocks + 1):
        x = _block(x, f"block{i}")
        refined.append(x)
    x = keras.layers.Concatenate(name="trunk_concat")(refined)
    x = layers.small_variance_conv(num_filters, "trunk_fuse", kernel_size=1)(x)
    x = keras.layers.LeakyReLU(_SLOPE, name="trunk_relu")(x)
    x = keras.layers.Add(name="trunk_add")([stem, layers.small_variance_conv(num_filters, "trunk_conv")(x)])
    return keras.Model(low_res, layers.pixel_shuffle_output(x, scale, channels), name="imdn")


def _block(x, name):
    filters = x.shape[-1]
    aside, rest, kept = filters // 4, x, []
    for i in (1, 2, 3):
        y = layers.small_variance_conv(aside, f"{name}_aside{i}")(rest)
        kept.append(keras.layers.LeakyReLU(_SLOPE, name=f"{name}_aside_relu{i}")(y))
        rest = layers.small_variance_conv(filters - aside, f"{name}_conv{i}")(rest)
        rest = keras.layers.LeakyReLU(_SLOPE, name=f"{name}_relu{i}")(rest)
    kept.append(layers.small_variance_conv(aside, f"{name}_aside4")(rest))
    y = keras.layers.Concatenate(name=f"{name}_concat")(kept)
    y = attention.channel_gate(
        y, attention.ContrastPooling(name=f"{name}_contrast")(y), max(filters // 16, 4), f"{name}_gate"
    )
    y = layers.small_variance_conv(filters, f"{name}_fuse", kernel_size=1)(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 48, 64]),
        "num_blocks": hp.Int("num_blocks", 2, 8, step=2),
    }
