"""`global_residual`: networks of the literature whose output is added to the bicubic interpolation of the input."""

import keras
import numpy as np
import pytest
from PIL import Image
from test_models import shaken
from test_quantization import file_of
from tiny_network import picture

from tfmisr import models
from tfmisr.export import convert

NAMES = {
    "abpn": "num_filters=8,num_layers=2",
    "edsr": "num_filters=8,num_blocks=1",
    "rcan": "num_filters=8,num_groups=1,num_blocks=1",
    "rdn": "num_filters=8,num_blocks=1,num_layers=1,growth_filters=4",
    "rlfn": "num_filters=8,num_blocks=1,attention_filters=4",
    "sesr": "num_filters=8,num_layers=2,expansion=16",
}


@pytest.fixture(params=NAMES)
def network(request):
    keras.utils.set_random_seed(0)
    return models.create(f"{request.param}/{NAMES[request.param]},global_residual=true", 2)


def test_it_is_off_where_it_is_not_asked_for():
    for name in NAMES:
        assert not any(layer.name == "bicubic" for layer in models.create(f"{name}/{NAMES[name]}", 2).layers)


def test_nothing_but_the_residual_is_in_the_file(network):
    """The untrained residual is 0, so the image is Pillow's bicubic interpolation; int8 has it in two ranges."""
    lr = picture(16, 20, seed=1)
    sr = np.asarray(network(lr[None], training=False))[0]
    np.testing.assert_allclose(sr[6:-6, 6:-6], pillow_bicubic(lr)[6:-6, 6:-6], atol=1e-5)
    for flavor, fine_scale in (("float32", 1), ("int8", 16)):
        subgraph = convert.exported_subgraph(shaken(network), flavor)
        assert (subgraph.skip, subgraph.fine_scale) == ("bicubic", fine_scale)


def test_int8_file_keeps_to_the_network(network, tmp_path):
    """A residual in two ranges, of which the finer has steps of an eighth of a gray level."""
    model, _ = file_of(shaken(network), 2, tmp_path / "m.tflite")
    lr = np.rint(picture(48, 48, seed=9) * 255).astype(np.float32) / 255
    expected = np.asarray(network(lr[None], training=False))[0]
    residual = np.abs(expected - pillow_bicubic(lr)).mean()
    assert 0.002 < residual < 0.2
    assert np.abs(model(lr) - expected).mean() < 0.05 * residual


def pillow_bicubic(lr):
    """Twice the size, by an independent implementation."""
    size = 2 * lr.shape[1], 2 * lr.shape[0]
    return np.asarray(Image.fromarray(lr[..., 0], "F").resize(size, Image.Resampling.BICUBIC))[..., None]
