"""Files with 16-bit activations: operations that LiteRT has no 16-bit kernel of are replaced by others."""

import keras
import numpy as np
import pytest
from tiny_network import picture, tiny_network, write_tflite

from tfmisr import layers, models
from tfmisr.edge import runtime
from tfmisr.export import convert, int16

EDSR = ("edsr", {"num_blocks": 1}, {"TRANSPOSE_CONV"})
SESR_SMALL = "sesr/num_filters=4,num_layers=1,expansion=8"
SESR = ("sesr", {"num_layers": 1, "expansion": 8}, {"MUL"})


@pytest.mark.parametrize(
    ("name", "sizes", "instead"),
    [
        pytest.param("abpn", {"num_layers": 1}, {"CONV_2D"}, marks=pytest.mark.large),
        pytest.param("rlfn", {"num_blocks": 1}, {"CONV_2D"}, marks=pytest.mark.large),
        pytest.param(*EDSR, marks=pytest.mark.large),
        SESR,
    ],
)
def test_network_of_the_zoo_has_a_16_bit_file_equal_to_keras(tmp_path, name, sizes, instead):
    """16 bits: a hundredth of a gray level of 8 bits is 4e-5; 8-bit weights cost more than that."""
    network = tiny_network(name, scale=4, **sizes)
    path = write_tflite(tmp_path / "m.tflite", network, "int16x8", tile=None)
    operations = convert.operations_of(path.read_bytes())
    assert instead <= set(operations) and not {"DEPTH_TO_SPACE", "PRELU"} & set(operations)
    lr = picture(37, 41, seed=9)
    expected = np.asarray(network(lr[None], training=False))[0]
    found = runtime.Model(path)(lr)
    assert np.abs(found - expected).mean() < 0.01 * np.std(expected)


def test_network_with_an_unnamed_input_is_copied():
    """Keras names the copy's input after its tensor, and a lookup by that name failed."""
    image = keras.Input((None, None, 1))
    shuffled = layers.DepthToSpace(2)(keras.layers.Conv2D(4, 3, padding="same")(image))
    network = keras.Model(image, keras.layers.Conv2D(1, 3, padding="same")(shuffled))
    lr = picture(12, 14)[None]
    np.testing.assert_allclose(int16.with_kernels(network)(lr), network(lr), atol=1e-6)


@pytest.mark.parametrize("name", ["edsr/num_filters=4,num_blocks=1", SESR_SMALL, "fsrcnn"])
def test_replaced_operations_compute_the_same(name):
    network = models.create(name, 4, 1)
    rng = np.random.default_rng(0)
    network.set_weights([w + rng.normal(0, 0.1, w.shape) for w in network.get_weights()])
    found = int16.with_kernels(network)
    lr = picture(20, 17)[None]
    np.testing.assert_allclose(found(lr), network(lr), rtol=1e-5, atol=1e-5)
    assert not {type(layer).__name__ for layer in found.layers} & {"DepthToSpace", "PReLU"}


def test_network_that_needs_no_other_kernels_stays():
    network = tiny_network("plain", num_layers=1)
    subgraph = convert.exported_subgraph(network, "int16x8").network
    assert int16.with_kernels(subgraph) is subgraph
