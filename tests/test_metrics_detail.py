"""VIF, GMSD, sharpness and noise against piq, SciPy and hand calculation."""

import numpy as np
import pytest
from measured import waves
from scipy import ndimage, signal

from tfmisr import metrics

GRAY, ODD, RGB = (176, 208, 1, 0), (177, 163, 1, 1), (192, 176, 3, 2)
# Made by tests/oracles/measures.py: piq 0.8.0 on torch 2.13.0, float64, of the luma by HaarPSI's three digits.
VIF = [(GRAY, 0.34408380478651296), (ODD, 0.34549743148870876), (RGB, 0.42189490119731027)]
GMSD = [(GRAY, 0.057979695673520494), (ODD, 0.060388354212781194), (RGB, 0.03229137244974597)]


@pytest.mark.parametrize("case, expected", VIF, ids=["gray", "odd", "rgb"])
def test_vif_agrees_with_piq(case, expected):
    # piq adds 1e-8 to both sums.
    assert metrics.vif(*waves(*case), 255) == pytest.approx(expected, abs=1e-9)


def test_vif_of_a_contrast_raised_is_above_one_and_of_an_inverted_image_nothing():
    image, _ = waves(*GRAY)
    image = image / 2.0 + 64
    assert metrics.vif(image, 128 + 1.5 * (image - 128), 255) > 1
    assert metrics.vif(image, 255 - image, 255) == pytest.approx(0, abs=1e-6)


def test_vif_of_a_flat_reference_is_not_defined_and_of_a_flat_result_is_zero():
    image, _ = waves(*GRAY)
    flat = np.full_like(image, 100)
    assert np.isnan(metrics.vif(flat, image, 255)) and np.isnan(metrics.vif(flat, flat, 255))
    assert metrics.vif(image, flat, 255) == pytest.approx(0, abs=1e-9)


def test_vif_needs_41_pixels():
    image = np.random.default_rng(0).random((41, 50))
    assert metrics.vif(image, image, 1.0) == pytest.approx(1.0)
    assert np.isnan(metrics.vif(image[:40], image[:40], 1.0))


@pytest.mark.parametrize("case, expected", GMSD, ids=["gray", "odd", "rgb"])
def test_gmsd_agrees_with_piq(case, expected):
    assert metrics.gmsd(*waves(*case), 255) == pytest.approx(expected, abs=1e-12)


def test_gmsd_agrees_with_the_authors_code_on_one_odd_side():
    # MATLAB's conv2(..., "same") begins at floor(k / 2) of the whole convolution; here in SciPy's.
    def halved(image):
        return signal.convolve2d(image, np.full((2, 2), 0.25))[1:, 1:][::2, ::2]

    def magnitude(image):
        kernel = np.outer([1, 1, 1], [1, 0, -1]) / 3
        return np.hypot(*(signal.convolve2d(image, k, "same") for k in (kernel, kernel.T)))

    y_true, y_pred = (image[:, :, 0].astype(float) for image in waves(61, 64, 1, 0))
    a, b = (magnitude(halved(image)) for image in (y_true, y_pred))
    expected = np.std((2 * a * b + 170) / (a**2 + b**2 + 170))
    assert metrics.gmsd(y_true, y_pred, 255) == pytest.approx(expected, rel=1e-12)


def test_gmsd_of_equal_and_of_flat_images_is_zero():
    image, _ = waves(*RGB)
    assert metrics.gmsd(image, image, 255) == 0
    assert metrics.gmsd(np.zeros((8, 8)), np.zeros((8, 8)), 255) == 0


def test_sharpness_agrees_with_scipy():
    y_true, y_pred = waves(*RGB)

    def energy(image):
        planes = np.moveaxis(image.astype(float), 2, 0)
        return sum(np.mean(ndimage.sobel(p, axis)[1:-1, 1:-1] ** 2) for p in planes for axis in (0, 1))

    assert metrics.sharpness(y_true, y_pred, 255) == pytest.approx(energy(y_pred) / energy(y_true), rel=1e-12)


def test_sharpness_of_half_the_contrast_is_a_quarter_and_of_blur_less_than_one():
    image, _ = waves(*GRAY)
    assert metrics.sharpness(image, image / 2.0, 255) == pytest.approx(0.25)
    assert metrics.sharpness(image, ndimage.uniform_filter(image.astype(float), (3, 3, 1)), 255) < 0.9
    assert np.isnan(metrics.sharpness(np.full((9, 9), 7), np.ones((9, 9)), 255))


def test_laplacian_agrees_with_scipy_and_is_no_reference():
    y_true, y_pred = waves(*GRAY)
    expected = np.var(ndimage.laplace(y_pred[..., 0].astype(float))[1:-1, 1:-1])
    assert metrics.laplacian(y_true, y_pred, 255) == pytest.approx(expected, rel=1e-12)
    assert metrics.laplacian(0 * y_true, y_pred, 255) == metrics.laplacian(y_true, y_pred, 255)


@pytest.mark.parametrize("deviation", [2.0, 10.0])
def test_noise_is_the_deviation_of_white_noise_on_a_ramp(deviation):
    ramp = np.add.outer(np.arange(400.0), 0.5 * np.arange(300.0)) / 4
    noisy = ramp + np.random.default_rng(0).normal(0, deviation, ramp.shape)
    assert metrics.noise(ramp, noisy, 255) == pytest.approx(deviation, rel=0.02)
    assert metrics.noise(noisy, ramp, 255) == pytest.approx(0, abs=1e-9)


def test_noise_agrees_with_the_papers_formula():
    _, y_pred = waves(*ODD)
    mask = signal.convolve2d(y_pred[..., 0].astype(float), [[1, -2, 1], [-2, 4, -2], [1, -2, 1]], "valid")
    height, width = y_pred.shape[:2]
    expected = np.sqrt(np.pi / 2) * np.abs(mask).sum() / (6 * (width - 2) * (height - 2))
    assert metrics.noise(y_pred, y_pred, 255) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["sharpness", "laplacian", "noise"])
def test_image_smaller_than_the_filter_is_undefined(name):
    assert np.isnan(metrics.get(name)(np.zeros((2, 9)), np.ones((2, 9)), 255))


@pytest.mark.parametrize("name", ["vif", "gmsd"])
def test_two_channels_have_no_luma(name):
    with pytest.raises(ValueError, match="1 or 3 channels"):
        metrics.get(name)(np.zeros((64, 64, 2)), np.zeros((64, 64, 2)), 255)
