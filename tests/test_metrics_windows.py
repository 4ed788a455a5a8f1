"""Metrics within a CT window: by hand, and against scikit-image on clipped Hounsfield units."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tfmisr import metrics
from tfmisr.metrics import ct_windows


def slices(seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 4096, (48, 40, 1))
    return reference.astype(np.uint16), np.clip(reference + rng.integers(-60, 61, reference.shape), 0, 4095).astype(
        np.uint16
    )


def test_window_by_hand():
    # Soft tissue: -150 to 250 HU, which is 874 to 1274 above -1024 HU.
    image = np.array([[0, 874, 1074, 1274, 4095]])
    np.testing.assert_array_equal(ct_windows.within(image, "soft_tissue"), [[0, 0, 200, 400, 400]])


def test_psnr_within_a_window_by_hand():
    reference = np.full((8, 8, 1), 1074, np.uint16)
    # 40 HU of 400: a tenth of the window, 20 dB. What is beyond the window costs nothing.
    assert metrics.get("psnr_soft_tissue")(reference, reference + 40, 4095) == pytest.approx(20)
    metal = np.full((8, 8, 1), 3000, np.uint16)
    assert metrics.get("psnr_soft_tissue")(metal, metal + 500, 4095) == math.inf


@pytest.mark.parametrize("window,low,high", [("lung", -1350, 150), ("bone", -500, 1300), ("brain", 0, 80)])
def test_agrees_with_scikit_image_on_clipped_hounsfield_units(window, low, high):
    reference, other = slices()
    pair = [np.clip(image.astype(float)[..., 0] - 1024, low, high) - low for image in (reference, other)]
    expected = peak_signal_noise_ratio(*pair, data_range=high - low)
    assert metrics.get(f"psnr_{window}")(reference, other, 4095) == pytest.approx(expected)
    expected = structural_similarity(
        *pair, data_range=high - low, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    # scikit-image crops its map by 5 pixels at each edge, as the authors do.
    assert metrics.get(f"ssim_{window}")(reference, other, 4095) == pytest.approx(expected, abs=1e-6)


def test_what_is_not_in_hounsfield_units_has_no_window():
    reference, other = slices()
    assert math.isnan(metrics.get("psnr_lung")(reference, other, 65535))
