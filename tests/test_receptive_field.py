"""Receptive fields: by hand, by gradients, and by tiles that equal the whole image."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import tiny_network

from tfmisr import layers, quantization
from tfmisr.inference import upscalers
from tfmisr.layers import attention, collapsible, upsampling
from tfmisr.layers.receptive_field import UnknownReceptiveField, receptive_radius
from tfmisr.models.discriminators import sagan
from tfmisr.quantization import aware_training, plain_network


def conv(kernel_size=3, **kwargs):
    return keras.layers.Conv2D(1, kernel_size, padding=kwargs.pop("padding", "same"), **kwargs)


def conv_of(filters):
    return keras.layers.Conv2D(filters, 3, padding="same")


def network_of(function, name="low_res"):
    low_res = keras.Input((None, None, 1), name=name)
    return keras.Model(low_res, function(low_res))


def merged(num_transforms):
    return plain_network.merge_self_ensemble(tiny_network("plain", num_layers=3), num_transforms)


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
        (lambda: merged(3), 4),  # branches that lie beside each other do not add up
        (lambda: merged(8), 4),
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


class OwnCall(keras.Model):
    def call(self, inputs):
        return inputs - keras.ops.mean(inputs)


@pytest.mark.parametrize(
    "function",
    [
        conv(strides=2),
        conv(strides=(1, 2)),
        conv(strides=(2, 1)),
        conv(1, strides=2),
        keras.layers.SeparableConv2D(1, 3, strides=2, padding="same"),
        keras.layers.DepthwiseConv2D(3, strides=2, padding="same"),
        lambda x: keras.layers.Conv2DTranspose(1, 2, strides=2, padding="same")(conv(strides=2)(x)),
        conv(padding="valid"),
        lambda x: conv(padding="valid")(layers.SymmetricPadding(2)(x)),
        lambda x: layers.BicubicUpsampling(2)(layers.SymmetricPadding(1)(x)),
        lambda x: keras.layers.Concatenate(axis=1)([x, conv()(x)]),
        lambda x: x - keras.ops.mean(x, (1, 2), keepdims=True),  # an operation, no layer
        lambda x: keras.layers.Add()([conv()(x), keras.layers.GlobalAveragePooling2D(keepdims=True)(x)]),
        keras.layers.MaxPooling2D(2),
        keras.layers.GroupNormalization(1),
        keras.layers.LayerNormalization(axis=(1, 2, 3)),
        keras.layers.Softmax(axis=2),
        keras.layers.UnitNormalization(axis=1),
        keras.layers.Permute((2, 1, 3)),
        keras.layers.ZeroPadding2D(((1, 0), (0, 0))),
        keras.layers.Cropping2D(1),
    ],
)
def test_layer_that_is_known_not_to_be_local_needs_the_whole_image(function):
    try:
        network = network_of(function)
    except ValueError:  # normalization over rows and columns needs their number
        image = keras.Input((8, 8, 1))
        network = keras.Model(image, function(image))
    assert receptive_radius(network) is None


def tiles_equal_the_whole(network, radius):
    """Returns whether the middle of an image is the same where its outermost 3 pixels beyond the radius are cut."""
    x = np.random.default_rng(0).random((1, 33, 33, 4), np.float32)
    whole, part = (np.asarray(network(image, training=False)) for image in (x, x[:, 3:-3, 3:-3]))
    scale = whole.shape[1] // 33
    inner = slice(radius * scale, part.shape[1] - radius * scale)
    outer = slice((radius + 3) * scale, whole.shape[1] - (radius + 3) * scale)
    return np.abs(whole[:, outer, outer] - part[:, inner, inner]).max() < 1e-5


@pytest.mark.parametrize(
    "layer,radius",
    [
        (keras.layers.ELU(), 0),
        (keras.layers.Softmax(), 0),
        (keras.layers.LayerNormalization(), 0),
        (keras.layers.RMSNormalization(), 0),
        (keras.layers.UnitNormalization(), 0),
        (keras.layers.Dense(3, "gelu"), 0),
        (keras.layers.Identity(), 0),
        (keras.layers.SpatialDropout2D(0.1), 0),
        (keras.layers.SpectralNormalization(keras.layers.Conv2D(2, 3, padding="same")), 1),
        (keras.layers.MaxPooling2D(3, 1, "same"), 1),
        (keras.layers.AveragePooling2D((2, 4), 1, "same"), 2),
        (keras.Sequential([keras.layers.ZeroPadding2D(2), keras.layers.Conv2D(2, 5)]), 2),
        (keras.Sequential([keras.layers.Cropping2D(1), keras.layers.ZeroPadding2D(1)]), 1),
        *[(keras.layers.Conv2D(2, 3, padding="same", activation=a), 1) for a in ("softmax", keras.ops.silu)],
        (keras.layers.Activation(keras.layers.LeakyReLU()), 0),
        *[
            (keras.layers.Activation(name), 0)
            for name in ("elu", "selu", "softplus", "hard_sigmoid", "gelu", "silu", "mish", "glu", "log_softmax")
        ],
        (layers.DepthToSpace(2), 0),
        (layers.BicubicUpsampling(2), 2),
        (layers.UnitRange(), 0),
        (keras.Sequential([layers.SymmetricPadding(1), keras.layers.Conv2D(2, 3)]), 1),
        (collapsible.CollapsibleConv2D(2, 5, 8), 2),
        (quantization.FakeQuantConv2D(keras.layers.Conv2D(2, 3, padding="same"), 20.0, levels=True), 1),
    ],
)
def test_tiles_that_overlap_by_the_declared_radius_equal_the_whole_image(layer, radius):
    low_res = keras.Input((None, None, 4))
    if isinstance(layer, quantization.FakeQuantConv2D):
        layer.conv.build((None, None, None, 4))
    network = keras.Model(low_res, layer(low_res))
    assert receptive_radius(network) == radius
    assert tiles_equal_the_whole(network, radius)
    assert radius == 0 or not tiles_equal_the_whole(network, radius - 1)


def test_channel_operations_between_tensors_are_local():
    def function(x):
        y = keras.ops.softplus(keras.ops.concatenate([x, 2 * x], axis=-1))
        return conv()(x) * keras.ops.mean(y, -1, keepdims=True)

    assert receptive_radius(network_of(function)) == 1


@pytest.mark.parametrize("module", [attention, collapsible, upsampling, aware_training, sagan])
def test_every_layer_of_this_package_declares_its_receptive_field(module):
    classes = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    found = [c for c in classes if issubclass(c, keras.layers.Layer)]
    assert found and all(callable(getattr(c, "receptive_field", None)) for c in found)


@pytest.mark.parametrize(
    "layer",
    [attention.ContrastPooling(), attention.CovariancePooling(), keras.layers.GlobalMaxPooling2D(keepdims=True)],
)
def test_global_layer_of_this_package_depends_on_every_pixel(layer):
    low_res = keras.Input((None, None, 4))
    network = keras.Model(low_res, low_res * layer(low_res))
    assert receptive_radius(network) is None
    assert not tiles_equal_the_whole(network, 10)


def test_two_inputs_have_the_wider_field_and_a_whole_image_stays_one():
    low_res = keras.Input((None, None, 1))
    near = conv()(low_res)
    network = keras.Model(low_res, attention.WeightedSum()(near, conv()(near)))
    assert receptive_radius(network) == 2
    shrunk = keras.layers.MaxPooling2D(2)(low_res)
    assert receptive_radius(keras.Model(low_res, attention.BilinearResizing()(shrunk, low_res))) is None
    assert receptive_radius(keras.Model(low_res, attention.RegionAttention(4)(near, near, low_res))) is None


@pytest.mark.parametrize(
    "function,message",
    [
        (lambda x: conv()(Unknown(name="mystery")(x)), r"layer mystery \(Unknown\) .* give Unknown a method"),
        (lambda x: x[:, :-1], r"\(GetItem\) .* put it into a custom layer with a method receptive_field"),
        (
            keras.layers.Activation(lambda x: x - keras.ops.mean(x), name="centered"),
            "layer centered with the activation",
        ),
        (conv(activation=lambda x: x[:, ::-1], name="flipped"), "layer flipped with the activation <lambda>"),
        (lambda x: OwnCall(x, conv()(x), name="whole")(x), r"layer whole \(OwnCall\)"),
    ],
)
def test_unknown_layer_is_an_error_that_names_it(function, message):
    with pytest.raises(UnknownReceptiveField, match=message):
        receptive_radius(network_of(function))


def test_model_that_is_not_built_has_no_known_receptive_field():
    with pytest.raises(UnknownReceptiveField, match="not built yet"):
        receptive_radius(keras.Sequential([conv()]))


def test_users_layer_declares_its_own_receptive_field():
    class Known(Unknown):
        def receptive_field(self, inputs):
            return inputs.grow(3)

    assert receptive_radius(network_of(lambda x: conv()(Known()(x)))) == 4


def test_users_network_with_an_unknown_layer_still_upscales_as_one_whole_image_and_warns(capsys):
    network = network_of(lambda x: layers.DepthToSpace(2)(conv_of(4)(Unknown(name="third_party")(x))))
    lr = np.random.default_rng(0).random((20, 24, 1), np.float32)
    expected = np.asarray(network(lr[None]))[0]
    for _ in range(2):
        np.testing.assert_allclose(upscalers.tiled(network, 8)(lr, 2), expected, atol=1e-6)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("warning: the receptive field of layer third_party (Unknown)")


def test_layer_that_leads_to_no_output_does_not_count():
    low_res = keras.Input((None, None, 1))
    near = conv()(low_res)
    conv(9)(near)
    assert receptive_radius(keras.Model(low_res, near)) == 1
