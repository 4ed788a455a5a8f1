"""Hands the ranges of quantization-aware training to TensorFlow's converter, as operations that it takes them from."""

import keras
import tensorflow as tf

from tfmisr import quantization
from tfmisr.layers.activation_range import LEVELS, ActivationRange


class _FakeQuant(keras.layers.Layer):
    """TensorFlow's fake quantization with the limits of a trained `ActivationRange`."""

    def __init__(self, limits: ActivationRange, **kwargs):
        super().__init__(**kwargs)
        step, zero_point = (float(value) for value in limits.grid())
        self.low, self.high = -zero_point * step, (LEVELS - zero_point) * step

    def call(self, inputs):
        return tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high)

    def compute_output_shape(self, input_shape):
        return input_shape


def for_converter(network: keras.Model) -> keras.Model:
    """Returns a network whose int8 file has the trained ranges; one without them as it is.

    The converter takes the scale of a tensor from the fake quantization behind it, and measures all others on the
    calibration images.
    """
    if not quantization.has_ranges(network):
        return network

    def converted(layer):
        if isinstance(layer, ActivationRange):
            return _FakeQuant(layer, name=layer.name)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(network, clone_function=converted)
    for layer in clone.layers:
        if not isinstance(layer, _FakeQuant):
            layer.set_weights(network.get_layer(layer.name).get_weights())
    return clone
