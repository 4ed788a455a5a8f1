"""What every model of the zoo must satisfy, tried on the smallest network that each file builds."""

import functools
import inspect
import subprocess
import sys

import keras
import numpy as np
import pytest
from tiny_network import picture

from tfmisr import layers, models
from tfmisr.edge import runtime
from tfmisr.edge.errors import InputError
from tfmisr.edge.resize import upscale
from tfmisr.export import convert
from tfmisr.layers.receptive_field import receptive_radius
from tfmisr.models import discriminators

NAMES = models.names()
VARIANTS = [f"{name}/{variant}" for name in NAMES for variant in models.module(name)[0].VARIANTS]
DEFAULTS = {f"{name}/{next(iter(models.module(name)[0].VARIANTS))}" for name in NAMES}


def image(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).random((1, height, width, channels), dtype=np.float32)


def smallest(name):
    """Returns arguments of a model's `build` for eight filters, and two of whatever else it has several of."""
    found = {}
    for key, parameter in inspect.signature(models.module(name)[0].build).parameters.items():
        if type(parameter.default) is int and key not in ("scale", "channels"):
            if key.endswith("filters") or key == "expansion":
                found[key] = min(parameter.default, 8)
            elif key.startswith("num_"):
                found[key] = min(parameter.default, 2)
    return found


def tiny(name, scale=2, channels=1, seed=0):
    keras.utils.set_random_seed(seed)
    return models.create(name, scale, channels, **smallest(name))


def shaken(model):
    """Gives every weight a random value, as outputs that are initialized to zero would hide errors."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        size = 0.02 if "output_conv" in weight.path else 0.05
        low = 0.0 if "variance" in weight.path else -1.0
        weight.assign_add(size * rng.uniform(low, 1.0, weight.shape))
    return model


@functools.cache
def skip(name):
    """Returns the network's external global residual: `bicubic` or `none`."""
    return convert.exported_subgraph(tiny(name), "float32").skip


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_zoo_holds_the_papers_three_networks():
    assert {"cnn5", "resnet18", "resnet6"} <= set(NAMES)


@pytest.mark.parametrize("scale,channels", [(2, 3), (3, 1), (4, 1), (8, 3)])
def test_output_is_scale_times_the_input_of_any_size(name, scale, channels):
    model = tiny(name, scale, channels)
    for height, width in ((8, 8), (5, 11)):
        out = model(image(height, width, channels), training=False)
        assert out.shape == (1, scale * height, scale * width, channels)
    assert out.dtype == "float32"
    assert model.input_shape == (None, None, None, channels)
    assert models.scale_of(model) == scale


@pytest.mark.parametrize(
    "variant", [v if v in DEFAULTS else pytest.param(v, marks=pytest.mark.large) for v in VARIANTS]
)
def test_every_variant_builds(variant):
    with keras.StatelessScope(initialize_variables=False):  # a network without values: only its shape costs time
        assert models.create(variant, 4, 3).count_params() > 0


def test_every_layer_is_named_by_its_network_and_none_is_a_lambda(name):
    first, second = tiny(name, 8), tiny(name, 8)
    # Keras numbers the names that it makes up, so they are never the same again.
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert first.layers[0].name == "low_res" and first.name == name
    assert not [layer for layer in first.layers if isinstance(layer, keras.layers.Lambda)]


def test_file_round_trip_is_exact_in_safe_mode(name, tmp_path):
    model = shaken(tiny(name, 3))
    model.save(tmp_path / "model.keras")
    again = models.load(tmp_path / "model.keras")
    x = image(9, 7)
    np.testing.assert_array_equal(again(x, training=False), model(x, training=False))


def test_files_of_all_models_are_loaded_by_a_process_that_has_built_none(tmp_path):
    for name in NAMES:
        tiny(name).save(tmp_path / f"{name}.keras")
    code = "import sys; from tfmisr import models; print(*(models.load(path).name for path in sys.argv[1:]))"
    files = [str(tmp_path / f"{name}.keras") for name in NAMES]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == NAMES


