"""Losses against NumPy, SciPy, scikit-image, TensorFlow and hand calculation; expressions of weighted sums."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from test_fit import folder_of

from tfmisr import fit, losses, models
from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError
from tfmisr.losses import expression
from tfmisr.models.discriminators import dcgan
from tfmisr.training import loop

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLAIN = [name for name in losses.names() if name != "perceptual"]


def noisy_pair(shape=(2, 48, 57, 1), seed=0):
    """Returns images of waves, and copies of them that are darker and noisy, float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    waves = 0.5 + 0.3 * np.sin(x / 5) * np.cos(y / 7) + 0.1 * np.sign(np.sin((x + y) / 6))
    y_true = np.broadcast_to(waves[None, :, :, None], shape) + rng.normal(0, 0.02, shape)
    y_pred = 0.9 * y_true + rng.normal(0, 0.05, shape)
    return tuple(np.clip(image, 0, 1).astype(np.float32) for image in (y_true, y_pred))


@pytest.fixture
def network(tmp_path):
    """A file of a network that can be calculated by hand: 2 x, and 2 x or 0 where that is not above 1."""
    layers = [keras.layers.Conv2D(1, 1, use_bias=False, name="doubled"), keras.layers.ReLU(threshold=1.0, name="cut")]
    found = keras.Sequential([keras.Input((None, None, 1)), *layers])
    found.set_weights([np.full((1, 1, 1, 1), 2.0)])
    found.save(tmp_path / "features (2).keras")
    return tmp_path / "features (2).keras"


@pytest.fixture
def small_networks(monkeypatch):
    for name in ("cnn5", "resnet6"):
        module, arguments = models.module(name)
        monkeypatch.setitem(module.VARIANTS, "baseline", {**arguments, "num_filters": 4})
    monkeypatch.setattr(dcgan.build, "__defaults__", (1, 4))


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory):
    """VGG19's convolutions with random weights, and their file."""
    keras.utils.set_random_seed(0)
    found = keras.applications.VGG19(weights=None, include_top=False, input_shape=(None, None, 3))
    path = tmp_path_factory.mktemp("vgg19") / "vgg19.weights.h5"
    found.save_weights(path)
    return found, path


def test_mean_square_and_absolute_by_hand():
    pair = np.zeros((2, 3, 3, 1)), np.full((2, 3, 3, 1), 0.5)
    assert float(losses.get("mse")(*pair)) == pytest.approx(0.25)
    assert float(losses.get("mae")(*pair)) == pytest.approx(0.5)
    assert float(losses.get("charbonnier(epsilon=1.2)")(*pair)) == pytest.approx(1.3)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_agrees_with_scikit_image(channels):
    y_true, y_pred = noisy_pair((2, 48, 57, channels))
    expected = [
        1 - structural_similarity(a, b, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5,
                                  use_sample_covariance=False)
        for a, b in zip(y_true.astype(float), y_pred.astype(float), strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(losses.get("ssim", "none")(y_true, y_pred), expected, atol=2e-6)


@pytest.mark.parametrize(
    "scales,shape", [(1, (2, 12, 11, 1)), (2, (2, 48, 57, 1)), (3, (2, 41, 57, 3)), (5, (1, 163, 161, 1))]
)
def test_ms_ssim_agrees_with_tensorflow(scales, shape):
    y_true, y_pred = noisy_pair(shape)
    powers = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:scales])
    expected = 1 - tf.image.ssim_multiscale(y_true, y_pred, 1.0, power_factors=powers / powers.sum())
    found = losses.get(f"ms_ssim(scales={scales})", "none")(y_true, y_pred)
    # TensorFlow's moments about 0 are good to 1e-5 in float32.
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_ms_ssim_of_unrelated_images_is_bounded_and_still_has_a_slope():
    y_true, _ = noisy_pair()
    loss, gradient = slope("ms_ssim", y_true, 1 - y_true)
    assert 0.9 < loss < 1 and np.isfinite(gradient).all()


