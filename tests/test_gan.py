"""Adversarial losses, penalties, spectral normalisation, discriminators, presets, and runs of all of them."""

import dataclasses
import hashlib
import json
import math
import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_runs import cut_run, equal, mirrored_weights, weights

from tfmisr import config, losses, models
from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError
from tfmisr.models import discriminators
from tfmisr.models.discriminators import dcgan, patch, sagan, srfeat, srgan
from tfmisr.training import adversarial, gan, loop, metrics, optimizers, penalties, spectral

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = {
    "model": "resnet6/num_filters=4,num_blocks=1",
    "discriminator": "dcgan",
    "scale": 2,
    "patch_size": 8,
    "batch_size": 4,
    "steps": 6,
    "save_every": 3,
    "validate_every": 6,
}


@pytest.fixture(autouse=True)
def few_filters(monkeypatch):
    """The discriminators with few filters: the code is the same, the tests are fast."""
    for module, defaults in ((dcgan, (1, 4)), (patch, (1, 4)), (sagan, (1, 4)), (srgan, (1, 4, 8))):
        monkeypatch.setattr(module.build, "__defaults__", defaults)
    monkeypatch.setattr(srfeat.build, "__defaults__", (512, 4, 8))


@pytest.fixture
def feature_network(tmp_path):
    """A `.keras` file of a small network that halves the image."""
    image = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="found")(image)
    keras.Model(image, x).save(tmp_path / "features.keras")
    return f"perceptual(network={tmp_path / 'features.keras'})"


def softplus(x):
    return math.log1p(math.exp(x))


# Real logits 2 and 0, restored ones 1 and -1; their means are 1 and 0.
BY_HAND = {
    "vanilla": (
        0.25 * (softplus(-2) + softplus(0) + softplus(1) + softplus(-1)),
        0.5 * (softplus(-1) + softplus(1)),
    ),
    "lsgan": (0.5 * ((1 + 1) / 2 + (1 + 1) / 2), (0 + 4) / 2),
    "hinge": ((0 + 1) / 2 + (2 + 0) / 2, 0.0),
    # Real less 0: 2 and 0. Restored less 1: 0 and -2.
    "relativistic": (
        0.25 * (softplus(-2) + softplus(0) + softplus(0) + softplus(-2)),
        0.25 * (softplus(0) + softplus(2) + softplus(2) + softplus(0)),
    ),
}


@pytest.mark.parametrize("shape", [(2, 1), (1, 2, 1, 1)])
@pytest.mark.parametrize("name", config.ADVERSARIAL_LOSSES)
def test_adversarial_loss_by_hand(name, shape):
    real, fake = (np.reshape(np.float32(values), shape) for values in ([2, 0], [1, -1]))
    pair = adversarial.LOSSES[name]
    discriminator, generator = BY_HAND[name]
    assert float(pair.discriminator(real, fake)) == pytest.approx(discriminator, abs=1e-6)
    assert float(pair.generator(real, fake)) == pytest.approx(generator, abs=1e-6)


def test_every_loss_of_the_command_line_is_there():
    assert tuple(adversarial.LOSSES) == config.ADVERSARIAL_LOSSES


