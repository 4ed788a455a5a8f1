"""SRGAN's discriminator: eight 3x3 convolutions, strided every other time, 64 to 512 filters.

Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017,
https://arxiv.org/abs/1609.04802, figure 4: batch normalization except in the first, leaky ReLU with slope 0.2, then
dense layers of 1024 and 1.

Departures: features are averaged over the image before the dense layers, so patches may have any size; the output is
a logit, as in `dcgan`.
"""

import keras

from tfmisr import layers


def build(channels: int = 1, num_filters: int = 64, num_units: int = 1024) -> keras.Model:
    """Returns the discriminator; see `tfmisr.models.discriminators.create`.

    Args:
        channels: Channels of the input.
        num_filters: Filters of the first pair of convolutions; each next pair has twice as many.
        num_units: Units of the dense layer before the last.
    """
    image = keras.Input((None, None, channels), name="image")
    return keras.Model(image, convolutions(image, num_filters, num_units), name="srgan")


def convolutions(x: keras.KerasTensor, num_filters: int, num_units: int) -> list:
    """Returns the features of each convolution of `x`, and the logits `(batch, 1)`, as a list."""
    features = []
    for i in range(1, 9):
        filters, strides = num_filters * 2 ** ((i - 1) // 2), 2 - i % 2
        x = layers.conv(filters, f"conv{i}", strides=strides, use_bias=i == 1)(x)
        x = x if i == 1 else layers.batch_normalization(f"bn{i}")(x)
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"leaky_relu{i}")(x)
        features.append(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(num_units, name="dense")(x)
    x = keras.layers.LeakyReLU(negative_slope=0.2, name="dense_leaky_relu")(x)
    return [*features, keras.layers.Dense(1, dtype="float32", name="logits")(x)]
