"""Quantization-aware training: the fake-quantized network computes what LiteRT computes with the int8 file."""

import keras
import numpy as np
import pytest
from tiny_network import picture

from tfmisr import models, quantization
from tfmisr.config.fields import Config
from tfmisr.edge import card as model_card
from tfmisr.edge import runtime
from tfmisr.edge.errors import InputError
from tfmisr.export import cards, convert
from tfmisr.quantization import aware_training
from tfmisr.training import loop

NAME = "plain/num_filters=16,num_layers=4"
IMAGES = np.stack([picture(48, 48, seed=seed) for seed in range(6)])
RUN = {"model": NAME, "scale": 2, "patch_size": 16, "batch_size": 4, "save_every": 6, "validate_every": 6}


def trained(scale=2):
    """Returns a network with weights of the size that training makes."""
    keras.utils.set_random_seed(3)
    network = models.create(NAME, scale, 1)
    rng = np.random.default_rng(4)
    *hidden, kernel, bias = network.get_weights()
    hidden = [w + rng.normal(0, 0.02, w.shape) for w in hidden]
    network.set_weights([*hidden, rng.normal(0, 0.02, kernel.shape), rng.normal(0, 0.01, bias.shape)])
    return network


def clipped(scale=2):
    network = trained(scale)
    found = quantization.clip_activations(network)
    found.set_weights(quantization.scale_to_clip_range(network, IMAGES))
    return network, found


def file_of(network, scale, path):
    """Writes the integer file of a network, and returns it as a model."""
    subgraph = convert.exported_subgraph(network, "int8")
    content = convert.to_tflite(subgraph, "int8", 48, lambda: iter([*IMAGES, *(IMAGES * 0), *(IMAGES * 0 + 1)]))
    run_fields = {"modality": "none", "training": {}, "protocol": None, "scores": None, "licence": "none"}
    card = cards.describe("m", "int8", subgraph, scale, 48, 8, run_fields)
    path.write_bytes(model_card.attach(content, {**card, "gating_thresholds": None}))
    return runtime.Model(path), content


@pytest.mark.parametrize("scale", [2, 4])
def test_network_computes_in_training_what_litert_does(scale, tmp_path):
    _, network = clipped(scale)
    model, content = file_of(network, scale, tmp_path / "m.tflite")
    lr = np.rint(picture(48, 48, seed=9) * 255).astype(np.float32) / 255
    aware = np.asarray(quantization.fake_quantize(network)(lr[None]))[0]
    exact = np.asarray(network(lr[None]))[0]
    found = model(lr)
    lost, apart = np.abs(found - exact), np.abs(found - aware)
    # A rounding that falls on the other side is one level; the file and the network agree but for some of these.
    assert apart.mean() < 0.25 * lost.mean()
    assert lost.mean() > 1e-5
    assert "RELU" not in " ".join(convert.operations_of(content))  # ReLU6 is fused into the convolutions


def test_network_scaled_to_the_clip_range_computes_the_same():
    """Issue 19: it began with every channel clipped at half of its maximum, and most runs ended below their start."""
    network = trained()
    free = models.create(NAME, 2, 1)
    free.set_weights(quantization.scale_to_clip_range(network, IMAGES))
    np.testing.assert_allclose(free(IMAGES), network(IMAGES), atol=2e-5)
    for i in (1, 2, 3):
        maximum = np.asarray(keras.Model(free.input, free.get_layer(f"relu{i}").output)(IMAGES)).max((0, 1, 2))
        alive = maximum > 0.4  # a channel is scaled 64 times at most
        np.testing.assert_allclose(maximum[alive], quantization.ACTIVATION_CLIP, rtol=1e-4)
        assert alive.any()
    _, cut = clipped()
    last = np.asarray(keras.Model(cut.input, cut.get_layer("relu4").output)(IMAGES))
    assert last.max() <= quantization.ACTIVATION_CLIP
    np.testing.assert_allclose(cut(IMAGES), network(IMAGES), atol=2e-5)


