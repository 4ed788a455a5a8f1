"""Cross-layer equalization: the same network, with a smaller quantization error."""

import keras
import numpy as np
import pytest
from tiny_network import picture, tiny_network, write_tflite

from tfmisr import models
from tfmisr.quantization import equalization

IMAGES = [picture(24, 24, seed=seed) for seed in range(3)]


def channel_maxima(network, layer):
    """Returns the maximum of each channel of a layer's output on the images."""
    activations = keras.Model(network.input, network.get_layer(layer).output)
    return np.max([np.asarray(activations(image[None], training=False)).max((0, 1, 2)) for image in IMAGES], 0)


@pytest.mark.parametrize(
    "name", ["plain", "cnn5", "resnet18", "resnet6", "vdsr", "rednet/red10", "edsr", "rlfn", "imdn", "sesr", "abpn"]
)
def test_equalized_network_computes_the_same(name):
    network = tiny_network(name)
    before = [np.array(weight) for weight in network.get_weights()]
    lr = picture(20, 22, seed=9)[None]
    expected = np.asarray(network(lr, training=False))
    found = np.asarray(equalization.equalize(network, IMAGES)(lr, training=False))
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(np.abs(expected).max(), 1))
    for kept, weight in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.parametrize("name,layer", [("plain", "relu2"), ("resnet6", "block1_relu1")])
def test_channels_have_equal_ranges(name, layer):
    network = tiny_network(name)
    before, after = channel_maxima(network, layer), channel_maxima(equalization.equalize(network, IMAGES), layer)
    assert before.max() > 1.2 * before[before > 0].min()
    np.testing.assert_allclose(after[before > before.max() / 60], before.max(), rtol=1e-4)


def test_channel_that_is_always_zero_stays_finite():
    network = tiny_network("plain", num_layers=3)
    kernel, bias = network.get_layer("conv2").get_weights()
    bias[1] = -100
    network.get_layer("conv2").set_weights([kernel, bias])
    found = equalization.equalize(network, IMAGES)
    assert all(np.isfinite(weight).all() for weight in found.get_weights())
    lr = picture(12, 12)[None]
    np.testing.assert_allclose(found(lr), network(lr), atol=1e-5)


def test_tensor_that_two_layers_read_stays_as_it_is():
    image = keras.Input((None, None, 1))
    x = keras.layers.ReLU()(keras.layers.Conv2D(4, 3, padding="same", name="first")(image))
    y = keras.layers.Conv2D(4, 3, padding="same")(x)
    network = keras.Model(image, keras.layers.Add()([x, y]))
    found = equalization.equalize(network, IMAGES)
    np.testing.assert_array_equal(found.get_layer("first").kernel, network.get_layer("first").kernel)


def test_one_channel_of_large_range_no_longer_takes_the_levels_of_the_others(tmp_path):
    from tfmisr.edge import runtime
    from tfmisr.export import convert

    network = models.create("plain/num_filters=4,num_layers=3", 2)
    network.set_weights(tiny_network("plain", num_layers=3).get_weights())
    for layer, axis, factor in (("conv2", -1, 200.0), ("conv3", 2, 1 / 200)):  # channel 0 of conv2, and who reads it
        kernel, bias = network.get_layer(layer).get_weights()
        np.moveaxis(kernel, axis, 0)[0] *= factor
        bias[:1] *= factor if axis == -1 else 1
        network.get_layer(layer).set_weights([kernel, bias])
    lr = picture(32, 32, seed=9)
    residual = np.asarray(convert.exported_subgraph(network, "float32").network(lr[None]))[0]
    errors = []
    for each in (network, equalization.equalize(network, IMAGES)):
        path = tmp_path / f"{len(errors)}.tflite"
        write_tflite(path, each, "int8")
        errors.append(np.abs(runtime.Model(path).residual(lr) - residual).mean())
    assert errors[1] < errors[0] / 3