def test_psnr_is_that_of_scikit_image_of_each_image():
    """60 dB minus the PSNR, where the error is far above epsilon; a mean of PSNRs, not the PSNR of a mean error."""
    y_true, y_pred = noisy_pair()
    y_pred[1] = y_true[1] + 10 * (y_pred[1] - y_true[1])
    expected = [60 - peak_signal_noise_ratio(*pair, data_range=1) for pair in zip(y_true, y_pred, strict=True)]
    assert expected[1] - expected[0] > 15
    assert float(losses.get("psnr")(y_true, y_pred)) == pytest.approx(np.mean(expected), abs=1e-2)
    assert float(losses.get("psnr(epsilon=1e-4)")(y_true, y_true + 0.01)) == pytest.approx(10 * np.log10(2), rel=1e-4)


def test_gradient_agrees_with_scipy():
    y_true, y_pred = noisy_pair((1, 20, 23, 1))
    difference = (y_pred - y_true)[0, ..., 0].astype(float)
    sobel = [np.abs(ndimage.sobel(difference, axis) / 8)[1:-1, 1:-1].mean() for axis in (0, 1)]
    steps = [np.abs(np.diff(difference, axis=axis)).mean() for axis in (0, 1)]
    assert float(losses.get("gradient")(y_true, y_pred)) == pytest.approx(np.mean(sobel), rel=1e-5)
    assert float(losses.get("gradient(kind=difference)")(y_true, y_pred)) == pytest.approx(np.mean(steps), rel=1e-5)


def test_gradient_keeps_images_and_channels_apart():
    y_true, y_pred = noisy_pair((3, 16, 14, 3))
    found = losses.get("gradient", "none")(y_true, y_pred)
    alone = [losses.get("gradient", "none")(a[None], b[None])[0] for a, b in zip(y_true, y_pred, strict=True)]
    np.testing.assert_allclose(found, alone, rtol=1e-5)
    gray = [losses.get("gradient")(y_true[..., [c]], y_pred[..., [c]]) for c in range(3)]
    assert float(np.mean(found)) == pytest.approx(float(np.mean(gray)), rel=1e-5)


def test_total_variation_by_hand():
    # 2 x 3 pixels: vertical steps 1, 1, 1; horizontal steps 2, 3 in both rows
    image = np.array([[0.0, 2.0, 5.0], [1.0, 3.0, 6.0]])[None, ..., None]
    assert float(losses.get("total_variation")(np.zeros_like(image), image)) == pytest.approx(1 + 2.5)


@pytest.mark.parametrize("kind", ["complex", "amplitude", "focal(alpha=1.5)"])
def test_frequency_agrees_with_numpy(kind):
    y_true, y_pred = noisy_pair((2, 21, 18, 3))
    one, other = (np.fft.fft2(image.astype(float), axes=(1, 2), norm="ortho") for image in (y_true, y_pred))
    difference = np.abs(other - one)
    weight = (difference / difference.max(axis=(1, 2), keepdims=True)) ** 1.5
    expected = {
        "complex": np.abs((other - one).real) + np.abs((other - one).imag),
        "amplitude": np.abs(np.abs(other) - np.abs(one)),
        "focal": weight * difference**2,
    }[kind.partition("(")[0]].mean(axis=(1, 2, 3))
    options = "kind=focal, alpha=1.5" if "focal" in kind else f"kind={kind}"
    np.testing.assert_allclose(losses.get(f"frequency({options})", "none")(y_true, y_pred), expected, rtol=2e-5)


def test_weights_of_the_focal_loss_are_constants_of_the_step():
    # With the weights held, the slope of the mean of w |F d|**2 is 2 F^-1(w F d) / n.
    y_true, y_pred = noisy_pair((1, 12, 10, 1))
    _, gradient = slope("frequency(kind=focal)", y_true, y_pred)
    transform = np.fft.fft2((y_pred - y_true)[0, ..., 0].astype(float), norm="ortho")
    weights = np.abs(transform) / np.abs(transform).max()
    expected = 2 * np.fft.ifft2(weights * transform, norm="ortho").real / transform.size
    np.testing.assert_allclose(gradient[0, ..., 0], expected, rtol=1e-3, atol=1e-7)


