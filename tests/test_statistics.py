import numpy as np
import pytest
import scipy.stats

from tfmisr.evaluation.statistics import bootstrap_mean, paired_difference

NORMAL = np.random.default_rng(3).normal(36.0, 4.0, 60)


def test_mean_counts_every_image_once():
    mean, _, _ = bootstrap_mean([1.0, 2.0, 6.0], ["a", "a", "b"])
    assert mean == 3.0


def test_interval_of_single_images_agrees_with_scipy():
    _, low, high = bootstrap_mean(NORMAL, np.arange(60), resamples=20000)
    expected = scipy.stats.bootstrap(
        (NORMAL,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    # The ends of two runs of 20000 resamples differ by about 0.01 here.
    np.testing.assert_allclose((low, high), expected, atol=0.05)


def test_narrower_confidence_gives_a_narrower_interval():
    _, low95, high95 = bootstrap_mean(NORMAL, np.arange(60))
    _, low50, high50 = bootstrap_mean(NORMAL, np.arange(60), confidence=0.5)
    assert low95 < low50 < high50 < high95


def test_copies_of_a_patients_image_add_no_certainty():
    alone = bootstrap_mean(NORMAL, np.arange(60))
    copied = bootstrap_mean(np.repeat(NORMAL, 9), np.repeat(np.arange(60), 9))
    np.testing.assert_allclose(copied, alone, rtol=1e-12)


def test_two_patients_give_every_mean_there_is():
    # The resamples are aa, ab, ba, bb: means 0, 3/4 (one image of a, three of b) and 1.
    mean, low, high = bootstrap_mean([0.0, 1.0, 1.0, 1.0], [7, 9, 9, 9])
    assert (mean, low, high) == (0.75, 0.0, 1.0)


def test_interval_does_not_depend_on_the_order_of_images():
    order = np.random.default_rng(0).permutation(60)
    patients = np.arange(60) // 3
    shuffled = bootstrap_mean(NORMAL[order], patients[order])
    np.testing.assert_allclose(shuffled, bootstrap_mean(NORMAL, patients), rtol=1e-12)


def test_same_seed_gives_the_same_interval_and_another_seed_another():
    first = bootstrap_mean(NORMAL, np.arange(60), seed=5)
    assert bootstrap_mean(NORMAL, np.arange(60), seed=5) == first
    assert bootstrap_mean(NORMAL, np.arange(60), seed=6) != first


def test_chunks_cover_all_resamples(monkeypatch):
    # A chunk of 7 resamples draws the same numbers one after the other.
    whole = bootstrap_mean(NORMAL, np.arange(60), resamples=100)
    monkeypatch.setattr("tfmisr.evaluation.statistics._CHUNK", 7 * 60)
    assert bootstrap_mean(NORMAL, np.arange(60), resamples=100) == whole


def test_one_patient_gives_a_mean_without_an_interval():
    mean, low, high = bootstrap_mean([1.0, 3.0], [4, 4])
    assert mean == 2.0
    assert np.isnan(low) and np.isnan(high)


def test_equal_values_give_an_interval_without_width():
    assert bootstrap_mean([2.5] * 8, range(8)) == (2.5, 2.5, 2.5)


def test_an_infinite_psnr_makes_mean_and_upper_end_infinite_only():
    mean, low, high = bootstrap_mean([30.0, 31.0, np.inf], [0, 1, 2])
    assert (mean, high) == (np.inf, np.inf)
    assert 30.0 <= low <= 31.0


@pytest.mark.parametrize("values", [[1.0, np.nan], [np.inf, -np.inf]])
def test_what_has_no_mean_is_nan(values):
    assert np.isnan(bootstrap_mean(values, [0, 1])).all()


@pytest.mark.parametrize("values, groups", [([], []), ([1.0, 2.0], [1]), ([[1.0]], [[1]])])
def test_values_without_a_patient_each_are_refused(values, groups):
    with pytest.raises(ValueError, match="same length"):
        bootstrap_mean(values, groups)


def test_constant_gain_is_certain_however_much_images_differ():
    gain = paired_difference(NORMAL + 1.5, NORMAL, np.arange(60))
    np.testing.assert_allclose(gain, 1.5, rtol=1e-12)


def test_difference_keeps_its_sign():
    assert paired_difference([1.0, 2.0], [3.0, 4.0], [0, 1]) == (-2.0, -2.0, -2.0)


def test_images_both_systems_reproduce_differ_by_zero():
    assert paired_difference([np.inf, 2.0], [np.inf, 2.0], [0, 1]) == (0.0, 0.0, 0.0)


def test_gain_to_infinity_is_infinite():
    mean, low, high = paired_difference([np.inf, 2.0], [40.0, 2.0], [0, 1])
    assert (mean, low, high) == (np.inf, 0.0, np.inf)


def test_systems_measured_on_different_images_are_refused():
    with pytest.raises(ValueError, match="same images"):
        paired_difference([1.0, 2.0], [1.0], [0, 1])
