"""Interpolation and degradation against Pillow, MATLAB's formula and hand calculation."""

import numpy as np
import pytest
from PIL import Image

from tfmisr import degradations
from tfmisr.edge import resize
from tfmisr.edge.errors import InputError


def random_image(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def matlab_bicubic(image, scale):
    """MATLAB's `imresize(image, 1/scale, "bicubic")`, written from its documentation: antialiased, mirrored edges."""

    def kernel(x):
        x = np.abs(x)
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    def matrix(length):
        out = length // scale
        weights = np.zeros((out, length))
        for i in range(out):
            middle = (i + 0.5) * scale - 0.5
            taps = np.arange(np.floor(middle - 2 * scale), np.ceil(middle + 2 * scale) + 1).astype(int)
            values = kernel((middle - taps) / scale)
            mirrored = np.where(taps < 0, -1 - taps, np.where(taps >= length, 2 * length - 1 - taps, taps))
            np.add.at(weights[i], mirrored, values / values.sum())
        return weights

    return matrix(image.shape[0]) @ image @ matrix(image.shape[1]).T


@pytest.mark.parametrize("shape", [(64, 64), (63, 77), (37, 53), (9, 101)])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_reduction_equals_pillows_on_8_bit_images_within_rounding(shape, scale):
    hr = 60 + random_image(*shape) // 2  # Pillow clips 8-bit images between its two passes as well
    size = (shape[1] // scale, shape[0] // scale)
    expected = np.asarray(Image.fromarray(hr[..., 0]).resize(size, Image.Resampling.BICUBIC))
    lr = degradations.make(scale)(hr / np.float32(255), 255)
    assert lr.shape == (*expected.shape, 1)
    assert np.abs(np.rint(lr[..., 0] * 255) - expected).max() <= 1


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(64, 64), (63, 77), (9, 101)])
@pytest.mark.parametrize("kind", ["noise", "letters", "smooth", "color"])
def test_pillow8_reduction_equals_pillows_resize_of_8_bit_images_exactly(kind, shape, scale):
    hr = random_image(*shape, 3 if kind == "color" else 1)
    if kind == "letters":  # black and white: both passes overshoot and are clipped
        hr = np.where(hr > 127, 255, 0).astype(np.uint8)
    elif kind == "smooth":
        hr = np.asarray(Image.fromarray(hr[:5, :7, 0]).resize(shape[::-1], Image.Resampling.BICUBIC))[..., None]
    size = (shape[1] // scale, shape[0] // scale)
    expected = np.asarray(Image.fromarray(hr.squeeze(-1) if kind != "color" else hr).resize(size, 3))
    lr = degradations.make(scale, degradation="bicubic(rounding=pillow8)")(hr / np.float32(255), 255)
    np.testing.assert_array_equal(lr, expected.reshape(lr.shape) / np.float32(255))


@pytest.mark.parametrize("max_val", [1023, 4095, 65535])
def test_pillow8_is_for_8_bit_images_alone(max_val):
    degrade = degradations.make(2, degradation="bicubic(rounding=pillow8)")
    with pytest.raises(InputError, match=f"8-bit images.*full scale {max_val}; use bicubic"):
        degrade(np.zeros((16, 16, 1), np.float32), max_val)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_reduction_equals_matlabs_away_from_the_edges(scale):
    hr = random_image(48, 60)
    lr = degradations.Bicubic(scale)(hr.astype(np.float32), None)[..., 0]
    expected = matlab_bicubic(hr[..., 0].astype(float), scale)
    np.testing.assert_allclose(lr[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-3)


@pytest.mark.parametrize("method", resize.METHODS)
def test_interpolation_equals_pillows_in_floating_point(method):
    lr = random_image(13, 17, 3)
    filters = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
    expected = np.stack(
        [Image.fromarray(lr[..., c].astype(np.float32)).resize((51, 39), filters[method]) for c in range(3)], -1
    )
    np.testing.assert_array_equal(resize.upscale(lr, 3, method), expected)


def test_unknown_method_is_refused_by_name():
    with pytest.raises(ValueError, match="cubic"):
        resize.resize(random_image(8, 8), (4, 4), "cubic")


def test_constant_image_stays_constant():
    lr = degradations.make(4, blur_sigma=1.5)(np.full((40, 40, 1), 0.25, np.float32), 255)
    np.testing.assert_allclose(lr, round(0.25 * 255) / 255, atol=1e-6)


def test_low_resolution_image_has_the_sources_levels_only():
    hr = np.random.default_rng(0).random((32, 32, 1), dtype=np.float32)
    lr = degradations.make(2)(hr, 4095) * 4095
    np.testing.assert_allclose(lr, np.rint(lr), atol=1e-3)
    rough = degradations.make(2, quantize_lr=False)(hr, 4095) * 4095
    assert np.abs(rough - np.rint(rough)).max() > 0.4


def test_noise_has_the_standard_deviation_asked_for():
    lr = degradations.make(2, noise_std=0.02, quantize_lr=False)(
        np.full((400, 400, 1), 0.5, np.float32), 255, np.random.default_rng(0)
    )
    assert lr.std() == pytest.approx(0.02, rel=0.02)
    assert lr.mean() == pytest.approx(0.5, abs=0.001)


def test_blur_widens_an_edge_to_the_gaussian_it_says():
    from scipy.stats import norm

    step = np.zeros((8, 101, 1), np.float32)
    step[:, 51:] = 1
    blurred = degradations.GaussianBlur(3.0)(step, None)[4, :, 0]
    x = np.arange(101) - 50.5  # the edge lies between pixels 50 and 51
    np.testing.assert_allclose(blurred[20:80], norm.cdf(x / 3.0)[20:80], atol=0.004)


def test_random_part_stands_after_the_part_that_is_cached():
    once, each = degradations.make(4, blur_sigma=1.0, noise_std=0.01).split()
    assert once.describe() == "GaussianBlur(sigma=1.0) Bicubic(scale=4)"
    assert each.describe() == "GaussianNoise(std=0.01) rounded"


def test_description_tells_degradations_apart():
    described = {degradations.make(4, *rest).describe() for rest in [(), (1.0,), (0.0, 0.1), (0.0, 0.0, False)]}
    assert len(described) == 4