def test_global_residual_is_found_in_the_networks_that_have_one():
    assert {name for name in NAMES if skip(name) == "bicubic"} >= {"cnn5", "resnet18", "resnet6", "vdsr", "rednet"}
    assert {name for name in NAMES if skip(name) == "none"} >= {"srcnn", "espcn", "edsr", "rcan"}


def test_untrained_network_is_its_global_residual_or_has_outputs_of_its_magnitude(name):
    lr = image(12, 14)
    if skip(name) == "bicubic":
        sr = np.asarray(tiny(name, 4)(lr, training=False))[0]
        np.testing.assert_allclose(sr[8:-8, 8:-8], upscale(lr[0], 4)[8:-8, 8:-8], atol=1e-6)
    else:
        keras.utils.set_random_seed(1)
        sr = np.asarray(models.create(name, 4)(lr, training=False))  # of full size: only deep networks diverge
        assert np.isfinite(sr).all()
        assert 0.02 < sr.std() < 3


def test_mixed_precision_is_used_and_makes_an_image_of_float32(name):
    whole, lr = shaken(tiny(name)), image(12, 14)
    expected = np.asarray(whole(lr, training=False))
    for policy in ("mixed_float16", "mixed_bfloat16"):
        keras.mixed_precision.set_dtype_policy(policy)
        try:
            model = tiny(name)
        finally:
            keras.mixed_precision.set_dtype_policy("float32")
        model.set_weights(whole.get_weights())
        assert any(layer.compute_dtype != "float32" for layer in model.layers if hasattr(layer, "kernel_size"))
        out = np.asarray(model(lr, training=False))
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, expected, atol=0.02 * np.abs(expected).max())
        # An image in half precision would be made of few values, all of them rounded.
        assert (out == out.astype(np.float16)).mean() < 0.5


