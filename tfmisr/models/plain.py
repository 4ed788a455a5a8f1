"""A plain chain of 3x3 convolutions with a global bicubic residual, designed for integer convolutions.

Its parts and their sources:
* the global residual connection, from VDSR (Kim, Lee and Lee, CVPR 2016, https://arxiv.org/abs/1511.04587);
* layers on the low-resolution grid with a sub-pixel convolution at the end, from ESPCN (Shi et al., CVPR 2016,
  https://arxiv.org/abs/1609.05158);
* only convolutions and ReLU between input and output, which fuse and need no further memory traffic, from ABPN
  (Du et al., CVPR Workshops 2021, https://arxiv.org/abs/2105.09750);
* initialization near the identity, as if each convolution were a collapsed residual block, from RepVGG (Ding et al.,
  CVPR 2021, https://arxiv.org/abs/2101.03697), so that many layers train without skip connections.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {"fast": {"num_filters": 64, "num_layers": 8}, "best": {"num_filters": 64, "num_layers": 16}}


def build(scale: int, channels: int = 1, num_filters: int = 64, num_layers: int = 8) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_layers: Number of convolutions before the sub-pixel one.
    """
    low_res = x = keras.Input((None, None, channels), name="low_res")
    for i in range(1, num_layers + 1):
        start = "he_normal" if i == 1 else layers.NearIdentity()
        x = layers.conv(num_filters, f"conv{i}", kernel_initializer=start)(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    return keras.Model(low_res, layers.global_residual(x, low_res, scale), name="plain")


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 24, 32, 48, 64]),
        "num_layers": hp.Int("num_layers", 3, 16),
    }
