"""What every model of the zoo must satisfy, and the papers' own numbers."""

import keras
import numpy as np
import pytest

from tfmisr import models
from tfmisr.edge.errors import InputError
from tfmisr.edge.resize import upscale
from tfmisr.models import discriminators


def image(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).random((1, height, width, channels), dtype=np.float32)


def shaken(model):
    """Gives every weight some value, so that nothing hides behind an output that starts at zero."""
    rng = np.random.default_rng(5)
    model.set_weights([w + 0.05 * np.abs(rng.standard_normal(w.shape)).astype(w.dtype) for w in model.get_weights()])
    return model


@pytest.fixture(params=models.names())
def name(request):
    return request.param


def test_zoo_holds_the_papers_three_networks():
    assert {"cnn5", "resnet18", "resnet6"} <= set(models.names())


@pytest.mark.parametrize("scale", models.SCALES)
@pytest.mark.parametrize("channels", [1, 3])
def test_output_is_scale_times_the_input_of_any_size(name, scale, channels):
    model = models.create(name, scale, channels)
    for height, width in ((8, 8), (5, 11)):
        out = model(image(height, width, channels), training=False)
        assert out.shape == (1, scale * height, scale * width, channels)
    assert out.dtype == "float32"
    assert model.input_shape == (None, None, None, channels)
    assert models.scale_of(model) == scale


def test_every_layer_has_a_name_of_its_own_choosing(name):
    import re

    automatic = [
        layer.name for layer in models.create(name, 2).layers if re.search(r"(conv2d|re_lu|add)_?\d*$", layer.name)
    ]
    assert [n for n in automatic if re.fullmatch(r"(conv2d|re_lu|add)(_\d+)?", n)] == []
    assert models.create(name, 2).layers[0].name == "low_res"


def test_file_round_trip_is_exact_in_safe_mode(name, tmp_path):
    model = shaken(models.create(name, 3))
    model.save(tmp_path / "model.keras")
    again = models.load(tmp_path / "model.keras")
    x = image(9, 7)
    np.testing.assert_array_equal(again(x, training=False), model(x, training=False))


def test_no_layer_is_a_lambda(name):
    assert not [layer for layer in models.create(name, 2).layers if isinstance(layer, keras.layers.Lambda)]


def test_untrained_network_is_bicubic_interpolation(name):
    lr = image(12, 14)
    sr = np.asarray(models.create(name, 4)(lr, training=False))[0]
    np.testing.assert_allclose(sr[8:-8, 8:-8], upscale(lr[0], 4)[8:-8, 8:-8], atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_the_interpolation_in_float32(name, policy):
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        model = models.create(name, 2)
        assert model.get_layer("block1_conv1" if name != "cnn5" else "conv2").compute_dtype != "float32"
        lr = image(12, 14)
        sr = np.asarray(model(lr, training=False))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert sr.dtype == np.float32
    np.testing.assert_allclose(sr[0, 4:-4, 4:-4], upscale(lr[0], 2)[4:-4, 4:-4], atol=1e-6)


def test_gradient_reaches_every_weight(name):
    import tensorflow as tf

    model = shaken(models.create(name, 2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(image(8, 8), training=True) - 0.5))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        assert gradient is not None, weight.path
        assert np.abs(np.asarray(gradient)).max() > 0, weight.path


def test_centroid_of_a_blob_does_not_move(name):
    # Half-pixel centres: pixel i of LR is centred on (i + 0.5) * scale - 0.5 of SR.
    grid = np.arange(24)
    blob = np.exp(-((grid[:, None] - 11.3) ** 2 + (grid[None] - 10.6) ** 2) / 8).astype(np.float32)
    sr = np.asarray(models.create(name, 4)(blob[None, ..., None], training=False))[0, ..., 0]
    y, x = ((sr * np.arange(96)[axis]).sum() / sr.sum() for axis in (np.s_[:, None], np.s_[None]))
    assert y == pytest.approx((11.3 + 0.5) * 4 - 0.5, abs=0.05)
    assert x == pytest.approx((10.6 + 0.5) * 4 - 0.5, abs=0.05)


def test_parameters_by_hand():
    # cnn5 x4: 9*64 + 4*9*64*64 weights, 5*2*64 of batch normalisation (trained), 9*64*16+16 of the last convolution.
    trained = sum(np.prod(w.shape) for w in models.create("cnn5", 4).trainable_weights)
    assert trained == 9 * 64 + 4 * 9 * 64 * 64 + 5 * 2 * 64 + 9 * 64 * 16 + 16
    convolutions = [layer for layer in models.create("resnet18", 4).layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 18
    blocks = [layer for layer in models.create("resnet6", 4).layers if layer.name.endswith("_add")]
    assert len(blocks) == 6 + 1


def test_discriminator_has_four_convolutions_and_gives_their_features():
    model = discriminators.create("dcgan", 1)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [c.filters for c in convolutions] == [64, 128, 256, 512]
    *features, logits = model(image(32, 48))
    assert [f.shape for f in features] == [(1, 16, 24, 64), (1, 8, 12, 128), (1, 4, 6, 256), (1, 2, 3, 512)]
    assert logits.shape == (1, 1)


def test_search_space_gives_arguments_of_build(name):
    keras_tuner = pytest.importorskip("keras_tuner")
    module, _ = models.module(name)
    models.create(name, 2, **module.search_space(keras_tuner.HyperParameters()))


def test_unknown_model_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="Received: resnet19; did you mean resnet18?"):
        models.create("resnet19", 2)
    with pytest.raises(InputError, match="variant of cnn5 must be one of baseline"):
        models.create("cnn5/huge", 2)


@pytest.mark.parametrize("scale", [0, 1, 5, 16])
def test_wrong_scale_is_refused(scale):
    with pytest.raises(InputError, match=f"scale must be 2, 3, 4 or 8. Received: {scale}"):
        models.create("cnn5", scale)


def test_file_with_code_in_it_is_not_run(tmp_path):
    inner = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Lambda(lambda x: x)])
    inner.save(tmp_path / "evil.keras")
    with pytest.raises(InputError, match="cannot|safe|Lambda"):
        models.load(tmp_path / "evil.keras")


def test_file_that_is_no_network_is_refused_in_one_line(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"hello")
    with pytest.raises(InputError, match="is not a network"):
        models.load(tmp_path / "model.keras")
    with pytest.raises(InputError, match="found none"):
        models.load(tmp_path / "other.keras")


def test_file_of_an_older_format_is_refused_by_its_name(tmp_path):
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="expected a run's folder or a .keras file"):
        models.load(tmp_path / "model.h5")
