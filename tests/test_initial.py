"""Initial weights: `.tflite` files, models that come with the package, and function-preserving deepening (Net2Net)."""

import keras
import numpy as np
import pytest
from tiny_network import picture, tiny_network, write_tflite

from tfmisr import models, quantization
from tfmisr.config import Config, initial_weights
from tfmisr.edge import card, shipped
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers
from tfmisr.quantization import plain_network
from tfmisr.training import initial, loop, tflite_weights

SMALL = {"model": "plain/num_filters=4,num_layers=3"}


def plain(scale=2, channels=1, num_layers=3):
    return models.create(SMALL["model"], scale, channels, num_layers=num_layers)


def written(tmp_path, flavour, **said):
    network = tiny_network("plain", num_layers=3)
    return network, write_tflite(tmp_path / "small.tflite", network, flavour, **{"training": SMALL, **said})


@pytest.mark.parametrize("flavour,tolerance", [("float32", 0), ("float16", 1e-3), ("dynamic", 4e-3), ("int8", 4e-3)])
def test_tflite_file_gives_back_the_weights_it_was_made_of(tmp_path, flavour, tolerance):
    network, path = written(tmp_path, flavour)
    found = plain()
    initial.load(found, path)
    for before, after in zip(network.get_weights(), found.get_weights(), strict=True):
        # A step of 8 bits is a 127th of the largest weight of its channel; biases of integers are finer still.
        np.testing.assert_allclose(after, before, rtol=0, atol=tolerance * max(np.abs(before).max(), 1e-9) * 1.01)
    assert initial_weights.digest(path) == card.read(path)["weights_sha256"]


@pytest.mark.parametrize("flavour,tolerance", [("float32", 0), ("float16", 1e-3), ("int8", 4e-3)])
@pytest.mark.parametrize("ways", [2, 8])
def test_file_of_several_orientations_gives_back_the_upright_row(tmp_path, flavour, tolerance, ways):
    network = tiny_network("plain", num_layers=3)
    path = write_tflite(
        tmp_path / "folded.tflite", plain_network.merge_self_ensemble(network, ways), flavour, training=SMALL
    )
    *expected, bias = network.get_weights()
    *found, mean = tflite_weights.network(path).get_weights()
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=tolerance * max(np.abs(before).max(), 1e-9) * 1.01)
    assert np.abs(mean - bias.mean()).max() <= np.abs(bias - bias.mean()).max() + 1e-6  # of the pixels that turn


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_model_can_be_trained_on_by_its_name(name):
    card_of = card.read(shipped.path(name))
    scale = card_of["scale"]
    found = models.create(card_of["training"]["model"], scale)
    initial.load(found, name)
    if card_of["training"].get("quantization_aware"):
        found = quantization.clip_activations(found)
    if card_of.get("orientations", 1) > 1:
        found = plain_network.merge_self_ensemble(found, card_of["orientations"])
    lr = picture(64, 64)
    sr, expected = upscalers.tiled(found)(lr, scale), upscalers.load(name)(lr, scale)
    interpolated = upscalers.load("bicubic")(lr, scale)
    # A file of integers sees 256 levels; what the network adds is the same but for a quarter of it.
    assert np.abs(sr - expected).mean() < 0.25 * np.abs(expected - interpolated).mean()
    assert initial_weights.digest(name) == card_of["weights_sha256"]


def test_deeper_network_begins_where_the_smaller_one_stopped():
    keras.utils.set_random_seed(0)
    small, large = tiny_network("plain", num_layers=3), plain(num_layers=9)
    lr = picture(20, 20)[None]
    initial._deepen(large, small)
    added = [network.predict(lr, verbose=0) - plain().predict(lr, verbose=0) for network in (small, large)]
    assert np.abs(added[0]).max() > 1e-3
    np.testing.assert_allclose(added[1], added[0], atol=0.4 * np.abs(added[0]).max())
    new = large.get_layer("conv9").get_weights()[0]
    assert 0 < np.abs(new - np.eye(4) * (np.arange(9).reshape(3, 3, 1, 1) == 4)).max() < 0.2


def test_network_for_another_scale_keeps_the_features_and_begins_as_the_interpolation(tmp_path):
    small = tiny_network("plain", num_layers=3)
    small.save(tmp_path / "x2.keras")
    other = plain(scale=4)
    initial.load(other, tmp_path / "x2.keras")
    lr = picture(12, 12)
    np.testing.assert_array_equal(other.get_layer("conv2").kernel, small.get_layer("conv2").kernel)
    expected = models.create(SMALL["model"], 4).predict(lr[None], verbose=0)
    np.testing.assert_allclose(other.predict(lr[None], verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize(
    "target",
    [
        {"num_layers": 2},  # what the third layer knows would be lost
        {"channels": 3},
    ],
)
def test_network_that_cannot_hold_the_smaller_one_is_refused(tmp_path, target):
    tiny_network("plain", num_layers=3).save(tmp_path / "small.keras")
    with pytest.raises(InputError, match="or of a shallower one that can be deepened"):
        initial.load(plain(**target), tmp_path / "small.keras")


def test_other_filters_do_not_grow(tmp_path):
    tiny_network("plain", num_layers=3).save(tmp_path / "small.keras")
    with pytest.raises(InputError, match="of the same size, scale and channels"):
        initial.load(models.create("plain/num_filters=8,num_layers=3", 2), tmp_path / "small.keras")


def test_file_whose_network_cannot_be_told_is_refused(tmp_path):
    _, path = written(tmp_path, "float32", training={})
    with pytest.raises(InputError, match="does not name its network"):
        tflite_weights.network(path)
    folded = write_tflite(tmp_path / "folded.tflite", tiny_network(), training={"model": "cnn5/num_filters=4"})
    with pytest.raises(InputError, match="cnn5/num_filters=4 is not a plain chain of convolutions"):
        tflite_weights.network(folded)


def test_branches_that_look_alike_are_not_guessed_at(tmp_path):
    name = "rednet/red10,num_filters=4"
    path = write_tflite(tmp_path / "red.tflite", models.create(name, 2), training={"model": name})
    with pytest.raises(InputError, match="not a plain chain of convolutions"):
        tflite_weights.network(path)


def test_run_starts_from_a_tflite_file_and_knows_it_again(tiny_source, tmp_path):
    network, path = written(tmp_path, "float32")
    given = Config(
        **SMALL, scale=2, patch_size=8, batch_size=2, steps=1, learning_rate=1e-12, initial_weights=str(path),
        workdir=str(tmp_path / "run"),
    )  # fmt: skip
    trained = models.load(loop.train(given, tiny_source))
    for before, after in zip(network.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-9)
    assert loop.train(given, tiny_source)