def test_perceptual_loss_on_a_network_by_hand(network):
    one, other = np.full((1, 4, 4, 1), 0.25), np.full((1, 4, 4, 1), 0.75)
    # doubled: 0.5 and 1.5; cut at 1: 0 and 1.5
    for layers, l1, l2 in (("doubled", 1.0, 1.0), ("cut", 1.5, 2.25), ("doubled+cut", 1.25, 1.625)):
        for distance, expected in (("l1", l1), ("l2", l2)):
            text = f'perceptual(network="{network}", layers={layers}, distance={distance})'
            assert float(losses.get(text)(one, other)) == pytest.approx(expected)
    assert float(losses.get(f'perceptual(network="{network}")')(one, other)) == pytest.approx(1.5)
    # -1 to 1: doubled -1 and 1; 0 to 255: 127.5 and 382.5
    for value_range, expected in (("signed", 2.0), ("bytes", 255.0)):
        text = f'perceptual(network="{network}", layers=doubled, value_range={value_range})'
        assert float(losses.get(text)(one, other)) == pytest.approx(expected)


def test_perceptual_network_of_one_size_is_applied_to_others(tmp_path):
    sized = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3, name="a"),
                              keras.layers.Flatten(), keras.layers.Dense(1)])  # fmt: skip
    sized.save(tmp_path / "sized.keras")
    y_true, y_pred = (image.repeat(3, -1) for image in noisy_pair((1, 16, 20, 1)))
    convolution = sized.layers[0]
    expected = np.abs(convolution(y_true).numpy() - convolution(y_pred).numpy()).mean()
    found = losses.get(f"perceptual(network={tmp_path}/sized.keras, layers=a)")(y_true[..., :1], y_pred[..., :1])
    assert float(found) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match="takes only images of 32x32; choose layers before"):
        losses.get(f"perceptual(network={tmp_path}/sized.keras)")


def test_perceptual_loss_has_the_features_of_keras_applications(vgg19):
    whole, path = vgg19
    y_true, y_pred = noisy_pair((1, 40, 40, 3))
    y_true = y_true * np.float32([1.0, 0.5, 0.2])  # color: the order of the channels counts
    outputs = [whole.get_layer("block2_conv2").output, whole.get_layer("block5_conv4").output]
    reference = keras.Model(whole.inputs[0], outputs)
    rgb = [keras.applications.vgg19.preprocess_input(255 * image) for image in (y_true, y_pred)]
    pairs = zip(*(reference(image) for image in rgb), strict=True)
    squares = [np.mean((np.asarray(a) - np.asarray(b)) ** 2) for a, b in pairs]
    for layers, expected in (("conv2_2", squares[0]), ("conv2_2+conv5_4", np.mean(squares))):
        text = f"perceptual(layers={layers}, activation=after, distance=l2, weights={path})"
        assert float(losses.get(text)(y_true, y_pred)) == pytest.approx(expected, rel=1e-4)


def test_features_before_the_activation_are_not_cut_but_those_beyond_are(vgg19):
    _whole, path = vgg19
    y_true, _ = noisy_pair((1, 32, 32, 1))
    before = losses.get(f"perceptual(layers=conv1_1+conv1_2, weights={path})")._features(y_true)
    after = losses.get(f"perceptual(layers=conv1_1+conv1_2, activation=after, weights={path})")._features(y_true)
    for one, other in zip(before, after, strict=True):
        assert np.min(one) < 0
        np.testing.assert_allclose(np.maximum(one, 0), other, rtol=1e-5, atol=1e-3)


