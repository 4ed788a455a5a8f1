"""How far a network sees: by hand, and by which pixels of the input its output depends on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import tiny_network

from tfmisr import layers
from tfmisr.inference.upscalers import receptive_radius
from tfmisr.quantization import plain_network


def conv(kernel_size=3, **kwargs):
    return keras.layers.Conv2D(1, kernel_size, padding=kwargs.pop("padding", "same"), **kwargs)


def network_of(function, name="low_res"):
    low_res = keras.Input((None, None, 1), name=name)
    return keras.Model(low_res, function(low_res))


def folded(ways):
    return plain_network.merge_self_ensemble(tiny_network("plain", num_layers=3), ways)


def unequal_branches(x):
    return keras.layers.Add()([conv(5)(conv()(x)), conv(7, dilation_rate=2)(x), x])


def layer_called_twice(x):
    shared = conv()
    return shared(shared(x))


def model_called_twice(x):
    inner = network_of(lambda y: conv()(conv()(y)), "inner")
    return keras.layers.Add()([inner(inner(x)), inner(x)])


def sequential(x):
    return keras.Sequential([keras.Input((None, None, 1)), conv(), keras.layers.ReLU(), conv(5)])(x)


def mirrored(x):
    return keras.layers.Add()([conv(5, padding="valid")(layers.SymmetricPadding(2)(x)), conv()(x)])


def operators(x):
    return keras.ops.clip(2 * conv()(x) + x, 0.0, 1.0)


@pytest.mark.parametrize(
    "network,radius",
    [
        (lambda: tiny_network("plain", num_layers=3), 4),
        (lambda: folded(3), 4),  # branches that lie beside each other do not add up
        (lambda: folded(8), 4),
        (lambda: tiny_network("cnn5"), 6),
        (lambda: tiny_network("resnet18"), 18),
        (lambda: network_of(unequal_branches), 6),
        (lambda: network_of(layer_called_twice), 2),
        (lambda: network_of(model_called_twice), 4),
        (lambda: network_of(sequential), 3),
        (lambda: network_of(mirrored), 2),
        (lambda: network_of(operators), 1),
    ],
)
def test_radius_by_hand_is_how_far_the_output_depends_on_the_input(network, radius):
    network = network()
    assert receptive_radius(network) == radius == farthest(network, radius + 3)


def farthest(network, margin):
    """Returns how far from the middle of an image the gradient of its middle is not 0."""
    for weight in network.weights:  # positive, so that no two paths cancel and every ReLU is open
        weight.assign(keras.ops.absolute(weight) + 0.01)
    image = tf.Variable(np.full((1, 2 * margin + 1, 2 * margin + 1, 1), 0.01, np.float32))
    with tf.GradientTape() as tape:
        out = network(image, training=False)
        scale = out.shape[1] // image.shape[1]
        middle = tf.reduce_sum(out[:, margin * scale : (margin + 1) * scale, margin * scale : (margin + 1) * scale])
    places = np.argwhere(tape.gradient(middle, image).numpy()[0, ..., 0])
    distances = np.abs(places - margin).max(axis=0)
    assert distances[0] == distances[1]
    return distances.max()


@keras.saving.register_keras_serializable("tests")
class Unknown(keras.layers.Layer):
    def call(self, inputs):
        return inputs


class Other(keras.Model):
    def call(self, inputs):
        return inputs - keras.ops.mean(inputs)


@pytest.mark.parametrize(
    "function",
    [
        conv(strides=2),
        lambda x: keras.layers.Conv2DTranspose(1, 2, strides=2, padding="same")(conv(strides=2)(x)),
        conv(padding="valid"),
        lambda x: conv(padding="valid")(layers.SymmetricPadding(2)(x)),
        lambda x: layers.BicubicUpsampling(2)(layers.SymmetricPadding(1)(x)),
        lambda x: keras.layers.Concatenate(axis=1)([x, conv()(x)]),
        lambda x: x - keras.ops.mean(x, (1, 2), keepdims=True),  # an operation, no layer
        lambda x: conv()(Unknown()(x)),
        lambda x: keras.layers.Add()([conv()(x), keras.layers.GlobalAveragePooling2D(keepdims=True)(x)]),
    ],
)
def test_what_is_not_known_to_be_local_sees_the_whole_image(function):
    assert receptive_radius(network_of(function)) is None


def test_model_with_a_call_of_its_own_sees_the_whole_image():
    low_res = keras.Input((None, None, 1))
    assert receptive_radius(Other(low_res, conv()(low_res))) is None
    assert receptive_radius(keras.Sequential([conv()])) is None  # not built: there is no graph yet


def test_layer_that_leads_to_no_output_does_not_count():
    low_res = keras.Input((None, None, 1))
    near = conv()(low_res)
    conv(9)(near)
    assert receptive_radius(keras.Model(low_res, near)) == 1