@pytest.mark.parametrize("name", config.ADVERSARIAL_LOSSES)
def test_generator_raises_its_logits_and_discriminator_lowers_them(name):
    real, fake = tf.constant([[0.3], [-0.2]]), tf.constant([[0.1], [0.4]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(fake)
        found = adversarial.LOSSES[name].generator(real, fake), adversarial.LOSSES[name].discriminator(real, fake)
    assert (tape.gradient(found[0], fake).numpy() < 0).all()
    assert (tape.gradient(found[1], fake).numpy() > 0).all()


def linear_discriminator():
    image = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(image)
    return keras.Model(image, [flat, keras.layers.Dense(1)(flat)])


@pytest.mark.parametrize("factor", [1.0, 1024.0])
def test_r1_of_a_linear_discriminator_is_the_squared_length_of_its_weights(factor):
    network, images = linear_discriminator(), tf.random.stateless_uniform((3, 4, 4, 1), (1, 2))
    kernel = network.layers[-1].kernel
    with tf.GradientTape() as tape:
        found = penalties.r1(network, images, factor)
    np.testing.assert_allclose(found, np.sum(kernel.numpy() ** 2), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(found, kernel.value), 2 * kernel.numpy(), rtol=1e-5)


def test_r1_between_steps_is_nothing_and_its_mean_over_steps_half_the_weight():
    network, images = linear_discriminator(), tf.zeros((2, 4, 4, 1))
    found = [float(penalties.lazy_r1(network, images, tf.constant(step), 10.0, 4)) for step in range(8)]
    assert [value > 0 for value in found] == [True, False, False, False] * 2
    assert np.mean(found) == pytest.approx(5 * np.sum(network.layers[-1].kernel.numpy() ** 2), rel=1e-5)


def wide(policy="float32"):
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, 2, "same", name="conv", dtype=policy)(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool", dtype=policy)(keras.layers.ReLU(dtype=policy)(x))
    return keras.Model(image, [x, keras.layers.Dense(5, name="dense", dtype=policy)(x)])


def singular_value(kernel):
    return np.linalg.svd(np.reshape(kernel, (-1, kernel.shape[-1])), compute_uv=False)[0]


def test_normalised_kernels_have_operator_norm_one():
    network = spectral.normalized(wide())
    for name, factor in (("conv", 3.0), ("dense", 0.1)):
        layer = network.get_layer(name)
        layer.layer.kernel.assign(layer.layer.kernel * factor)
    tf.function(spectral.refine)(network, 50)
    for name in ("conv", "dense"):
        layer = network.get_layer(name)
        assert singular_value(layer.layer.kernel.numpy()) != pytest.approx(1, abs=0.1)
        assert singular_value(np.asarray(layer.normalized_kernel())) == pytest.approx(1.0, abs=1e-4)


def test_first_estimate_of_the_norm_is_near():
    kernel = np.asarray(spectral.normalized(wide()).get_layer("conv").normalized_kernel())
    assert singular_value(kernel) == pytest.approx(1.0, abs=0.05)


def test_normalised_layer_convolves_with_the_divided_kernel_and_a_call_changes_nothing():
    network, images = spectral.normalized(wide()), np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    before = network.get_weights()
    found = [np.asarray(network(images, training=training)[1]) for training in (True, False)]
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(*found)
    plain = wide()
    for name in ("conv", "dense"):
        layer = network.get_layer(name)
        plain.get_layer(name).set_weights([layer.normalized_kernel(), layer.layer.bias])
    np.testing.assert_allclose(found[0], plain(images)[1], rtol=1e-5, atol=1e-6)


def test_gradient_goes_through_the_division():
    network = spectral.normalized(wide())
    layer = network.get_layer("dense")
    tf.function(layer.refine)(100)
    kernel, probe = layer.layer.kernel.numpy().astype(float), np.random.default_rng(2).normal(size=(8, 5))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer.normalized_kernel() * probe.astype(np.float32))
    found = tape.gradient(value, layer.layer.kernel.value)
    for place in ((0, 0), (3, 4), (7, 2)):
        moved = [kernel.copy(), kernel.copy()]
        moved[0][place] += 1e-5
        moved[1][place] -= 1e-5
        values = [np.sum(k / singular_value(k) * probe) for k in moved]
        assert float(found[place]) == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-3)


def test_norm_is_worked_out_in_float32_and_the_convolution_in_float16():
    network = spectral.normalized(wide("mixed_float16"))
    layer = network.get_layer("conv")
    kernel = layer.layer.kernel.numpy()
    layer.layer.kernel.assign(kernel * 1e6)  # beyond float16
    tf.function(layer.refine)(30)
    features = network(np.ones((1, 8, 8, 3), np.float32))[0]
    assert features.dtype == "float16" and layer.direction.dtype == "float32"
    assert np.isfinite(np.asarray(features)).all() and np.asarray(features).max() > 0


