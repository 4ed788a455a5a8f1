"""The network that is trained on one volume: a chain of convolutions at half the resolution of the planes.

Two pixels along each axis are gathered into channels, as in FFDNet (Zhang, Zuo and Zhang, IEEE TIP 2018), and returned
by a sub-pixel convolution (Shi et al., ESPCN, CVPR 2016): a thick slice spans several interpolated samples, and at half
the resolution the same convolutions cost a quarter and see twice as far. The result is added to the interpolation (Kim
et al., VDSR, CVPR 2016), and starts as nothing: an untrained network is the interpolation.
"""

import keras

from tfmisr import layers

STRIDE = 2  # height and width of a plane must be multiples of it


def create(num_filters: int = 64, num_layers: int = 6) -> keras.Model:
    """Returns the network: from planes (planes, slices, width, 1) to the refined planes.

    Args:
        num_filters: Filters of each convolution.
        num_layers: Number of convolutions, at least 2.
    """
    planes = x = keras.Input((None, None, 1), name="planes")
    x = keras.layers.Conv2D(
        num_filters, 3 * STRIDE, strides=STRIDE, padding="same", kernel_initializer="he_normal", name="conv1"
    )(x)
    x = keras.layers.ReLU(name="relu1")(x)
    for index in range(2, num_layers):
        x = keras.layers.Conv2D(num_filters, 3, padding="same", kernel_initializer="he_normal", name=f"conv{index}")(x)
        x = keras.layers.ReLU(name=f"relu{index}")(x)
    x = keras.layers.Conv2D(STRIDE**2, 3, padding="same", kernel_initializer="zeros", name="output_conv")(x)
    x = layers.DepthToSpace(STRIDE, name="depth_to_space")(x)
    return keras.Model(planes, keras.layers.Add(name="residual")([planes, x]), name="plane_network")
