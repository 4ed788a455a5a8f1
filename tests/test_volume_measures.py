"""Scores of a volume in 3-D against hand calculation, scikit-image and SciPy (V-13)."""

import math

import numpy as np
import pytest
import skimage.filters
import skimage.metrics
from scipy import ndimage

from tfmisr.evaluation import volume_measures
from tfmisr.evaluation.volume_measures import Truth, detail, edge_width, measure, otsu_threshold, volume_error

RNG = np.random.default_rng(0)


def smooth(shape=(24, 20, 28), sigma=1.5):
    return (1000 * ndimage.gaussian_filter(RNG.random(shape), sigma)).astype(np.float32)


def step(position=11.5, sigma=0.0, spacing=0.5, count=40):
    """A step of height 100 across the slices, blurred with a Gaussian of sigma mm."""
    z = (np.arange(count) - position) * spacing
    profile = 50 + 50 * np.vectorize(math.erf)(z / sigma / math.sqrt(2)) if sigma else 100.0 * (z > 0)
    return np.broadcast_to(profile[:, None, None], (count, 12, 14)).astype(np.float32)


def test_otsu_is_that_of_scikit_image_v13():
    values = np.concatenate([RNG.normal(100, 15, 4000), RNG.normal(300, 40, 2000)]).astype(np.float32)
    bin_width = float(np.ptp(values)) / 256
    assert otsu_threshold(values) == pytest.approx(skimage.filters.threshold_otsu(values, 256), abs=1.01 * bin_width)


def test_otsu_of_two_values_lies_between_them():
    assert otsu_threshold(np.float32([0, 0, 0, 10, 10])) == pytest.approx(5, abs=0.1)


def test_psnr_on_all_voxels_and_on_the_foreground_by_hand_v13():
    values = np.zeros((12, 12, 12), np.float32)
    values[:6] = 100.0
    truth = Truth(values, (1.0, 1.0, 1.0), 2.0)
    assert (truth.peak, truth.low) == (100.0, 0.0)
    restored = values.copy()
    restored[:6] += 10.0  # squared error 100 in the foreground, half of the volume
    scores = measure(truth, restored)
    assert scores["psnr_foreground"] == pytest.approx(10 * math.log10(100**2 / 100))
    assert scores["psnr"] == pytest.approx(10 * math.log10(100**2 / 50))
    assert scores["bias"] == pytest.approx(10.0)


def test_ssim_of_each_plane_is_that_of_scikit_image_v13():
    values = smooth()
    restored = values + RNG.normal(0, 3, values.shape).astype(np.float32)
    truth = Truth(values, (1.0, 1.0, 1.0), 2.0)
    scores = measure(truth, restored)
    for axis, name in enumerate(volume_measures.PLANES):
        found = []
        for index in range(values.shape[axis]):
            if not np.take(truth.foreground, index, axis).any():
                continue
            pair = [
                np.clip((np.take(v.astype(float), index, axis) - truth.low) / truth.peak, 0, 1)
                for v in (values, restored)
            ]
            options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
            _, full = skimage.metrics.structural_similarity(*pair, full=True, **options)
            found.append(full[5:-5, 5:-5].mean())
        assert scores[f"ssim_{name}"] == pytest.approx(np.mean(found), abs=1e-6)


def test_many_slices_are_thinned_out_evenly(monkeypatch):
    monkeypatch.setattr(volume_measures, "SLICES", 3)
    values = smooth()
    truth = Truth(values, (1.0, 1.0, 1.0), 2.0)
    restored = values.copy()
    restored[1] += 50  # neither the first, the middle nor the last slice
    assert measure(truth, restored)["ssim_axial"] == pytest.approx(1.0)


@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_the_width_of_a_gaussian_edge_is_its_fwhm_v13(sigma):
    spacing = 0.5
    truth = Truth(step(), (spacing, 0.5, 0.5), 3.0)
    # The derivative between two slices is the Gaussian averaged over their distance.
    expected = 2.3548 * math.sqrt(sigma**2 + spacing**2 / 12)
    assert edge_width(truth, step(sigma=sigma)) == pytest.approx(expected, rel=0.03)


def test_the_width_of_the_truth_itself_is_one_slice_for_a_step():
    truth = Truth(step(), (0.5, 0.5, 0.5), 2.0)
    assert edge_width(truth, truth.values) == pytest.approx(0.5)


def test_an_edge_that_is_gone_counts_with_the_widest_width():
    truth = Truth(step(), (0.5, 0.5, 0.5), 2.0)
    flat = np.full_like(truth.values, 40.0)
    assert edge_width(truth, flat) == 4 * 2.0  # two thick slices on each side


def test_falling_edges_count_like_rising_ones():
    truth = Truth(100 - step(), (0.5, 0.5, 0.5), 3.0)
    assert edge_width(truth, 100 - step(sigma=1.0)) == pytest.approx(
        edge_width(Truth(step(), (0.5, 0.5, 0.5), 3.0), step(sigma=1.0))
    )


def test_edges_within_the_planes_do_not_count():
    values = np.moveaxis(step(count=24), 0, 2)
    truth = Truth(np.ascontiguousarray(values), (1.0, 1.0, 1.0), 3.0)
    assert math.isnan(edge_width(truth, truth.values))


def test_detail_beyond_nyquist_by_one_frequency_v13():
    """Thick slices 4 mm apart hold frequencies up to 1/8 per mm; the window widens a line by under 1/16."""
    z = np.arange(64)[:, None, None]
    low, high = (np.cos(2 * np.pi * f * z) * np.ones((64, 3, 5)) for f in (1 / 32, 1 / 4))
    truth, half, wrong = low + high, low + 0.5 * high, low - 0.5 * high
    assert detail(truth, half, 1.0, 4.0) == pytest.approx((0.25, 1.0), rel=1e-3)
    assert detail(truth, wrong, 1.0, 4.0) == pytest.approx((0.25, -1.0), rel=1e-3)
    energy, _ = detail(truth, low, 1.0, 4.0)
    assert energy < 1e-4


def test_the_volume_error_is_the_difference_of_counts_v13():
    values = np.zeros((4, 5, 5), np.float32)
    values[1:3] = 200.0
    truth = Truth(values, (1.0, 1.0, 1.0), 2.0, threshold=150.0)
    restored = values.copy()
    restored[0, 0] = 160.0
    restored[2, 0, 0] = 100.0
    assert volume_error(truth, restored) == pytest.approx((50 + 5 - 1) / 50 - 1)
    assert volume_error(Truth(values, (1.0, 1.0, 1.0), 2.0), restored) == pytest.approx((50 + 5) / 50 - 1, abs=0.03)


def test_a_volume_of_one_value_is_refused():
    with pytest.raises(ValueError, match="one value"):
        Truth(np.ones((4, 4, 4), np.float32), (1.0, 1.0, 1.0), 2.0)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="expected a volume of shape"):
        measure(Truth(smooth(), (1.0, 1.0, 1.0), 2.0), smooth((4, 4, 4)))
