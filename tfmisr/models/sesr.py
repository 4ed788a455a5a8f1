"""SESR: collapsible linear blocks, trained wide and used as one small convolution each.

Bhardwaj, Milosavljevic, O'Neil, Gope, Matas, Chalfin, Suda, Meng and Loh, Collapsible Linear Blocks for Super-Efficient
Super Resolution, MLSys 2022, https://arxiv.org/abs/2103.09404.

As in the paper the blocks are collapsed in every training step, before they are applied, and the trainable weights are
those of the wide blocks. `tfmisr.layers.collapsible.collapsed` replaces them by plain convolutions;
`python -m tfmisr.export` calls it.

Departures:
* `global_residual` is this project's own, after VDSR (Kim et al., CVPR 2016).
* One pixel shuffle by 4 replaces two by 2: the same up to the order of the channels.
* The output is clipped in inference and not in training, where a clipped pixel has no gradient.
* The last block is initialized to zero, so that the untrained network repeats pixels.
"""

import keras

from tfmisr import layers
from tfmisr.layers.collapsible import CollapsibleConv2D
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "m5": {"num_filters": 16, "num_layers": 5},
    "m3": {"num_filters": 16, "num_layers": 3},
    "m7": {"num_filters": 16, "num_layers": 7},
    "m11": {"num_filters": 16, "num_layers": 11},
    "xl": {"num_filters": 32, "num_layers": 11},
}


def build(
    scale: int,
    channels: int = 1,
    num_filters: int = 16,
    num_layers: int = 5,
    expansion: int = 256,
    global_residual: bool = False,
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each collapsed convolution.
        num_layers: Number of 3x3 blocks, m in the paper.
        expansion: Filters inside a block in training.
        global_residual: Add the residual to the bicubic interpolation of the input, in place of its repeated pixels:
            the int8 file holds the residual alone and loses less.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = keras.layers.Rescaling(1.0, -0.5, name="centred")(low_res)
    x = first = CollapsibleConv2D(num_filters, 5, expansion, name="conv_in")(x)
    for i in range(1, num_layers + 1):
        x = CollapsibleConv2D(num_filters, 3, expansion, residual=True, name=f"conv{i}")(x)
        x = keras.layers.PReLU(shared_axes=(1, 2), name=f"prelu{i}")(x)
    x = keras.layers.Add(name="trunk_add")([first, x])
    x = CollapsibleConv2D(scale**2 * channels, 5, expansion, projection_initializer="zeros", name="output_conv")(x)
    output = layers.global_residual_shuffled if global_residual else layers.anchor_residual
    return keras.Model(low_res, output(x, low_res, scale), name="sesr")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 24, 32]),
        "num_layers": hp.Int("num_layers", 3, 11, step=2),
    }