def test_clip_fraction_leaves_room_for_so_much_of_a_channel():
    network = trained()
    half = models.create(NAME, 2, 1)
    half.set_weights(quantization.scale_to_clip_range(network, IMAGES, 0.5))
    np.testing.assert_allclose(half(IMAGES), network(IMAGES), atol=2e-5)
    first = np.asarray(keras.Model(half.input, half.get_layer("relu1").output)(IMAGES)).max((0, 1, 2))
    assert first.max() == pytest.approx(2 * quantization.ACTIVATION_CLIP, rel=1e-4)
    prepared = quantization.prepare(network, IMAGES, 0.5)
    first = np.asarray(keras.Model(prepared.input, prepared.get_layer("relu1").output)(IMAGES))
    assert first.max() == quantization.ACTIVATION_CLIP  # cut off there
    with pytest.raises(InputError, match="learns its ranges"):
        quantization.prepare(models.create("resnet6/num_filters=8", 2, 1), IMAGES, 0.5)


def test_channel_that_is_always_0_does_not_grow_with_every_fine_tuning():
    """Issue 19: after three stages its kernel was 260,000 where others are 2, and XNNPACK refused the file."""
    network = trained()
    kernel, bias = network.get_layer("conv2").get_weights()
    bias[3] = -100.0
    network.get_layer("conv2").set_weights([kernel, bias])
    again = models.create(NAME, 2, 1)
    again.set_weights(quantization.scale_to_clip_range(network, IMAGES))
    once = np.abs(again.get_layer("conv2").get_weights()[0]).max((0, 1, 2))
    again.set_weights(quantization.scale_to_clip_range(again, IMAGES))
    twice = np.abs(again.get_layer("conv2").get_weights()[0]).max((0, 1, 2))
    np.testing.assert_allclose(twice, once, rtol=1e-4)
    np.testing.assert_allclose(again(IMAGES), network(IMAGES), atol=2e-5)


def test_straight_through_rounding_passes_gradients():
    import tensorflow as tf

    _, network = clipped()
    aware = quantization.fake_quantize(network)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((aware(IMAGES) - 0.5) ** 2)
    gradients = tape.gradient(loss, network.trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((network(IMAGES) - 0.5) ** 2)
    for rounded, exact in zip(gradients, tape.gradient(loss, network.trainable_variables), strict=True):
        assert np.corrcoef(np.ravel(rounded), np.ravel(exact))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, 0.0),
        (0.6, 76 / 127.5),  # 76.5 lies between two levels; to the even one
        (-0.6, -76 / 127.5),
        (0.01, 20 / 2040),  # 20.4 sixteenths of a level
        (-0.0101, -21 / 2040),
        (0.0625, 8 / 127.5),  # just outside the fine range
    ],
)
def test_output_is_quantized_in_two_ranges(value, expected):
    found = aware_training.dual_range(keras.ops.convert_to_tensor(np.float32([value])))
    np.testing.assert_allclose(found, [expected], atol=1e-7)


def test_run_saves_a_clipped_network_that_another_run_can_start_from(tiny_source, tmp_path):
    float_run = Config(**RUN, steps=6, workdir=str(tmp_path / "float"))
    loop.train(float_run, tiny_source)
    fields = {**RUN, "initial_weights": str(tmp_path / "float"), "steps": 12, "ema_decay": 0.9}
    path = loop.train(Config(**fields, quantization_aware=True, workdir=str(tmp_path / "aware")), tiny_source)
    network = models.load(path)
    assert {layer.max_value for layer in network.layers if isinstance(layer, keras.layers.ReLU)} == {6.0}
    again = {**RUN, "initial_weights": str(path.parent), "steps": 6}
    assert loop.train(Config(**again, workdir=str(tmp_path / "again")), tiny_source).is_file()


def test_interrupted_run_resumes_to_the_same_weights(tiny_source, tmp_path):
    fields = {**RUN, "steps": 12, "quantization_aware": True, "mixed_precision": "mixed_bfloat16"}
    whole = loop.train(Config(**fields, workdir=str(tmp_path / "whole")), tiny_source)
    config = Config(**fields, workdir=str(tmp_path / "cut"))
    assert loop.train(config, tiny_source, until=6) is None
    found = loop.train(config, tiny_source)
    for a, b in zip(models.load(whole).get_weights(), models.load(found).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gan_is_refused():
    with pytest.raises(InputError, match="quantization_aware needs a run without --discriminator"):
        Config(quantization_aware=True, discriminator="dcgan")
