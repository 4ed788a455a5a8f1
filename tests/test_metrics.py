import numpy as np
import pytest
from measured import waves
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tfmisr import metrics

GRAY, ODD, RGB = (176, 208, 1, 0), (177, 163, 1, 1), (192, 176, 3, 2)
CASES = pytest.mark.parametrize("case", [GRAY, ODD, RGB], ids=["gray", "odd", "rgb"])
# Those of full images of any range, without a network or a half-width (test_metrics_half_width.py).
PLAIN = [m.name for m in metrics.rows() if not (m.per_set or m.weights or m.half_width) and "window" not in m.column]
NAMES = pytest.mark.parametrize("name", PLAIN)


def test_psnr_of_a_constant_offset():
    # mse = 16, so 20 log10(255 / 4)
    y_true = np.full((8, 9), 100, np.uint8)
    assert metrics.psnr(y_true, y_true + 4, 255) == pytest.approx(36.08960, abs=1e-5)


def test_psnr_is_taken_over_all_channels_at_once():
    # One channel of three is off by 3: mse = 3, 20 log10(255) - 10 log10(3)
    y_true = np.zeros((4, 4, 3))
    assert metrics.psnr(y_true, y_true + [0, 3, 0], 255) == pytest.approx(43.35959, abs=1e-5)


def test_psnr_does_not_wrap_in_unsigned_integers():
    low, high = np.full((5, 5), 10, np.uint16), np.full((5, 5), 4010, np.uint16)
    assert metrics.psnr(low, high, 4000) == pytest.approx(0.0, abs=1e-12)


def test_psnr_of_identical_images_is_infinite():
    image, _ = waves(*GRAY)
    assert metrics.psnr(image, image, 255) == float("inf")


@pytest.mark.parametrize("name", ["ssim", "ms_ssim", "haarpsi", "haarpsi_med", "vif", "sharpness"])
@CASES
def test_identical_images_score_one(name, case):
    image, _ = waves(*case)
    # VIF's published code adds 1e-10 to its denominators, and so leaves one by as much as 1e-8.
    assert metrics.get(name)(image, image, 255) == pytest.approx(1.0, abs=1e-8 if name == "vif" else 1e-12)


@CASES
def test_psnr_agrees_with_scikit_image(case):
    y_true, y_pred = waves(*case)
    expected = peak_signal_noise_ratio(y_true, y_pred, data_range=255)
    assert metrics.psnr(y_true, y_pred, 255) == pytest.approx(expected, rel=1e-12)