def test_failed_download_of_weights_is_one_line(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise Exception("URL fetch failure on https://...: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.applications, "VGG19", refuse)
    with pytest.raises(InputError, match="weights could not be downloaded .*use perceptual"):
        losses.get("perceptual")


def test_file_of_other_weights_is_refused(tmp_path):
    (tmp_path / "no.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="no.h5 does not hold the weights of VGG19"):
        losses.get(f"perceptual(weights={tmp_path}/no.h5)")


def test_unknown_layer_of_a_network_is_answered_with_the_nearest(network):
    with pytest.raises(InputError, match="did you mean doubled"):
        losses.get(f'perceptual(network="{network}", layers=double)')
    with pytest.raises(InputError, match="found none at"):
        losses.get("perceptual(network=nowhere.keras)")


def test_file_with_code_is_not_loaded_as_features(tmp_path):
    from_code = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Lambda(lambda x: x + 1)])
    from_code.save(tmp_path / "code.keras")
    with pytest.raises(InputError, match="not a network that Keras can load safely"):
        losses.get(f"perceptual(network={tmp_path}/code.keras)")


def slope(expression, y_true, y_pred):
    """Returns a loss and its gradient."""
    loss, y_pred = losses.get(expression), tf.convert_to_tensor(y_pred, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    return float(value), tape.gradient(value, y_pred).numpy()


def extremes():
    texture, other = noisy_pair((1, 48, 48, 1))
    board = (np.indices((48, 48)).sum(0) % 2)[None, ..., None].astype(np.float32)
    black = np.zeros_like(board)
    return {
        "equal": (texture, texture),
        "flat": (black + 0.5, black + 0.5),
        "black and white": (black, black + 1),
        "black and black": (black, black),
        "opposite boards": (board, 1 - board),
        "far outside": (texture, 3000 * other - 1000),
        "flat reference": (black + 0.25, other),
    }


@pytest.mark.parametrize("name", ["frequency(kind=amplitude)", "frequency(kind=focal)", *PLAIN])
@pytest.mark.parametrize("case", extremes())
def test_loss_and_slope_are_finite_on_extreme_images(name, case):
    value, gradient = slope(name, *extremes()[case])
    assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", [n for n in PLAIN if n not in ("charbonnier", "total_variation")])
def test_loss_of_identical_images_is_zero(name):
    y_true, _ = noisy_pair()
    assert float(losses.get(name)(y_true, y_true)) == pytest.approx(0, abs=1e-6)


MIX = "charbonnier + 0.1*ms_ssim(scales=2) + 2e-1 * gradient + .5*frequency(kind=focal, alpha=2) + 1e-4*total_variation"


def test_sum_is_the_weighted_sum_of_the_means():
    y_true, y_pred = noisy_pair((3, 48, 40, 3))
    parts = ("charbonnier", "ms_ssim(scales=2)", "gradient", "frequency(kind=focal, alpha=2)", "total_variation")
    expected = np.dot([1, 0.1, 0.2, 0.5, 1e-4], [float(losses.get(part)(y_true, y_pred)) for part in parts])
    assert float(losses.get(MIX)(y_true, y_pred)) == pytest.approx(expected, rel=1e-5)
    assert np.shape(losses.get(MIX, "none")(y_true, y_pred)) == (3,)


@pytest.mark.parametrize("expression", [*PLAIN, MIX, "0.5*mae"])
def test_mean_without_reduction_is_the_reduced_loss(expression):
    y_true, y_pred = noisy_pair((3, 44, 48, 1))
    values = np.asarray(losses.get(expression, "none")(y_true, y_pred))
    assert values.shape[0] == 3
    assert values.mean() == pytest.approx(float(losses.get(expression)(y_true, y_pred)), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("expression", [*PLAIN, MIX])
def test_half_precision_is_left_before_anything_is_computed(expression, dtype):
    y_true, y_pred = noisy_pair()
    half = tf.cast(y_pred, dtype)
    found = losses.get(expression)(y_true, half)
    assert found.dtype == tf.float32
    assert float(found) == pytest.approx(float(losses.get(expression)(y_true, tf.cast(half, "float32"))), rel=1e-5)


@pytest.mark.parametrize("expression", [*PLAIN, MIX])
def test_loss_survives_serialization(expression):
    loss, pair = losses.get(expression), noisy_pair()
    again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert float(again(*pair)) == float(loss(*pair))


def test_loss_serialized_by_the_previous_release_is_loaded():
    config = {"name": "charbonnier", "reduction": "none", "epsilon": 0.25}
    said = {"module": "tfmisr.losses", "class_name": "Charbonnier", "config": config}
    assert keras.losses.deserialize({**said, "registered_name": "tfmisr>Charbonnier"}).epsilon == 0.25


@pytest.mark.parametrize("expression", [*PLAIN, MIX, "frequency(kind=amplitude)"])
def test_loss_compiles_with_xla(expression):
    pair, loss = noisy_pair(), losses.get(expression)
    compiled = tf.function(loss, jit_compile=True)
    assert float(compiled(*map(tf.constant, pair))) == pytest.approx(float(loss(*pair)), rel=1e-4)


def test_perceptual_loss_survives_serialization(network):
    loss, pair = losses.get(f'0.5*perceptual(network="{network}", layers=cut)'), noisy_pair()
    again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert float(again(*pair)) == float(loss(*pair))


@pytest.mark.parametrize(
    "text,expected",
    [
        ("mae", [(1.0, "mae", {})]),
        (" 0.5 *mse+2e-3* mae ", [(0.5, "mse", {}), (2e-3, "mae", {})]),
        ("ms_ssim", [(1.0, "ms_ssim", {"scales": 3})]),
        ("ms_ssim( scales = 5 )", [(1.0, "ms_ssim", {"scales": 5})]),
        ("charbonnier(epsilon=.01)", [(1.0, "charbonnier", {"epsilon": 0.01})]),
        (
            'perceptual(network="a (1), b.keras", layers=c3 + c5)',
            [
                (
                    1.0,
                    "perceptual",
                    {"network": "a (1), b.keras", "layers": "c3 + c5", "value_range": "unit", "distance": "l1"},
                )
            ],
        ),
    ],
)
def test_expression_is_read(text, expected):
    assert [(t.weight, t.name, t.options) for t in expression.parse(text)] == expected


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "sum of losses"),
        ("mae +", "cannot be read from ''"),
        ("mae mse", "cannot be read from 'mae mse'"),
        ("mae - mse", "cannot be read"),
        ("-1*mae", "cannot be read"),
        ("mae*0.5", "cannot be read"),
        ("__import__('os')", "loss must be one of"),
        ("ms_sim", "did you mean ms_ssim?"),
        ("0*mae", "weight of a loss must be above 0. Received: 0*mae"),
        ("1e999*mae", "weight of a loss must be above 0"),
        ("mae(epsilon=1)", "loss mae has no options. Received: epsilon=1"),
        ("charbonnier(epsilom=1)", "did you mean epsilon?"),
        ("charbonnier(epsilon=nan)", "epsilon of loss charbonnier must be a number above 0. Received: 'nan'"),
        ("charbonnier(epsilon)", "as name=value, each once. Received: 'epsilon'"),
        ("charbonnier(epsilon=1, epsilon=2)", "each once"),
        ("ms_ssim(scales=6)", "scales of loss ms_ssim must be a whole number from 1 to 5. Received: '6'"),
        ("frequency(kind=phase)", "must be one of complex, amplitude, focal. Received: 'phase'"),
        ("perceptual(network=a.keras, weights=b.h5)", "option of loss perceptual must be one of network, layers"),
        ("perceptual(value_range=signed)", "option of loss perceptual must be one of layers"),
        ("perceptual(network=)", "network of loss perceptual must be not empty"),
        ("mae" + "+mae" * 1000, "at most 1000 letters"),
    ],
)
def test_mistake_in_an_expression_is_one_line(text, message):
    with pytest.raises(InputError) as error:
        expression.parse(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_patch_too_small_for_a_loss_is_refused_before_training():
    Config(loss="mae + ms_ssim", scale=2, patch_size=24)
    with pytest.raises(InputError, match="ms_ssim needs patches of at least 161 .* Received: 96; .* fewer scales"):
        Config(loss="mae + ms_ssim(scales=5)", scale=4, patch_size=24)
    with pytest.raises(InputError, match="ssim needs patches of at least 11"):
        Config(loss="ssim", scale=2, patch_size=5)


@pytest.mark.parametrize("name", PLAIN)
def test_smallest_patch_of_each_loss_gives_a_number(name):
    side = expression.smallest_side(expression.parse(name)[0])
    assert np.isfinite(float(losses.get(name)(*noisy_pair((1, side, side, 1)))))


def test_smallest_patch_of_vgg19_gives_a_number(vgg19):
    text = f"perceptual(weights={vgg19[1]})"
    side = expression.smallest_side(expression.parse(text)[0])
    assert np.isfinite(float(losses.get(text)(*noisy_pair((1, side, side, 1)))))


def test_expression_is_checked_without_tensorflow():
    script = (
        "import sys\nfrom tfmisr.config import Config\nfrom tfmisr.edge.errors import InputError\n"
        "try: Config(loss='mae + ms_sim')\nexcept InputError as error: print(error)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "did you mean ms_ssim?" in done.stdout


RUN = {"model": "cnn5", "scale": 2, "patch_size": 16, "batch_size": 4, "steps": 4, "save_every": 2, "validate_every": 4}


def all_of(network):
    """Returns a sum of all losses."""
    return f'mse + 0.1*mae + 0.1*ssim + 0.1*frequency + 0.01*perceptual(network="{network}") + {MIX}'


def trained(source, folder, loss, **fields):
    path = loop.train(Config(**{**RUN, **fields, "loss": loss, "workdir": str(folder)}), source)
    return models.load(path).get_weights()


GAN = {"discriminator": "dcgan", "model": "resnet6"}


@pytest.mark.large
@pytest.mark.parametrize(
    "fields",
    [{}, {"mixed_precision": "mixed_float16"}, {**GAN, "mixed_precision": "mixed_float16"}],
    ids=["cnn", "cnn-float16", "gan-float16"],
)
def test_run_with_a_mix_is_repeated_bit_for_bit(tiny_source, tmp_path, small_networks, network, fields):
    found = [trained(tiny_source, tmp_path / name, all_of(network), **fields) for name in ("a", "b")]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(np.isfinite(weight).all() for weight in found[0])


def test_command_trains_with_a_mix_in_deterministic_mode(tmp_path, small_networks, network):
    mix = all_of(network)
    flags = "--scale 2 --patch_size 12 --batch_size 4 --steps 2 --save_every 2 --validate_every 2".split()
    folders = ["--dataset", folder_of(tmp_path / "scans"), "--data_dir", tmp_path / "data"]
    assert fit.main([*map(str, folders), *flags, "--loss", mix, "--workdir", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["loss"] == mix
    assert all(np.isfinite(weight).all() for weight in models.load(tmp_path / "run").get_weights())


@pytest.mark.large
def test_two_devices_give_the_weights_of_one_with_a_mix(tmp_path):
    from test_training import MIRRORED, weights

    found = []
    for devices, distribute in ((1, "none"), (2, "mirrored")):
        fields = {**RUN, "loss": MIX, "optimizer": "sgd", "learning_rate": 0.1, "distribute": distribute}
        arguments = [str(devices), str(tmp_path / str(devices)), json.dumps(fields)]
        script = MIRRORED.format(tests=str(ROOT / "tests"))
        subprocess.run([sys.executable, "-c", script, *arguments], check=True, cwd=ROOT)
        found.append(weights(tmp_path / str(devices) / "run"))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
