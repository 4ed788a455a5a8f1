"""RED-Net: an autoencoder of convolutions and as many transposed ones, with symmetric skips, on the interpolated image.

Mao, Shen and Yang, Image Restoration Using Very Deep Convolutional Encoder-Decoder Networks with Symmetric Skip
Connections, NIPS 2016, https://arxiv.org/abs/1603.09056; long version https://arxiv.org/abs/1606.08921.

As in the paper nothing is strided or pooled, so that detail is not lost.

Departures:
* The last transposed convolution is initialized to zero, so that the untrained network is the interpolation.
* The interpolated image is added to the output, in `red10` too. No ReLU follows that sum; it would have no gradient
  where the sum is negative.
* All channels of a color image are processed together; the authors process the luminance alone.
"""

import keras

from tfmisr import layers
from tfmisr.models._types import HyperParameters

VARIANTS = {
    "red10": {"num_layers": 5, "shortcuts": False},
    "red20": {"num_layers": 10, "shortcuts": True},
    "red30": {"num_layers": 15, "shortcuts": True},
}


def build(
    scale: int, channels: int = 1, num_filters: int = 64, num_layers: int = 5, shortcuts: bool = True
) -> keras.Model:
    """Returns the network.

    Args:
        scale: Upsampling factor.
        channels: 1 or 3.
        num_filters: Filters of each layer.
        num_layers: Number of convolutions, and of transposed convolutions.
        shortcuts: Add every second convolution's features to those of its mirror image in the decoder.
    """
    low_res = keras.Input((None, None, channels), name="low_res")
    x = upsampled = layers.BicubicUpsampling(scale, name="bicubic")(low_res)
    encoded = {}
    for i in range(1, num_layers + 1):
        x = keras.layers.ReLU(name=f"encode{i}_relu")(layers.conv(num_filters, f"encode{i}_conv")(x))
        encoded[i] = x
    for i in range(num_layers - 1, 0, -1):
        x = _transposed(num_filters, f"decode{i}_conv", "he_normal")(x)
        if shortcuts and i % 2 == 0:
            x = keras.layers.Add(name=f"decode{i}_add")([encoded[i], x])
        x = keras.layers.ReLU(name=f"decode{i}_relu")(x)
    x = _transposed(channels, "output_conv", "zeros")(x)
    return keras.Model(low_res, keras.layers.Add(name="super_res", dtype="float32")([upsampled, x]), name="rednet")


def _transposed(filters, name, start):
    return keras.layers.Conv2DTranspose(filters, 3, padding="same", kernel_initializer=start, name=name)


def search_space(hp: HyperParameters) -> dict:
    """Returns the arguments of `build` for one Keras Tuner trial."""
    return {
        "num_filters": hp.Choice("num_filters", [16, 32, 64]),
        "num_layers": hp.Int("num_layers", 5, 15, step=5),
        "shortcuts": hp.Boolean("shortcuts", True),
    }
