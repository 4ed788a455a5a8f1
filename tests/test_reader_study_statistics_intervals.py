import numpy as np
import pytest
import scipy.stats

from tfmisr.reader_study.statistics import primary
from tfmisr.reader_study.statistics.intervals import Interval, bootstrap, over_readers_and_cases
from tfmisr.reader_study.statistics.noninferiority import evaluate
from tfmisr.reader_study.statistics.simulation import Assumptions, simulate_sample_size

N = np.nan
# Three readers, four cases. Mean 3; mean squares by hand: readers 4, cases 2/3, rest 1/3.
TABLE = np.array([[2, 2, 3, 1], [3, 3, 3, 3], [4, 3, 5, 4]], np.float64)


def test_r18_interval_over_readers_and_cases_by_hand():
    readers, cases, rest = 4.0, 2 / 3, 1 / 3
    found = over_readers_and_cases(TABLE)
    assert found.mean == 3
    # Obuchowski-Rockette: (readers + (cases - rest)) / 12, by Satterthwaite with 2 and 3 degrees of freedom.
    variance = (readers + cases - rest) / 12
    freedom = (readers + cases - rest) ** 2 / (readers**2 / 2 + (cases - rest) ** 2 / 3)
    np.testing.assert_allclose((found.error**2, found.freedom), (variance, freedom))
    half = scipy.stats.t.ppf(0.975, freedom) * variance**0.5
    np.testing.assert_allclose((found.low, found.high), (3 - half, 3 + half))


def test_r18_readers_count_and_not_only_cases():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1, (4, 1)) + rng.normal(0, 0.3, (4, 60))
    over_cases = scores.mean(axis=0).std(ddof=1) / 60**0.5
    assert over_readers_and_cases(scores).error > 5 * over_cases


def test_one_reader_is_the_t_interval_over_cases():
    found = over_readers_and_cases(np.array([[1.0, 2, 4, 4, 5]]))
    expected = scipy.stats.t.interval(0.95, 4, 3.2, scipy.stats.sem([1, 2, 4, 4, 5]))
    np.testing.assert_allclose((found.low, found.high), expected)
    assert "this reader only" in found.note
    turned = over_readers_and_cases(np.array([[1.0], [2], [4], [4], [5]]))
    assert (turned.low, turned.high) == (found.low, found.high) and "this case only" in turned.note


def test_missing_answers_widen_the_interval_a_little():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(5, 40)) + rng.normal(size=(5, 1)) + rng.normal(size=(1, 40))
    holes = np.where(rng.random((5, 40)) < 0.1, N, scores)
    whole, found = over_readers_and_cases(scores), over_readers_and_cases(holes)
    assert found.answers == (~np.isnan(holes)).sum() < whole.answers
    np.testing.assert_allclose(found.error, whole.error, rtol=0.1)


def test_cases_without_ratings_change_nothing():
    more = np.hstack([TABLE, np.full((3, 2), N)])
    assert over_readers_and_cases(more) == over_readers_and_cases(TABLE)


@pytest.mark.parametrize(
    "values, mean, low, why",
    [
        ([[4, 4], [4, 4]], 4, 4, "all values are equal"),
        ([[3]], 3, None, "one answer"),
        ([[N, N]], None, None, "no answers"),
        ([[1, N], [N, 2]], 1.5, None, "too few answers in common"),
        ([[1, 2, 3], [2, 3, 2]], 13 / 6, None, ""),
    ],
)
def test_r22_degenerate_tables_give_a_result_and_a_sentence(values, mean, low, why):
    found = over_readers_and_cases(np.array(values, np.float64))
    assert found.mean == (None if mean is None else pytest.approx(mean))
    assert why in found.note
    if why:
        assert found.low == low


def test_means_of_readers_that_coincide_leave_the_noise():
    # Both readers have the mean 2, and so has each case: taken at its word, the variance would be nothing.
    found = over_readers_and_cases(np.array([[1.0, 3.0, 2.0], [3.0, 1.0, 2.0]]))
    assert found.error > 0.3 and found.freedom == pytest.approx(2)


def test_p_value_belongs_to_the_interval():
    found = over_readers_and_cases(TABLE)
    assert found.p_value(found.low) == pytest.approx(0.05)
    assert found.p_value(found.mean) == 1
    assert over_readers_and_cases(np.full((2, 2), 1.0)).p_value() is None