def silent(model):
    """Returns the weights to which a random image sends no gradient."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(4 * image(16, 16) - 2, training=True) - 0.5))
    gradients = zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True)
    return {weight.path for weight, found in gradients if found is None or not np.any(found)}


def test_gradient_reaches_every_weight(name):
    left = silent(shaken(tiny(name)))
    for seed in range(1, 6) if left else ():  # the one ReLU of a small attention is dead in every other network
        left &= silent(shaken(tiny(name, seed=seed)))
    assert left == set()


@pytest.mark.large
def test_network_overfits_one_patch(name):
    # Black and white exchanged: something that neither interpolation nor chance does.
    hr = picture(32, 32, seed=3)[None]
    lr = hr.reshape(1, 16, 2, 16, 2, 1).mean((2, 4))
    model = tiny(name)
    model.compile(keras.optimizers.Adam(0.005), "mse", jit_compile=False)
    losses = [model.train_on_batch(lr, 1 - hr) for _ in range(60)]
    assert min(losses[-5:]) < losses[0] / 5


def symmetric(model):
    """Gives all convolutions positive kernels without a left or right, and one value for all of their channels."""
    for weight in model.weights:
        # What is averaged over a region lies where the region does.
        if len(weight.shape) == 4 and "non_local" not in weight.path:
            taps = [np.hanning(side + 2)[1:-1] for side in weight.shape[:2]]
            window = np.outer(*taps) / np.prod([t.sum() for t in taps])
            weight.assign(np.broadcast_to(window[..., None, None], weight.shape) / weight.shape[2])
    return model


def test_centroid_of_a_blob_does_not_move(name):
    scale = 4
    # Half-pixel centers: pixel i of LR has its center at (i + 0.5) * scale - 0.5 of SR.
    grid = np.arange(40)
    blob = np.exp(-((grid[:, None] - 19.3) ** 2 + (grid[None] - 18.6) ** 2) / 8).astype(np.float32)
    sr = np.asarray(symmetric(tiny(name, scale))(0.1 * blob[None, ..., None], training=False))[0, ..., 0]
    places = np.arange(40 * scale)
    y, x = ((sr * places[axis]).sum() / sr.sum() for axis in (np.s_[:, None], np.s_[None]))
    assert y == pytest.approx((19.3 + 0.5) * scale - 0.5, abs=0.05)
    assert x == pytest.approx((18.6 + 0.5) * scale - 0.5, abs=0.05)


def test_no_pixel_beyond_the_receptive_radius_counts(name):
    model = shaken(tiny(name, 3))
    radius = receptive_radius(model)  # raises where a layer does not declare its receptive field
    if radius is None:
        pytest.skip("it sees the whole image")
    middle = radius + 4
    for axis in (1, 2):
        lr = np.swapaxes(image(9, 2 * radius + 9), 2, axis)
        other = lr.copy()
        np.swapaxes(other, 2, axis)[0, 4, middle] += 1.0
        moved = np.asarray(model(lr, training=False) != model(other, training=False))[0].any((2 - axis, 2))
        assert moved[3 * middle : 3 * middle + 3].any()
        assert not moved[: 3 * (middle - radius)].any() and not moved[3 * (middle + radius + 1) :].any()


@pytest.mark.parametrize(
    "layer,radius",
    [
        # By definition output o takes input i through tap o + pad - i * stride, where pad is (size - stride) // 2.
        (keras.layers.Conv2DTranspose(1, 3, padding="same"), 1),
        (keras.layers.Conv2DTranspose(1, 9, strides=3, padding="same"), 1),
        (keras.layers.Conv2DTranspose(1, 10, strides=2, padding="same"), 2),
        (keras.layers.Conv2DTranspose(1, 10, strides=4, padding="same"), 1),
        (keras.layers.Conv2DTranspose(1, 9, strides=2, padding="same"), 2),
        (keras.layers.Conv2DTranspose(1, 3), None),
        (keras.layers.UpSampling2D(2), 0),
        (keras.layers.UpSampling2D(2, interpolation="bilinear"), None),
        (keras.layers.PReLU(shared_axes=(1, 2)), 0),
        (layers.BicubicUpsampling(2), 2),
        (keras.layers.GlobalAveragePooling2D(keepdims=True), None),
        (keras.layers.Conv2D(1, 3, strides=2, padding="same"), None),
        (keras.layers.Conv2D(1, 3, strides=(1, 2), padding="same"), None),
        (keras.layers.SeparableConv2D(1, 3, strides=2, padding="same"), None),
        (keras.layers.DepthwiseConv2D(3, strides=2, padding="same"), None),
        (keras.layers.Conv2D(1, (3, 7), dilation_rate=(4, 1), padding="same"), 4),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_receptive_radius_of_a_layer(layer, radius):
    low_res = keras.Input((None, None, 1))
    assert receptive_radius(keras.Model(low_res, layer(low_res))) == radius


def test_tflite_file_computes_the_same_with_builtin_operations(name):
    model = shaken(tiny(name, 3))
    subgraph = convert.exported_subgraph(model, "float32")
    interpreter = runtime.interpreter_class()(model_content=convert.to_tflite(subgraph, "float32", None))
    lr = picture(20, 17, seed=1)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (1, *lr.shape))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], lr[None])
    interpreter.invoke()
    out = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    out = out + runtime.bicubic(lr, 3) if subgraph.skip == "bicubic" else out
    np.testing.assert_allclose(out, np.asarray(model(lr[None], training=False))[0], atol=1e-5)


def test_search_space_gives_arguments_of_build(name):
    keras_tuner = pytest.importorskip("keras_tuner")
    module, _ = models.module(name)
    with keras.StatelessScope(initialize_variables=False):
        models.create(name, 2, **module.search_space(keras_tuner.HyperParameters()))


def test_discriminator_has_four_convolutions_and_gives_their_features():
    model = discriminators.create("dcgan", 1)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [c.filters for c in convolutions] == [64, 128, 256, 512]
    *features, logits = model(image(32, 48))
    assert [f.shape for f in features] == [(1, 16, 24, 64), (1, 8, 12, 128), (1, 4, 6, 256), (1, 2, 3, 512)]
    assert logits.shape == (1, 1)


def test_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="Received: resnet19; did you mean resnet18?"):
        models.create("resnet19", 2)
    with pytest.raises(InputError, match="variant of cnn5 must be one of baseline"):
        models.create("cnn5/huge", 2)


@pytest.mark.parametrize("scale", [0, 5, 16])  # 1: networks of planes
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
