"""The discriminator of the paper's GAN: four convolutional layers that give the probability that an image is real.

Baraiya and Kothari, Deep learning for medical image super-resolution for precision diagnosis, after DCGAN,
https://arxiv.org/abs/1511.06434: kernels 5x5 with stride 2, 64 to 512 filters, leaky ReLU with slope 0.2, batch
normalization except in the first layer.

Departures: features are averaged over the image before the last, dense layer, so patches may have any size; the
output is a logit, whose sigmoid is the probability, because cross-entropy of logits keeps its precision; convolutions
are initialized as He et al. propose, not with a standard deviation of 0.02.
"""

import keras

from tfmisr import layers


def build(channels: int = 1, num_filters: int = 64) -> keras.Model:
    """Returns the discriminator; see `tfmisr.models.discriminators.create`.

    Args:
        channels: 1 or 3.
        num_filters: Filters of the first convolution; each next one has twice as many.
    """
    image = keras.Input((None, None, channels), name="image")
    x, features = image, []
    for i in range(1, 5):
        filters = num_filters * 2 ** (i - 1)
        x = layers.conv(filters, f"conv{i}", kernel_size=5, strides=2, use_bias=i == 1)(x)
        x = x if i == 1 else layers.batch_normalization(f"bn{i}")(x)
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"leaky_relu{i}")(x)
        features.append(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = keras.layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model(image, [*features, logits], name="dcgan")
