"""SAN: second-order (covariance) channel attention, and non-local means inside regions.

Dai, Cai, Zhang, Xia and Zhang, Second-Order Attention Network for Single Image Super-Resolution, CVPR 2019,
https://openaccess.thecvf.com/content_CVPR_2019/html/Dai_Second-Order_Attention_Network_for_Single_Image_Super-Resolution_CVPR_2019_paper.html

`large` is the paper's network. As in the authors' code x4 is two shuffles by 2, x8 three, and x3 is one shuffle by 3.
The second-order attention depends on the whole image, so images cannot be cut into tiles.

Departures:
* `baseline` is this project's own: a size that trains on one device in hours.
* Regions are 24x24 pixels, which the quarters of the paper's training patches are. Quarters of a whole radiograph would
  differ from the regions seen in training, and their memory grows with the square of the image's area.
* Covariance and similarity are computed in float32 under every dtype policy.
* The mean color of DIV2K is not subtracted: it is not that of medical images.
"""

import keras

from tfmisr import layers
from tfmisr.layers import attention
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "baseline": {"num_groups": 4, "num_blocks": 4},
    "large": {"num_groups": 20, "num_blocks": 10},
}


def build(
    scale: int, channels: int = 1, num_filters: int = 64, num_groups: int = 4, num_blocks: int = 4, region: int = 24
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each convolution.
        num_groups: Number of local-source residual attention groups.
        num_blocks: Number of residual blocks of two convolutions in a group.
        region: Side of a region in low-resolution pixels.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    stem = layers.small_variance_conv(num_filters, "stem_conv")(low_res)
    non_local = _NonLocal(num_filters, region)
    x = source = non_local(stem, "first")
    share = attention.WeightedSum(name="share_source")
    for i in range(1, num_groups + 1):
        x = share(_group(x, num_blocks, f"group{i}"), source)
    x = keras.layers.Add(name="trunk_add")([stem, non_local(x, "last")])
    x = layers.pixel_shuffle_upsampling(x, scale)
    return keras.Model(low_res, layers.output_conv(channels)(x), name="san")


class _NonLocal:
    """Region-level non-local block; all of its calls share their weights."""

    def __init__(self, filters, region):
        reduced, self.region = max(filters // 8, 1), region
        self.maps = [
            layers.small_variance_conv(reduced, f"non_local_{x}", kernel_size=1) for x in ("query", "key", "value")
        ]
        self.out = layers.conv(filters, "non_local_out", kernel_size=1, kernel_initializer="zeros")

    def __call__(self, x, name):
        attended = attention.RegionAttention(self.region, name=f"{name}_attention")(*(layer(x) for layer in self.maps))
        return keras.layers.Add(name=f"{name}_add")([x, self.out(attended)])


def _group(x, num_blocks, name):
    filters, y = x.shape[-1], x
    for i in range(1, num_blocks + 1):
        inner = layers.small_variance_conv(filters, f"{name}_block{i}_conv1")(y)
        inner = keras.layers.ReLU(name=f"{name}_block{i}_relu")(inner)
        inner = layers.small_variance_conv(filters, f"{name}_block{i}_conv2")(inner)
        y = keras.layers.Add(name=f"{name}_block{i}_add")([y, inner])
    pooled = attention.CovariancePooling(name=f"{name}_covariance")(y)
    y = attention.channel_gate(y, pooled, max(filters // 16, 4), f"{name}_gate")
    return keras.layers.Add(name=f"{name}_add")([x, layers.small_variance_conv(filters, f"{name}_conv")(y)])


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64]),
        "num_groups": hp.Int("num_groups", 2, 6, step=2),
        "num_blocks": hp.Int("num_blocks", 2, 6, step=2),
    }
