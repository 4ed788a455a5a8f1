"""Networks for 16-bit activations: what LiteRT has no 16-bit kernel of, in operations that it has kernels of.

A pixel shuffle is a transposed convolution whose kernel picks one channel for each sub-pixel position: its weights are
0 and 1, which 8 bits hold exactly. A PReLU is the sum of two ReLUs, one of them of the negated input.
"""

import keras
import numpy as np
from keras import ops

from tfmisr import layers

WITHOUT_KERNEL = ("DepthToSpace", "PReLU")


class _PositiveAndNegative(keras.layers.Layer):
    """A PReLU as the difference of two ReLUs."""

    def __init__(self, slopes: np.ndarray, **kwargs):
        super().__init__(**kwargs)
        self.slopes = np.asarray(slopes, np.float32)

    def call(self, inputs):
        return ops.relu(inputs) + ops.relu(-1.0 * inputs) * -self.slopes

    def compute_output_shape(self, input_shape):
        return input_shape


def with_kernels(network: keras.Model) -> keras.Model:
    """Returns a network that computes the same by operations with 16-bit kernels; the network itself if it has them.

    Args:
        network: Keras network in float32.
    """
    if not any(type(layer).__name__ in WITHOUT_KERNEL for layer in network.layers):
        return network

    def replaced(layer):
        if isinstance(layer, layers.DepthToSpace) and layer.scale > 1:
            return _transposed(layer)
        if isinstance(layer, keras.layers.PReLU):
            return _PositiveAndNegative(layer.alpha, name=layer.name)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(network, clone_function=replaced)
    for layer in clone.layers:
        if isinstance(layer, keras.layers.InputLayer):  # one that was not named has another name in the clone
            continue
        source = network.get_layer(layer.name)
        if type(layer) is type(source):
            layer.set_weights(source.get_weights())
        elif isinstance(source, layers.DepthToSpace):
            layer.set_weights([_picking(source.scale, layer.filters)])
    return clone


def _transposed(shuffle):
    channels = shuffle.input.shape[-1] // shuffle.scale**2
    options = {"strides": shuffle.scale, "padding": "valid", "use_bias": False, "name": shuffle.name}
    return keras.layers.Conv2DTranspose(channels, shuffle.scale, **options)


def _picking(scale: int, channels: int) -> np.ndarray:
    """Returns the kernel (scale, scale, channels, scale * scale * channels) of a pixel shuffle."""
    identity = np.eye(scale**2 * channels, dtype=np.float32)
    return identity.reshape(scale, scale, channels, -1)