@CASES
def test_ssim_agrees_with_scikit_image(case):
    y_true, y_pred = waves(*case)
    expected = structural_similarity(
        y_true, y_pred, data_range=255, channel_axis=-1,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert metrics.ssim(y_true, y_pred, 255) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_two_flat_images_is_their_luminance_term():
    # (2 * 100 * 150 + c1) / (100^2 + 150^2 + c1) with c1 = (0.01 * 255)^2 = 6.5025
    flat = np.full((11, 11), 100.0)
    assert metrics.ssim(flat, flat + 50, 255) == pytest.approx(30006.5025 / 32506.5025, abs=1e-12)


# piq 0.8.0 on torch 2.13.0, float64: piq.multi_scale_ssim(data_range=255). Not for odd sides:
# piq doubles the first row there, Wang's code and TensorFlow the last.
@pytest.mark.parametrize("case, expected", [(GRAY, 0.9591661177094416), (RGB, 0.958619316718953)])
def test_ms_ssim_agrees_with_piq(case, expected):
    assert metrics.ms_ssim(*waves(*case), 255) == pytest.approx(expected, abs=1e-12)


@CASES
def test_ms_ssim_agrees_with_tensorflow(case):
    tf = pytest.importorskip("tensorflow")
    pair = waves(*case)
    expected = tf.image.ssim_multiscale(*(image.astype(np.float32) for image in pair), 255)
    # TensorFlow computes in float32.
    assert metrics.ms_ssim(*pair, 255) == pytest.approx(float(expected), abs=2e-6)


# piq 0.8.0 on torch 2.13.0, float64: piq.haarpsi(data_range=255), for medical c=5, alpha=4.9; for
# RGB with the authors' three-digit YIQ matrix in place of piq's.
@pytest.mark.parametrize(
    "case, photographs, medical",
    [
        (GRAY, 0.7766897198094881, 0.6805883405424645),
        (ODD, 0.7649205673606073, 0.6715928632908391),
        (RGB, 0.8547762215636635, 0.7636401271034625),
    ],
    ids=["gray", "odd", "rgb"],
)
def test_haarpsi_agrees_with_piq(case, photographs, medical):
    pair = waves(*case)
    assert metrics.haarpsi(*pair, 255) == pytest.approx(photographs, abs=1e-12)
    assert metrics.haarpsi(*pair, 255, medical=True) == pytest.approx(medical, abs=1e-12)
    assert metrics.get("haarpsi_med")(*pair, 255) == pytest.approx(medical, abs=1e-12)


def test_haarpsi_of_black_images_is_one():
    assert metrics.haarpsi(np.zeros((32, 32)), np.zeros((32, 32)), 255) == 1.0


def test_haarpsi_refuses_two_channels():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        metrics.haarpsi(np.zeros((32, 32, 2)), np.zeros((32, 32, 2)), 255)


@NAMES
def test_range_of_the_pixels_does_not_matter(name):
    y_true, y_pred = waves(*GRAY)
    wide = metrics.get(name)(y_true * np.uint16(257), y_pred * np.uint16(257), 65535)
    unit = metrics.get(name)(y_true / 255, y_pred / 255, 1.0)
    levels = name.startswith(("bias", "shift_"))  # these are in stored levels, and grow with the range
    found = [wide / 257, unit * 255] if levels else [wide, unit]
    np.testing.assert_allclose(found, metrics.get(name)(y_true, y_pred, 255), rtol=1e-9)


@NAMES
def test_channel_axis_of_one_does_not_matter(name):
    y_true, y_pred = waves(*GRAY)
    flat = metrics.get(name)(y_true[..., 0], y_pred[..., 0], 255)
    np.testing.assert_array_equal(flat, metrics.get(name)(y_true, y_pred, 255))  # nan too


@NAMES
def test_result_is_a_plain_float(name):
    assert type(metrics.get(name)(*waves(*GRAY), 255)) is float


@NAMES
def test_inputs_are_left_as_they_are(name):
    y_true, y_pred = (image / 255 for image in waves(*RGB))
    copies = y_true.copy(), y_pred.copy()
    metrics.get(name)(y_true, y_pred, 1.0)
    np.testing.assert_array_equal((y_true, y_pred), copies)


@pytest.mark.parametrize("name, side", [("ssim", 11), ("ms_ssim", 161)])
def test_image_smaller_than_the_window_is_undefined(name, side):
    image = np.random.default_rng(0).random((side, side + 9))
    assert metrics.get(name)(image, image, 1.0) == pytest.approx(1.0)
    assert np.isnan(metrics.get(name)(image[:-1], image[:-1], 1.0))


@NAMES
def test_images_of_different_shapes_are_refused(name):
    with pytest.raises(ValueError, match="same shape"):
        metrics.get(name)(np.zeros((16, 16)), np.zeros((16, 16, 1)), 255)


def test_max_val_of_zero_is_refused():
    with pytest.raises(ValueError, match="max_val=0"):
        metrics.psnr(np.zeros((4, 4)), np.ones((4, 4)), 0)


def test_shave_takes_pixels_from_all_edges():
    image = np.arange(30).reshape(5, 6)
    np.testing.assert_array_equal(metrics.shave(image, 2), [[14, 15]])


def test_shave_of_nothing_is_the_image():
    assert metrics.shave(np.zeros((5, 6, 3)), 0).shape == (5, 6, 3)


@pytest.mark.parametrize("crop_border", [-1, 3])
def test_shave_that_leaves_nothing_is_refused(crop_border):
    with pytest.raises(ValueError, match="crop_border"):
        metrics.shave(np.zeros((6, 9)), crop_border)


def test_central_crop_of_512_is_320_in_the_middle():
    rows = np.broadcast_to(np.arange(512)[:, None, None], (512, 512, 1))
    part = metrics.central_crop(rows)
    assert part.shape == (320, 320, 1)
    assert (part.min(), part.max()) == (96, 415)


def test_central_crop_of_an_oblong_image_keeps_its_proportions():
    assert metrics.central_crop(np.zeros((64, 128)), 0.5).shape == (32, 64)


@pytest.mark.parametrize("fraction", [0, 1.5])
def test_central_crop_outside_the_image_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        metrics.central_crop(np.zeros((8, 8)), fraction)


def test_bicubic_x4_on_chest_xrays_reproduces_the_measured_protocol(shared_data):
    # 35.84 dB and 0.9427 were measured apart from this code, on these 57 images: area mean to
    # 512 x 512, both ways through Pillow's 8-bit bicubic, border of 4 pixels shaved.
    folder = shared_data / "ChestX-ray14"
    names = sorted(
        set((folder / "test_list.txt").read_text().split()) & {path.name for path in (folder / "images").iterdir()}
    )
    scores = []
    for name in names:
        pixels = np.asarray(Image.open(folder / "images" / name)).astype(float)
        pixels = np.rint(pixels.reshape(512, 2, 512, 2).mean((1, 3))).astype(np.uint8)
        lr = Image.fromarray(pixels).resize((128, 128), Image.Resampling.BICUBIC)
        sr = np.asarray(lr.resize((512, 512), Image.Resampling.BICUBIC))
        pair = metrics.shave(pixels, 4), metrics.shave(sr, 4)
        scores.append((metrics.psnr(*pair, 255), metrics.ssim(*pair, 255)))
    assert len(names) == 57
    psnr, ssim = np.mean(scores, axis=0)
    assert psnr == pytest.approx(35.84, abs=0.01)
    assert ssim == pytest.approx(0.9427, abs=0.0001)
