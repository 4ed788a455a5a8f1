"""IMDN, RLFN, SESR, ABPN and SAN: the papers' own numbers, and the layers that only they have."""

import keras
import numpy as np
import pytest
from PIL import Image
from scipy import linalg
from tiny_network import picture, tiny_network, write_tflite

from tfmisr import layers, models
from tfmisr.edge import runtime
from tfmisr.export import convert
from tfmisr.inference import upscalers
from tfmisr.layers import attention
from tfmisr.layers.collapsible import CollapsibleConv2D, collapsed
from tfmisr.models._cost import multiply_adds

NON_LOCAL = ("imdn", "rlfn", "san")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def shaken(network, size=0.02):
    rng = np.random.default_rng(0)
    network.set_weights([w + rng.normal(0, size, w.shape).astype(w.dtype) for w in network.get_weights()])
    return network


def weights_of(network, kind=""):
    return sum(int(np.prod(w.shape)) for w in network.weights if kind in w.path)


# RGB, as published: IMDN's table 4, RLFN's table 1 and ABPN's section 4, in thousands.
@pytest.mark.parametrize(
    "name,scale,thousands",
    [("imdn", 2, 694), ("imdn", 3, 703), ("imdn", 4, 715), ("rlfn", 2, 527), ("rlfn", 4, 544), ("abpn", 3, 42.5)],
)
def test_number_of_weights_is_the_published_one(name, scale, thousands):
    found = weights_of(models.create(name, scale, 3))
    assert round(found / 1e3, 0 if isinstance(thousands, int) else 1) == thousands


# SESR's table 1, gray, in thousands; the authors count kernels alone: 25 f + 9 f f m + 25 f s s.
@pytest.mark.parametrize(
    "variant,twice,four_times",
    [("m3", 8.91, 13.71), ("m5", 13.52, 18.32), ("m7", 18.12, 22.92), ("m11", 27.34, 32.14), ("xl", 105.37, 114.97)],
)
def test_collapsed_sesr_has_the_published_number_of_weights(variant, twice, four_times):
    for scale, thousands in ((2, twice), (4, four_times)):
        kernels = weights_of(collapsed(models.create(f"sesr/{variant}", scale)), "kernel")
        assert kernels / 1e3 == pytest.approx(thousands, abs=0.01)


@pytest.mark.large
def test_large_san_has_the_published_number_of_weights():
    assert weights_of(models.create("san/large", 2, 3)) / 1e6 == pytest.approx(15.7, abs=0.05)