@pytest.mark.parametrize("name", discriminators.names())
@pytest.mark.parametrize("side", [8, 37])
def test_discriminator_takes_patches_of_any_size_and_learns_with_every_weight(name, side):
    network = discriminators.create(name, 1)
    for weight in network.trainable_weights:  # the gate of attention starts at 0 and hides what is behind it
        if weight.name == "gamma":
            weight.assign(weight + 0.5)
    images = np.random.default_rng(0).random((2, side, side, 1), np.float32)
    with tf.GradientTape() as tape:
        *features, logits = network(images, training=True)
        loss = tf.reduce_mean(tf.square(logits - 1))
    assert len(features) >= 4 and logits.shape[0] == 2 and logits.shape[-1] == 1 and logits.dtype == "float32"
    assert network.layers[0].name in ("image", "features")
    if side > 8:  # one position is all that is left of a small patch, and normalised it is nothing
        gradients = tape.gradient(loss, network.trainable_weights)
        for weight, gradient in zip(network.trainable_weights, gradients, strict=True):
            assert gradient is not None and np.abs(gradient).max() > 0, weight.path


def test_discriminator_of_srgan_has_the_papers_convolutions():
    network = srgan.build(1, 64, 1024)
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [c.filters for c in convolutions] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [c.strides[0] for c in convolutions] == [1, 2, 1, 2, 1, 2, 1, 2]


def test_patch_discriminator_sees_70_pixels_and_has_cyclegans_parameters():
    network = patch.build(3, 64)
    seen, jump = 1, 1
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            seen += (layer.kernel_size[0] - 1) * jump
            jump *= layer.strides[0]
    assert seen == 70
    # 4x4 kernels and biases of C64-C128-C256-C512 and of the last convolution.
    assert (
        network.count_params()
        == 2_764_737
        == sum(16 * a * b + b for a, b in [(3, 64), (64, 128)])
        + sum(16 * a * b + b for a, b in [(128, 256), (256, 512), (512, 1)])
    )


def test_attention_by_numpy():
    rng = np.random.default_rng(3)
    queries, keys, values = (rng.normal(size=s).astype(np.float32) for s in ((1, 2, 3, 4), (1, 1, 2, 4), (1, 1, 2, 5)))
    found = sagan.Attend()([queries, keys, values])
    scores = queries.reshape(6, 4) @ keys.reshape(2, 4).T
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(np.reshape(found, (6, 5)), shares @ values.reshape(2, 5), rtol=1e-5)


def test_attention_starts_without_a_say():
    network, images = sagan.build(1, 4), np.random.default_rng(0).random((1, 24, 24, 1), np.float32)
    network.get_layer("attention_values").kernel.assign(network.get_layer("attention_values").kernel * 9)
    first = network(images)[-1]
    network.get_layer("attention_values").kernel.assign(network.get_layer("attention_values").kernel * 0)
    np.testing.assert_array_equal(first, network(images)[-1])


def plain_step(generator, discriminator, both, lr, hr):
    """The paper's GAN in a few lines of TensorFlow: cross-entropy, feature matching, one pass for both."""
    with tf.GradientTape(persistent=True) as tape:
        sr = generator(lr, training=True)
        *real, r = discriminator(hr, training=True)
        *fake, f = discriminator(sr, training=True)
        matching = tf.add_n([tf.reduce_mean(tf.abs(a - b)) for a, b in zip(real, fake, strict=True)]) / len(real)
        loss = tf.reduce_mean(tf.abs(hr - sr)) + 1e-3 * tf.reduce_mean(tf.math.softplus(-f)) + 1e-2 * matching
        d_loss = 0.5 * (tf.reduce_mean(tf.math.softplus(-r)) + tf.reduce_mean(tf.math.softplus(f)))
    for network, value, optimizer in zip((generator, discriminator), (loss, d_loss), both, strict=True):
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))


def test_papers_gan_takes_the_step_of_a_plain_one():
    def adam():
        return [keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in range(2)]

    def networks():
        keras.utils.set_random_seed(5)
        return models.create(TINY["model"], 2), discriminators.create("dcgan")

    trainer = gan.GAN(*networks())
    trainer.compile(*adam(), losses.get("mae", reduction="none"), metrics.psnr())
    other, both = networks(), adam()
    rng = np.random.default_rng(0)
    for _ in range(3):
        batch = [tf.constant(rng.random((4, side, side, 1), np.float32)) for side in (8, 16)]
        trainer.train_step(tuple(batch))
        plain_step(*other, both, *batch)
    mine = (trainer.generators[0], trainer.discriminators["discriminator"])
    for a, b in zip(mine, other, strict=True):
        for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


