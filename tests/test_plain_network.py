"""Plain networks: recognized among others, and a self-ensemble merged into one network."""

import keras
import numpy as np
import pytest

from tfmisr import models
from tfmisr.edge import dihedral
from tfmisr.quantization import plain_network

PLAIN = "plain/num_filters=6,num_layers=3"


def trained(name, scale, channels=1):
    """Returns a network whose weights are all at random, those of the last layer too."""
    keras.utils.set_random_seed(1)
    network = models.create(name, scale, channels)
    rng = np.random.default_rng(2)
    network.set_weights([rng.normal(0, 0.2, w.shape) for w in network.get_weights()])
    return network


@pytest.mark.parametrize("num_transforms", [2, 3, 8])
@pytest.mark.parametrize(("scale", "channels"), [(2, 1), (3, 3), (4, 1)])
def test_merged_network_returns_the_mean_over_transformed_images(num_transforms, scale, channels):
    network = trained(PLAIN, scale, channels)
    lr = np.random.default_rng(3).random((9, 7, channels), np.float32)
    turns = [(0, False), (2, False), (0, True), (2, True), (1, False), (3, False), (1, True), (3, True)][
        :num_transforms
    ]
    expected = np.mean([_upscale_transformed(network, lr, *turn) for turn in turns], 0)
    found = np.asarray(plain_network.merge_self_ensemble(network, num_transforms)(lr[None]))[0]
    assert found.shape == (9 * scale, 7 * scale, channels)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.abs(found - np.asarray(network(lr[None]))[0]).max() > 1e-3


def _upscale_transformed(network, image, turns, mirrored):
    transformed = np.rot90(image, turns)
    transformed = np.ascontiguousarray(transformed[:, ::-1] if mirrored else transformed)
    found = np.asarray(network(transformed[None]))[0]
    return np.rot90(found[:, ::-1] if mirrored else found, -turns)


def test_merged_network_over_all_transforms_is_equivariant():
    network = plain_network.merge_self_ensemble(trained(PLAIN, 2), 8)
    lr = np.random.default_rng(3).random((8, 8, 1), np.float32)
    expected = np.asarray(network(lr[None]))[0]
    for index in range(1, 8):
        transformed = np.ascontiguousarray(dihedral.apply_dihedral(lr, index))
        np.testing.assert_allclose(
            dihedral.invert_dihedral(np.asarray(network(transformed[None]))[0], index), expected, atol=2e-6
        )


@pytest.mark.parametrize(
    ("name", "expected"), [(PLAIN, 4), ("edsr", None), ("espcn", None), ("resnet18", None), ("vdsr", None)]
)
def test_plain_networks_are_recognized(name, expected):
    found = plain_network.convolutions(models.create(name, 2, 1))
    assert (found and len(found)) == expected
