"""PatchGAN: one logit for each 70x70 pixels of an image.

Isola et al., Image-to-Image Translation with Conditional Adversarial Networks (pix2pix), CVPR 2017,
https://arxiv.org/abs/1611.07004, and Zhu et al., CycleGAN, ICCV 2017, https://arxiv.org/abs/1703.10593: kernels 4x4,
C64-C128-C256-C512 with strides 2, 2, 2 and 1, leaky ReLU with slope 0.2, then one convolution to a map of logits.
Instance normalization without scale and offset, except in the first layer, as in CycleGAN, whose 2,764,737 parameters
(three channels) it has.

Departures: the input is the restored image alone, as in CycleGAN, not a pair with the low-resolution image; zero
padding keeps the size where the stride is 1, so that patches may be small. Below 16 pixels the last normalization has a
single position, and nothing can be learned.
"""

import keras

from tfmisr import layers


def build(channels: int = 1, num_filters: int = 64) -> keras.Model:
    """Returns the discriminator; see `tfmisr.models.discriminators.create`. Its logits are a map.

    Args:
        channels: 1 or 3.
        num_filters: Filters of the first convolution; each next one has twice as many.
    """
    image = keras.Input((None, None, channels), name="image")
    x, features = image, []
    for i in range(1, 5):
        x = _conv(num_filters * 2 ** (i - 1), f"conv{i}", strides=2 if i < 4 else 1)(x)
        if i > 1:
            x = keras.layers.GroupNormalization(-1, center=False, scale=False, epsilon=1e-5, name=f"norm{i}")(x)
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"leaky_relu{i}")(x)
        features.append(x)
    return keras.Model(image, [*features, _conv(1, "logits", dtype="float32")(x)], name="patch")


def _conv(filters, name, **kwargs):
    start = keras.initializers.RandomNormal(stddev=0.02)
    return layers.conv(filters, name, kernel_size=4, kernel_initializer=start, **kwargs)