def test_folders_of_the_first_version_keep_their_names():
    # As version 0.1 named them: a run that was begun with it goes on in its folder.
    assert config.from_dict(config.preset("paper_gan"), "paper_gan").key == "f188c5b6"
    assert Config(auto_warmup=False).key == "417b3fba" != Config().key


def test_later_fields_tell_folders_apart_where_they_are_no_defaults():
    keys = {Config(**TINY).key, Config(**TINY, adversarial_loss="hinge").key, Config(**TINY, r1_weight=1.0).key}
    assert len(keys) == 3


ALL = {
    "adversarial_loss": "relativistic",
    "spectral_normalization": True,
    "r1_weight": 10.0,
    "r1_interval": 2,
    "feature_discriminator": "srfeat",
    "ema_decay": 0.9,
}


def test_penalised_and_normalised_run_goes_on_bit_for_bit(tiny_source, tmp_path):
    fields = {**TINY, "spectral_normalization": True, "r1_weight": 10.0, "r1_interval": 2}
    whole, cut = cut_run(fields, tiny_source, tmp_path)
    assert equal(whole, cut)
    header = (tmp_path / "cut" / "history.csv").read_text()
    assert "val_r1" in header and header == (tmp_path / "whole" / "history.csv").read_text()


@pytest.mark.large
def test_everything_at_once_goes_on_bit_for_bit_and_logs_each_loss(tiny_source, tmp_path, feature_network):
    fields = {**TINY, **ALL, "feature_network": feature_network, "loss": f"mae + 0.1*{feature_network}"}
    fields["patch_size"] = 16
    whole, cut = cut_run(fields, tiny_source, tmp_path)
    assert equal(whole, cut)
    header = (tmp_path / "whole" / "history.csv").read_text().splitlines()[0].split(",")
    assert {"feature_adversarial", "feature_discriminator", "r1", "val_r1"} <= set(header)
    with np.load(tmp_path / "whole" / "checkpoints" / "step-00000006.npz") as state:
        groups = {key.partition("/")[0] for key in state.files}
    assert {"discriminator", "feature_discriminator", "discriminator_optimizer", "step", "average"} <= groups


@pytest.mark.large
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["sagan", "patch", "srgan"])
def test_every_variant_goes_on_bit_for_bit_in_half_precision(tiny_source, tmp_path, name, policy):
    fields = {**TINY, "discriminator": name, "mixed_precision": policy, "r1_weight": 1.0, "r1_interval": 2}
    fields |= {"spectral_normalization": name != "srgan", "adversarial_loss": "hinge"}
    whole, cut = cut_run(fields, tiny_source, tmp_path)
    assert equal(whole, cut)
    assert models.load(whole).get_layer("output_conv").get_weights()[0].any()


@pytest.mark.large
def test_two_devices_give_the_weights_of_one_with_everything(tmp_path, feature_network):
    fields = {**TINY, **ALL, "feature_network": feature_network, "optimizer": "sgd"}
    one, two = mirrored_weights(fields, tmp_path)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_r1_in_float16_is_that_in_float32():
    images, found = tf.random.stateless_uniform((2, 16, 16, 1), (0, 1)), []
    for policy in ("float32", "mixed_float16"):
        keras.mixed_precision.set_dtype_policy(policy)
        try:
            keras.utils.set_random_seed(2)
            network = srgan.build(1, 4, 8)
            factor = optimizers.scaled(keras.optimizers.Adam()).scale_loss(1.0)
            found.append(float(penalties.r1(network, images, factor)))
        finally:
            keras.mixed_precision.set_dtype_policy("float32")
    assert found[1] == pytest.approx(found[0], rel=0.02) and found[0] > 0


FEATURES = ("srgan", "esrgan", "srfeat")


def of_preset(name, feature_network, **fields):
    """Fields of a preset with a tiny network, a few steps, and the test's network in VGG19's place."""
    chosen = {**config.preset(name), "steps": 2, "epochs": None, "patch_size": 16, "batch_size": 2, "scale": 2}
    model = {"rrdb/large": "rrdb/num_filters=4,num_blocks=1,growth_filters=4"}.get(chosen["model"])
    chosen["model"] = model or f"{chosen['model'].partition('/')[0]}/num_filters=4,num_blocks=1"
    if name in FEATURES:
        chosen |= {"loss": f"0.006*{feature_network}", "feature_network": feature_network}
    return {**chosen, "save_every": 2, "validate_every": 2, **fields}