# Thousand millions for an output of 1280 x 720, from the papers' tables.
@pytest.mark.parametrize(
    "name,scale,channels,published",
    [("imdn", 2, 3, 158.8), ("imdn", 3, 3, 71.5), ("imdn", 4, 3, 40.9), ("sesr", 2, 1, 3.11), ("sesr", 4, 1, 1.05)],
)
def test_multiply_adds_are_the_published_ones(name, scale, channels, published):
    found = multiply_adds(models.create(name, scale, channels), 720 // scale, -(-1280 // scale))
    assert found / 1e9 == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize("name", ["sesr", "abpn"])
@pytest.mark.parametrize("channels", [1, 3])
def test_untrained_network_repeats_pixels(name, channels):
    lr = picture(9, 12, channels)
    sr = np.asarray(models.create(name, 3, channels)(lr[None], training=False))[0]
    np.testing.assert_array_equal(sr, lr.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize("residual", [False, True])
def test_collapsible_convolution_is_the_wide_one_and_the_narrow_one_behind_it(residual):
    layer, x = CollapsibleConv2D(4, 3, 32, residual=residual), noise(2, 6, 7, 4)
    found = shaken(keras.Sequential([keras.Input((None, None, 4)), layer]))(x)
    kernel, projection, bias = layer.get_weights()
    wide = keras.layers.Conv2D(32, 3, padding="same", use_bias=False)
    narrow = keras.layers.Conv2D(4, 1)
    both = keras.Sequential([keras.Input((None, None, 4)), wide, narrow])
    both.set_weights([kernel, projection[None, None], bias])
    np.testing.assert_allclose(found, both(x) + (x if residual else 0), atol=2e-5)


def test_residual_needs_as_many_channels_as_filters():
    with pytest.raises(ValueError, match="Received: channels=3, filters=4"):
        CollapsibleConv2D(4, 3, residual=True)(noise(1, 5, 5, 3))


def test_collapsed_network_does_the_same_with_plain_convolutions():
    network = shaken(models.create("sesr", 2, 3))
    plain, lr = collapsed(network), picture(11, 14, 3)[None]
    assert {type(layer).__name__ for layer in plain.layers if layer.weights} == {"Conv2D", "PReLU"}
    assert weights_of(plain) < weights_of(network) / 10
    expected = np.asarray(network(lr, training=True))
    assert np.std(expected - lr.repeat(2, 1).repeat(2, 2)) > 0.01
    np.testing.assert_allclose(plain(lr, training=True), expected, atol=1e-5)
    other = models.create("abpn", 2)
    assert collapsed(other) is other


def test_export_collapses_by_itself(tmp_path):
    network, lr = tiny_network("sesr"), picture(40, 50)
    path = write_tflite(tmp_path / "m.tflite", network, tile=48)
    assert convert.operations_of(path.read_bytes())["CONV_2D"] == 7
    model = runtime.Model(path)
    # Kernels of 25 * 4 and 25 * 4 * 4 and five of 9 * 4 * 4, biases, and five times four slopes.
    assert model.card["parameters"] == 100 + 400 + 720 + 28 + 20
    np.testing.assert_allclose(model(lr), network(lr[None], training=False)[0], atol=1e-5)


@pytest.mark.parametrize("name", ["imdn", "rlfn", "san"])
def test_network_that_sees_the_whole_image_is_exported_for_any_size(tmp_path, name):
    network = tiny_network(name, 3, num_blocks=1)
    model = runtime.Model(write_tflite(tmp_path / "m.tflite", network, tile=None))
    assert model.overlap is None
    for lr in (picture(40, 26), picture(7, 5)):
        np.testing.assert_allclose(model(lr), network(lr[None], training=False)[0], atol=1e-5)


def test_receptive_radius_adds_up_collapsible_convolutions():
    assert upscalers.receptive_radius(models.create("sesr", 2)) == 2 + 5 * 1 + 2
    assert upscalers.receptive_radius(models.create("abpn", 2)) == 7


@pytest.mark.parametrize("name", NON_LOCAL)
def test_network_that_sees_the_whole_image_has_no_radius(name):
    assert upscalers.receptive_radius(models.create(name, 2, num_filters=8, num_blocks=1)) is None


@pytest.mark.parametrize("name", ["sesr", "abpn"])
def test_tiles_make_the_same_image(name):
    network, lr = shaken(models.create(name, 2)), picture(60, 45)
    whole, tiled = (upscalers.tiled(network, tile)(lr, 2) for tile in (64, 32))
    assert np.std(whole - lr.repeat(2, 0).repeat(2, 1)) > 0.01
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_image_is_clipped_in_use_and_not_in_training():
    layer, x = layers.UnitRange(), np.array([-0.5, 0.25, 1.5], np.float32)
    np.testing.assert_array_equal(layer(x, training=True), x)
    np.testing.assert_array_equal(layer(x), [0, 0.25, 1])


def test_contrast_pooling_by_hand():
    x = np.array([1, 3, 5, 7], np.float32).reshape(1, 2, 2, 1)
    assert float(attention.ContrastPooling()(x)[0, 0, 0, 0]) == pytest.approx(4 + 5**0.5, rel=1e-5)


def test_covariance_pooling_is_the_matrix_root():
    x = noise(2, 6, 9, 4) @ noise(4, 4, seed=1)
    found = attention.CovariancePooling(iterations=20)(x)
    for image, pooled in zip(x, np.asarray(found), strict=True):
        root = linalg.sqrtm(np.cov(image.reshape(-1, 4), rowvar=False, bias=True))
        np.testing.assert_allclose(pooled[0, 0], root.mean(0), rtol=0.01, atol=1e-3)


def test_covariance_pooling_of_a_black_patch_and_its_gradient_are_numbers():
    import tensorflow as tf

    x = tf.zeros((1, 4, 4, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        pooled = attention.CovariancePooling()(x) + attention.ContrastPooling()(x)
    assert np.isfinite(pooled).all()
    assert np.isfinite(tape.gradient(pooled, x)).all()


def by_region(query, key, value, side):
    """Non-local means, region by region, as the paper's formula says."""
    out = np.zeros_like(value)
    for y in range(0, value.shape[1], side):
        for x in range(0, value.shape[2], side):
            part = np.s_[0, y : y + side, x : x + side]
            q, k, v = (a[part].reshape(-1, a.shape[-1]) for a in (query, key, value))
            weights = np.exp(q @ k.T)
            out[part] = (weights / weights.sum(1, keepdims=True) @ v).reshape(out[part].shape)
    return out


@pytest.mark.parametrize("height,width", [(8, 12), (7, 13), (3, 2)])
def test_region_attention_averages_inside_each_region(height, width):
    query, key, value = (
        noise(1, height, width, 2),
        noise(1, height, width, 2, seed=1),
        noise(1, height, width, 5, seed=2),
    )
    found = attention.RegionAttention(4)(query, key, value)
    np.testing.assert_allclose(found, by_region(query, key, value, 4), atol=1e-5)


def test_multiply_adds_of_attention_by_hand():
    shapes = [(1, 7, 13, 2), (1, 7, 13, 2), (1, 7, 13, 5)]
    # Two by four regions of 16 pixels: 16 * 16 likenesses of depth 2, and as many weights of 5 values.
    assert attention.RegionAttention(4).multiply_adds(*shapes) == 8 * 16 * 16 * (2 + 5)
    # 91 outer products of 3 x 3, then one product for the first iteration, three for each of three, two for the last.
    assert attention.CovariancePooling(5).multiply_adds((1, 7, 13, 3)) == 91 * 9 + (1 + 3 * 3 + 2) * 27


def test_bilinear_resizing_is_pillows():
    small, large = noise(1, 3, 4, 1), np.zeros((1, 11, 9, 1), np.float32)
    expected = Image.fromarray(small[0, ..., 0]).resize((9, 11), Image.BILINEAR)
    np.testing.assert_allclose(attention.BilinearResizing()(small, large)[0, ..., 0], expected, atol=1e-5)


def test_half_precision_of_attention_is_near_full_precision():
    x = (30 * noise(1, 24, 24, 8)).astype(np.float16).astype(np.float32)
    for layer in (attention.ContrastPooling, attention.CovariancePooling):
        np.testing.assert_allclose(layer(dtype="mixed_float16")(x), layer()(x), rtol=3e-3)
    # Likenesses of some thousand are beyond half precision.
    found, expected = (attention.RegionAttention(12, dtype=d)(x, x, x) for d in ("mixed_float16", "float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