def test_interval_ends_where_the_scale_does():
    found = over_readers_and_cases(np.array([[5.0, 5, 5, 4], [1, 1, 2, 1]]))
    assert found.low < 1 and found.high > 5
    assert (found.within(1, 5).low, found.within(1, 5).high) == (1, 5)


def test_bootstrap_draws_readers_and_cases():
    # One reader gives 1 and the other 5: a bootstrap sample has both or one of them.
    assert bootstrap(np.array([[1.0] * 8, [5.0] * 8])) == (1, 5)
    assert bootstrap(np.full((2, 2), N)) == (None, None)
    assert bootstrap(TABLE, seed=1) == bootstrap(TABLE, seed=1)


@pytest.mark.parametrize(
    "low, high, verdict, words",
    [
        (-0.4, 0.3, "non-inferior", "lies above -0.5"),
        (-0.4, -0.1, "non-inferior", "worse than the reference nevertheless"),
        (-0.6, 0.3, "inconclusive", "includes -0.5"),
        (-0.6, -0.1, "inconclusive", "by an amount that remains uncertain"),
        (-0.9, -0.6, "inferior", "lies below -0.5"),
        (-0.5, 0.5, "inconclusive", "includes -0.5"),
        (None, None, "inconclusive", "no interval: one answer"),
    ],
)
def test_r20_verdicts_of_noninferiority(low, high, verdict, words):
    middle = None if low is None else (low + high) / 2
    found = evaluate(Interval(middle, low, high, 0.1, 9.0, 60, 3, 20, "" if low else "one answer"), 0.5)
    assert found.verdict == verdict and words in found.reason


def test_true_means_are_those_of_many_simulated_scores():
    assumptions = Assumptions((0.0, 1.5))
    rng = np.random.default_rng(0)
    many = [assumptions.answer(assumptions.draw(20, 20, rng), rng).mean(axis=(1, 2)) for _ in range(300)]
    np.testing.assert_allclose(assumptions.mean_scores(), np.mean(many, axis=0), atol=0.03)


@pytest.mark.parametrize("readers, cases, within", [(3, 30, 0.0), (4, 20, 0.3), (5, 30, 0.6)])
def test_r23_interval_covers_the_true_difference(readers, cases, within):
    spread = {"reader": 0.5, "case": 0.8, "reader:arm": within, "case:arm": within}
    assumptions = Assumptions((0.0, 1.5), deviations=spread)
    means, rng, held = assumptions.mean_scores(), np.random.default_rng(1), 0
    for _ in range(500):
        scores = assumptions.answer(assumptions.draw(readers, cases, rng), rng).astype(np.float64)
        found = over_readers_and_cases(scores[1] - scores[0])
        held += found.low <= means[1] - means[0] <= found.high
    assert 0.92 <= held / 500 <= 0.98


@pytest.mark.large
def test_r23_primary_test_errs_in_three_to_seven_per_cent():
    rng, found = np.random.default_rng(4), []
    assumptions = Assumptions((0.0, 0.0, 0.0))
    for _ in range(120):
        scores = assumptions.answer(assumptions.draw(4, 20, rng), rng).astype(np.float64)
        found += [pair.p_value < 0.05 for pair in primary.test_pairs(scores).pairs]
    # 360 tests, in threes of one study: two standard errors are some 3 %.
    assert 0.02 <= np.mean(found) <= 0.08


def test_r05_more_readers_and_more_cases_narrow_the_interval():
    assumptions = Assumptions((0.0, 1.0))
    small, large = simulate_sample_size(assumptions, 3, 10, 60), simulate_sample_size(assumptions, 8, 40, 60)
    assert large.half_width < small.half_width / 2
    assert (small.readings, large.readings) == (60, 640)
    assert large.power > small.power and small.below is None
    assert simulate_sample_size(assumptions, 3, 10, 60) == small


def test_r05_equal_arms_are_seldom_significant_but_often_noninferior():
    found = simulate_sample_size(Assumptions((0.0, 0.0)), 6, 40, 100, margin=0.5)
    assert found.power < 0.12 and found.below > 0.5
