"""A .tflite file on images of any size and depth: equal to Keras, without seams, without bands."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import picture, tiny_network, write_tflite

from tfmisr import layers
from tfmisr.edge import images, litert, runtime
from tfmisr.edge.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def float32(folder, network):
    return write_tflite(folder / "float32.tflite", network)


@pytest.fixture(scope="module")
def int8(folder, network):
    return write_tflite(folder / "int8.tflite", network, "int8")


def by_keras(network, lr):
    return np.asarray(network(lr[None], training=False))[0]


@pytest.mark.parametrize("size", [(32, 32), (20, 20), (7, 90), (33, 31), (100, 71), (2, 2)])
def test_image_of_any_size_equals_keras(network, float32, size):
    lr = picture(*size)
    np.testing.assert_allclose(runtime.Model(float32)(lr), by_keras(network, lr), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_single_row_or_column_has_a_result(float32, size):
    assert runtime.Model(float32)(picture(*size)).shape == (2 * size[0], 2 * size[1], 1)


def test_color_equals_keras(tmp_path):
    network = tiny_network(channels=3, scale=3)
    path = write_tflite(tmp_path / "m.tflite", network)
    lr = picture(50, 40, 3)
    np.testing.assert_allclose(runtime.Model(path)(lr), by_keras(network, lr), atol=1e-5)


def test_file_for_any_size_equals_keras(tmp_path, network):
    path = write_tflite(tmp_path / "m.tflite", network, tile=None)
    lr = picture(50, 40)
    np.testing.assert_allclose(runtime.Model(path)(lr), by_keras(network, lr), atol=1e-5)
    np.testing.assert_allclose(runtime.Model(path, tile=24)(lr), by_keras(network, lr), atol=1e-5)


def test_float_tiles_leave_no_seam(float32):
    lr = picture(90, 75)
    tiled, whole = runtime.Model(float32)(lr), runtime.Model(float32, tile=128)(lr)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_integer_tiles_leave_no_seam(int8):
    lr = picture(90, 75)
    model = runtime.Model(int8)
    step = model._output["quantization"][0]
    np.testing.assert_allclose(model(lr), runtime.Model(int8, tile=128)(lr), atol=1.01 * step)


@pytest.fixture(scope="module")
def fitted(folder, network):
    """Files whose windows are chosen for each image, float32 and int8, of at most 40 x 40 pixels."""
    return {
        flavour: write_tflite(folder / f"fitted_{flavour}.tflite", network, flavour, tile=None, max_tile=40)
        for flavour in ("float32", "int8")
    }


@pytest.mark.parametrize("size", [(40, 40), (20, 80), (90, 75), (41, 133), (200, 9)])
def test_windows_chosen_for_an_image_leave_no_seam_and_allocate_once(network, fitted, size, monkeypatch):
    lr = picture(*size)
    for flavour, tolerance in (("float32", 1e-5), ("int8", 0.0)):
        shapes, resize = [], litert.resize_input
        with monkeypatch.context() as patch:
            patch.setattr(
                litert, "resize_input", lambda *args, to=shapes, own=resize: (to.append(args[2]), own(*args))[1]
            )
            sr = runtime.Model(fitted[flavour])(lr)
        assert len(set(shapes)) == 1 and np.prod(shapes[0]) <= 40 * 40
        assert (len(shapes) == 1) == (size[0] * size[1] <= 40 * 40)
        # The kernels of 8 bits count in whole numbers, so places of a window do not matter.
        np.testing.assert_allclose(sr, runtime.Model(fitted[flavour], tile=256)(lr), rtol=0, atol=tolerance)


def test_gate_is_the_same_in_windows_and_in_the_whole_image(fitted):
    y, x = np.mgrid[:120, :110]
    pixels = (20_000 + 40 * x + 25 * y + 9_000 * ((x // 37 + y // 29) % 2))[..., None].astype(np.uint16)
    whole = runtime.Model(fitted["int8"], tile=256).upscale(pixels, 65535).astype(int)
    windows = runtime.Model(fitted["int8"]).upscale(pixels, 65535)
    thresholds = runtime.Model(fitted["int8"]).card["gate"]
    assert (runtime.low_contrast_gate(pixels / np.float32(65535), *thresholds) == 0).mean() > 0.1
    assert np.abs(windows - whole).max() <= 1


def test_earlier_card_keeps_its_windows_unless_a_bound_is_given(tmp_path, network, float32):
    old = write_tflite(tmp_path / "m.tflite", network, tile=None, max_tile=None)  # any size, as cards had it
    assert (runtime.Model(old).tile, runtime.Model(old).max_tile) == (256, None)
    assert (runtime.Model(float32).tile, runtime.Model(float32).max_tile) == (32, None)
    model = runtime.Model(float32, max_tile=64)
    assert (model.tile, model.max_tile) == (None, 64)
    assert len(list(model.grid(60, 68))) == 1 < len(list(runtime.Model(float32).grid(60, 68)))


def test_threads_do_not_change_the_result(float32):
    lr = picture(60, 60)
    np.testing.assert_allclose(runtime.Model(float32, threads=2)(lr), runtime.Model(float32)(lr), atol=1e-6)


@pytest.mark.parametrize("dtype,max_val", [(np.uint8, 255), (np.uint16, 4095), (np.uint16, 65535)])
def test_pixels_keep_their_depth(network, float32, dtype, max_val):
    pixels = np.rint(picture(40, 50) * max_val).astype(dtype)
    out = runtime.Model(float32).upscale(pixels, max_val)
    expected = np.clip(by_keras(network, pixels.astype(np.float32) / np.float32(max_val)), 0, 1) * max_val
    assert out.dtype == dtype
    assert np.abs(out - expected).max() <= 0.5 + 1e-5 * max_val


def test_output_can_lie_in_a_file(tmp_path, float32):
    pixels = np.rint(picture(40, 50) * 65535).astype(np.uint16)
    model = runtime.Model(float32)
    out = np.memmap(tmp_path / "out.bin", np.uint16, "w+", shape=(80, 100, 1))
    assert model.upscale(pixels, 65535, out) is out
    np.testing.assert_array_equal(out, model.upscale(pixels, 65535))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(2, 2), (9, 14)])
def test_interpolation_equals_the_layers_at_the_border_too(scale, size):
    lr = picture(*size)
    expected = layers.BicubicUpsampling(scale)(lr[None])[0]
    np.testing.assert_allclose(runtime.bicubic(lr, scale), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_shuffle_equals_tensorflows(channels):
    x = np.random.default_rng(0).random((3, 5, 9 * channels), np.float32)
    np.testing.assert_array_equal(runtime.depth_to_space(x, 3), tf.nn.depth_to_space(x[None], 3)[0])


def test_gate_is_closed_on_a_ramp_and_at_its_border():
    y, x = np.mgrid[:20, :30].astype(np.float32)
    assert not runtime.low_contrast_gate((0.01 * x + 0.02 * y)[..., None], 1e-6, 1e-3).any()


def test_gate_opens_around_an_edge_and_nowhere_else():
    lr = np.zeros((21, 30, 1), np.float32)
    lr[:, 15:] = 0.5
    columns = runtime.low_contrast_gate(lr, 0.1, 0.2)[10, :, 0]
    # The bend is in the columns 14 and 15; three columns each way, less one for the interpolation to close in.
    assert np.flatnonzero(columns).tolist() == [12, 13, 14, 15, 16, 17]
    assert columns.max() == 1.0


def test_int8_makes_no_bands_on_a_16_bit_ramp(int8):
    ramp = np.linspace(20_000, 24_000, 100)
    pixels = np.rint(ramp).astype(np.uint16)[None, :, None].repeat(60, 0)
    sr = runtime.Model(int8).upscale(pixels, 65535)[..., 0].astype(float)
    step = (ramp[1] - ramp[0]) / 2
    inner = sr[:, 8:-8]  # the interpolation mirrors the image at its border
    assert np.abs(np.diff(inner, axis=1) - step).max() < 65535 / 4096
    assert np.abs(np.diff(inner, axis=0)).max() < 65535 / 4096
    assert len(np.unique(inner)) > 150


def test_without_the_gate_the_same_ramp_has_bands(int8):
    ramp = np.linspace(20_000, 24_000, 100)
    pixels = np.rint(ramp).astype(np.uint16)[None, :, None].repeat(60, 0)
    model = runtime.Model(int8)
    model.card["gating_thresholds"] = None
    step = (ramp[1] - ramp[0]) / 2
    sr = model.upscale(pixels, 65535)[20:-20, 20:-20, 0].astype(float)
    assert np.abs(np.diff(sr, axis=1) - step).max() > 65535 / 4096


def test_int8_makes_no_bands_where_a_ct_slice_is_smooth(int8, shared_data):
    slices = sorted((shared_data / "ct").glob("*.dcm"))
    image = images.read_images(slices[0])[0]
    lr = image.pixels.astype(np.float32) / image.max_val
    model = runtime.Model(int8)
    sr, smooth = model(lr)[..., 0], smooth_places(lr[..., 0], 1 / 255)
    assert smooth.mean() > 0.05
    excess = np.diff(sr, axis=1) - np.diff(runtime.bicubic(lr, 2)[..., 0], axis=1)
    inside = smooth.repeat(2, 0).repeat(2, 1)
    inside = inside[:, 1:] & inside[:, :-1]
    assert np.abs(excess[inside]).max() < 1 / 4096
    assert np.abs(excess).max() > 1 / 4096  # elsewhere the network does its work


def smooth_places(image, most):
    """Returns where no pixel within four bends by more than `most`, by SciPy."""
    from scipy import ndimage

    bend = np.maximum(*(np.abs(ndimage.convolve1d(image, [1, -2, 1], axis)) for axis in (0, 1)))
    return ndimage.maximum_filter(bend, 9) < most


@pytest.mark.parametrize(
    "step,zero,coarse,fine,expected",
    [
        (2 / 255, -1, 3, 40, (40 + 1) * 2 / 255 / 16),  # the finer half, as far as it goes
        (2 / 255, -1, 3, -100, (-100 + 1) * 2 / 255 / 16),
        (2 / 255, -1, 9, 127, (9 + 1) * 2 / 255),  # cut at 1, which lies between 126 and 127
        (2 / 255, -1, 9, 126, (9 + 1) * 2 / 255),
        (2 / 255, -1, -90, -128, (-90 + 1) * 2 / 255),
        (0.002, 5, 90, 127, (90 - 5) * 0.002),  # calibration has not seen as much as 1: where the integers end
        (0.002, 5, 90, 100, (100 - 5) * 0.002 / 16),
    ],
)
def test_value_is_read_from_the_finer_half_unless_that_is_saturated(
    int8, monkeypatch, step, zero, coarse, fine, expected
):
    model = runtime.Model(int8)
    monkeypatch.setattr(model, "_output", {"dtype": np.int8, "quantization": (step, zero)})
    assert model.card["magnified"] == 16
    np.testing.assert_allclose(model._values(np.array([[[coarse, fine]]], np.int8)), expected, rtol=1e-5)


def test_int8_is_as_exact_where_the_network_adds_much(tmp_path):
    network = tiny_network("plain", num_layers=2)
    output = network.get_layer("output_conv")
    output.set_weights([20 * weight for weight in output.get_weights()])
    lr = picture(32, 32)
    added = by_keras(network, lr) - runtime.bicubic(lr, 2)
    large = np.abs(added) > 1.5 / 16
    assert large.sum() > 30
    error = runtime.Model(write_tflite(tmp_path / "m.tflite", network, "int8")).residual(lr) - added
    assert np.abs(error[large]).max() < 0.03


def test_int16x8_is_nearer_to_keras_than_int8(tmp_path, network, int8):
    lr = picture(64, 64)
    wide = write_tflite(tmp_path / "m.tflite", network, "int16x8")
    errors = [np.abs(runtime.Model(path)(lr) - by_keras(network, lr)).mean() for path in (wide, int8)]
    steps = [runtime.Model(path)._output["quantization"][0] for path in (wide, int8)]
    assert runtime.Model(wide).card["shuffle"] == 2
    assert errors[0] < errors[1]  # what is left is the rounding of the weights, which both share
    assert steps[0] < steps[1] / 100


def test_card_that_promises_another_scale_is_refused(tmp_path, float32):
    from tfmisr.edge import card

    found = card.read(float32)
    content = float32.read_bytes()
    inner = content[: content.rfind(b"{\n") - 4]
    text = content[content.rfind(b"{\n") :].replace(b'"scale": 2', b'"scale": 4')
    (tmp_path / "m.tflite").write_bytes(inner + len(text).to_bytes(4, "little") + text)
    assert found["scale"] == 2
    with pytest.raises(InputError, match="by its card"):
        runtime.Model(tmp_path / "m.tflite")(picture(32, 32))


@pytest.mark.parametrize("shape", [(10, 10, 3), (10, 10), (0, 10, 1)])
def test_image_of_another_kind_is_refused(float32, shape):
    with pytest.raises(InputError, match=r"takes images \(height, width, 1\)"):
        runtime.Model(float32)(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"threads": 0}, "threads must be"),
        ({"tile": 12}, "tile must be above 12, twice the overlap"),
        ({"max_tile": 12}, "max_tile must be above 12, twice the overlap"),
        ({"tile": 64, "max_tile": 64}, "expected tile or max_tile, not both"),
    ],
)
def test_mistakes_are_told(float32, arguments, message):
    with pytest.raises(InputError, match=message):
        runtime.Model(float32, **arguments)


def test_missing_litert_is_told_with_the_line_to_run(float32, monkeypatch):
    for name in ("ai_edge_litert.interpreter", "tflite_runtime", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="pip install ai-edge-litert"):
        runtime.Model(float32)


def test_nothing_of_tensorflow_is_imported(float32):
    code = (
        "import sys, numpy as np; from tfmisr.edge import runtime; "
        "runtime.Model(sys.argv[1]).upscale(np.zeros((40, 40, 1), np.uint8), 255); "
        "sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras', 'scipy')))"
    )
    done = subprocess.run([sys.executable, "-c", code, float32], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.large
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from Linux's /proc")
def test_memory_follows_the_tile_and_not_the_image(tmp_path, float32):
    code = """if True:
        import pathlib, sys, numpy as np
        from tfmisr.edge import runtime
        def kib(name):
            lines = pathlib.Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith(name))
        model = runtime.Model(sys.argv[1])
        model.window(np.zeros((32, 32, 1), np.float32))
        pixels = np.zeros((1000, 1000, 1), np.uint16)
        out = np.zeros((2000, 2000, 1), np.uint16)
        before = kib("VmRSS")
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        model.upscale(pixels, 65535, out)
        print((kib("VmHWM") - before) / 1024)
    """
    done = subprocess.run([sys.executable, "-c", code, float32], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 12  # the two images have 10 MiB, one window a few hundred KiB