@pytest.mark.large
@pytest.mark.parametrize("name", ["srgan", "esrgan", "srfeat", "sagan", "patchgan"])
def test_preset_trains(tiny_source, tmp_path, feature_network, name):
    fields = of_preset(name, feature_network, workdir=str(tmp_path / "run"))
    path = loop.train(config.from_dict(fields, name), tiny_source)
    assert all(np.isfinite(w).all() for w in weights(path))


def test_run_starts_from_the_weights_it_is_given_and_knows_them_again(tiny_source, tmp_path):
    start = tmp_path / "start.keras"
    first = models.create(TINY["model"], 2)
    first.get_layer("output_conv").kernel.assign(first.get_layer("output_conv").kernel + 0.01)
    first.save(start)
    given = Config(
        **{**TINY, "steps": 3, "learning_rate": 1e-12, "ema_decay": 0.9},
        initial_weights=str(start),
        workdir=str(tmp_path / "run"),
    )
    second = models.load(loop.train(given, tiny_source))
    for layer in ("stem_conv", "output_conv"):
        before, after = (network.get_layer(layer).get_weights() for network in (first, second))
        for x, y in zip(before, after, strict=True):
            np.testing.assert_allclose(y, x, atol=1e-9)
    told = json.loads((tmp_path / "run" / "environment.json").read_text())["initial_weights"]
    with zipfile.ZipFile(start) as file:
        assert told == hashlib.sha256(file.read("model.weights.h5")).hexdigest()
    key = given.key
    first.save(tmp_path / "same.keras")
    assert dataclasses.replace(given, initial_weights=str(tmp_path / "same.keras")).key == key
    models.create(TINY["model"], 2).save(start)
    assert given.key != key
    with pytest.raises(InputError, match="another configuration: initial_weights is"):
        loop.train(given, tiny_source)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda path: None, "initial_weights must be a finished run, a .keras or .tflite file"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no zip"), "initial_weights must be a finished run"),
        (lambda path: models.create("cnn5/num_filters=4", 2).save(path), "must be those of the network resnet6"),
    ],
)
def test_weights_of_something_else_are_refused(tiny_source, tmp_path, make, message):
    make(tmp_path / "other.keras")
    fields = {**TINY, "initial_weights": str(tmp_path / "other.keras")}
    with pytest.raises(InputError, match=message):
        loop.train(Config(**fields, workdir=str(tmp_path / "run")), tiny_source)


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"discriminator": "dcgam"}, "did you mean dcgan?"),
        ({"adversarial_loss": "wgan"}, "adversarial_loss must be one of vanilla, lsgan, hinge, relativistic"),
        ({"adversarial_loss": "hinge", "discriminator": None}, "--adversarial_loss needs --discriminator"),
        ({"spectral_normalization": True, "discriminator": None}, "--spectral_normalization needs --discriminator"),
        ({"r1_weight": -1.0}, "r1_weight must not be negative"),
        ({"r1_interval": 0}, "r1_interval must be at least 1. Received: 0"),
        ({"feature_discriminator": "srfeat", "feature_network": "mae"}, "one perceptual loss of one layer"),
        (
            {"feature_discriminator": "srfeat", "feature_network": "perceptual(layers=conv2_2+conv5_4)"},
            "one perceptual loss of one layer",
        ),
        ({"lr_dataset": "scans"}, "--lr_dataset needs --unpaired"),
        ({"unpaired": True}, "--feature_matching_weight needs paired images"),
    ],
)
def test_mistake_is_told_in_one_line(fields, message):
    changed = {"feature_matching_weight": 0.1, **fields} if fields.get("unpaired") else fields
    with pytest.raises(InputError) as error:
        Config(**{**TINY, **changed})
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.large
def test_help_and_mistakes_answer_without_tensorflow():
    script = (
        "import sys; from tfmisr import fit\n"
        "try: fit.main({arguments!r})\n"
        "except (SystemExit, Exception) as error: print(type(error).__name__)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    for arguments in (["--help"], ["--adversarial_loss", "hinge"], ["--initial_weights", "nowhere"]):
        subprocess.run([sys.executable, "-c", script.format(arguments=arguments)], check=True, cwd=ROOT)
