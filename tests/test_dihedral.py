"""The eight orientations of the square, and the mean over them."""

import numpy as np
import pytest
from tiny_network import picture, tiny_network, write_tflite

from tfmisr.edge import dihedral, images, runtime
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers


def test_orientations_are_the_eight_of_the_square():
    image = np.array([[1, 2], [3, 4]])
    expected = {(1, 2, 3, 4), (2, 4, 1, 3), (4, 3, 2, 1), (3, 1, 4, 2)}
    expected |= {(2, 1, 4, 3), (4, 2, 3, 1), (3, 4, 1, 2), (1, 3, 2, 4)}
    assert {tuple(dihedral.apply_dihedral(image, way).ravel()) for way in range(8)} == expected


@pytest.mark.parametrize("way", range(8))
def test_turning_back_gives_the_image_again(way):
    image = picture(5, 9, 3)
    np.testing.assert_array_equal(dihedral.invert_dihedral(dihedral.apply_dihedral(image, way), way), image)


def test_mean_of_what_does_not_depend_on_the_orientation_is_the_thing_itself():
    lr = picture(6, 7)
    doubled = dihedral.self_ensemble(lambda image: image.repeat(2, 0).repeat(2, 1))
    np.testing.assert_allclose(doubled(lr), lr.repeat(2, 0).repeat(2, 1), atol=1e-6)


def test_mean_takes_each_orientation_once():
    # A filter that looks one pixel to the right looks one pixel each way in the mean.
    lr = np.zeros((5, 5, 1), np.float32)
    lr[2, 2] = 1.0
    found = dihedral.self_ensemble(lambda image: np.roll(image, -1, 1))(lr)
    cross = np.zeros((5, 5))
    cross[2, [1, 3]] = cross[[1, 3], 2] = 0.25
    np.testing.assert_allclose(found[..., 0], cross, atol=1e-7)


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def expected_mean(network, lr):
    """The mean, one orientation after the other, by NumPy's own functions."""
    total = 0
    for mirrored in (False, True):
        for quarter in range(4):
            image = np.rot90(lr[:, ::-1] if mirrored else lr, quarter)
            sr = np.rot90(np.asarray(network(image[None].copy(), training=False))[0], -quarter)
            total = total + (sr[:, ::-1] if mirrored else sr)
    return total / 8


def test_plus_is_the_mean_of_a_keras_network_and_of_its_file_in_windows_too(tmp_path, network):
    network.save(tmp_path / "m.keras")
    write_tflite(tmp_path / "m.tflite", network)
    lr = picture(70, 45)
    expected = expected_mean(network, lr)
    assert np.abs(expected - np.asarray(network(lr[None]))[0]).max() > 1e-4
    for name in ("m.keras", "m.tflite"):
        upscaler = upscalers.load(f"{tmp_path / name}+", tile=32)
        assert upscaler.name == "m+"
        np.testing.assert_allclose(upscaler(lr, 2), expected, atol=1e-5)
    whole = runtime.Model(tmp_path / "m.tflite", tile=128, self_ensemble=True)
    np.testing.assert_allclose(whole(lr), expected, atol=1e-5)


def test_plus_of_a_shipped_model_and_of_a_run(tmp_path, network):
    network.save(tmp_path / "model.keras")
    assert upscalers.load(f"{tmp_path}+").name == f"{tmp_path.name}+"
    assert upscalers.load("fast-x4+").name == "fast-x4+"


@pytest.mark.parametrize("name", ["bicubic+", "self_similarity+", "learned.npz+"])
def test_plus_of_what_is_no_network_is_refused(name):
    with pytest.raises(InputError, match=r"\+ is for networks"):
        upscalers.load(name)


def test_plus_of_nothing_says_that_there_is_nothing():
    with pytest.raises(InputError, match="Received: nowhere, where there is nothing"):
        upscalers.load("nowhere+")


def test_file_whose_name_ends_in_plus_is_itself(tmp_path, network):
    (tmp_path / "run+").mkdir()
    network.save(tmp_path / "run+" / "model.keras")
    lr = picture(12, 12)
    found = upscalers.load(str(tmp_path / "run+"))
    np.testing.assert_allclose(found(lr, 2), np.asarray(network(lr[None]))[0], atol=1e-6)


def test_command_takes_the_mean(tmp_path, network):
    from tfmisr import upscale

    network.save(tmp_path / "m.keras")
    pixels = np.rint(65535 * picture(20, 20)).astype(np.uint16)
    images.write_image(tmp_path / "in.png", pixels, 65535)
    upscale.main(["--model", f"{tmp_path / 'm.keras'}+", str(tmp_path / "in.png"), "--output", f"{tmp_path}/o.png"])
    expected = expected_mean(network, pixels.astype(np.float32) / 65535)
    found = images.read_images(tmp_path / "o.png")[0].pixels / 65535
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-4)
