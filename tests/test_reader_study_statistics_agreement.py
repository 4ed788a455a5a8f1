"""Expected numbers: the cited tables, and tests/oracles/agreement.py."""

import itertools
import pathlib

import numpy as np
import pytest
import scipy.stats

from tfmisr.reader_study.statistics import agreement, icc, mean_squares
from tfmisr.reader_study.statistics.ordinal import TERMS
from tfmisr.reader_study.statistics.simulation import Assumptions

ROOT = pathlib.Path(__file__).resolve().parent.parent
N = np.nan
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
).T
RATINGS = np.array([[4, 5, 4], [2, 2, 3], [5, 5, 5], [3, 4, 4], [1, 2, 1], [4, 4, 3], [2, 3, 2], [5, 4, 5]])


def test_r22_icc_of_shrout_and_fleiss_table():
    found = icc.intraclass(SHROUT_FLEISS)
    expected = {"ICC(2,1)": 0.2898, "ICC(3,1)": 0.7148, "ICC(2,k)": 0.6201, "ICC(3,k)": 0.9093}
    assert {form: round(c.value, 4) for form, c in found.items()} == expected


def test_r21_icc_intervals_agree_with_pingouin():
    found = icc.intraclass(SHROUT_FLEISS)
    expected = {"ICC(2,1)": (0.02, 0.76), "ICC(3,1)": (0.34, 0.95), "ICC(2,k)": (0.07, 0.93), "ICC(3,k)": (0.68, 0.99)}
    assert {form: (round(c.low, 2), round(c.high, 2)) for form, c in found.items()} == expected


def test_icc_leaves_out_images_that_somebody_missed():
    more = np.vstack([SHROUT_FLEISS, [[9, N, 9, 9]]])
    assert icc.intraclass(more) == icc.intraclass(SHROUT_FLEISS)


@pytest.mark.parametrize("level, expected", [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_r22_alpha_of_krippendorffs_table(level, expected):
    assert round(agreement.krippendorff_alpha(KRIPPENDORFF, 5, range(12), level).value, 3) == expected


def test_r21_alpha_ac2_and_kappa_agree_with_other_packages():
    cases = range(8)
    np.testing.assert_allclose(agreement.krippendorff_alpha(RATINGS, 5, cases).value, 0.8259775788184879, rtol=1e-12)
    np.testing.assert_allclose(agreement.gwet_ac2(RATINGS, 5, cases).value, 0.86698, atol=5e-6)
    np.testing.assert_allclose(agreement.gwet_ac2(KRIPPENDORFF, 5, range(12)).value, 0.914, atol=5e-6)
    kappa = agreement.weighted_kappa(RATINGS[:, 0], RATINGS[:, 1], 5, cases)
    np.testing.assert_allclose(kappa.value, 0.8113207547169812, rtol=1e-12)


def test_raw_agreement_counts_pairs_of_answers():
    # Of the three pairs of the first image one is equal and two are within one; of the second none and one.
    images = np.array([[2, 2, 3], [1, 2, 4]])
    assert agreement.raw_agreement(images, 5, [0, 1]).value == pytest.approx(1 / 6)
    assert agreement.raw_agreement(images, 5, [0, 1], within=1).value == pytest.approx(4 / 6)


def test_intervals_hold_the_value_and_stay_on_the_scale():
    for found in (
        agreement.weighted_kappa(RATINGS[:, 0], RATINGS[:, 1], 5, range(8)),
        agreement.krippendorff_alpha(RATINGS, 5, range(8)),
        agreement.gwet_ac2(RATINGS, 5, range(8)),
        *icc.intraclass(RATINGS).values(),
    ):
        assert -1 <= found.low < found.value < found.high <= 1


def test_images_of_one_case_are_one_cluster():
    alone = agreement.krippendorff_alpha(RATINGS, 5, range(8))
    copied = agreement.krippendorff_alpha(np.repeat(RATINGS, 6, axis=0), 5, np.repeat(np.arange(8), 6))
    # Copies of a case's image are no further cases: 48 independent images would make the interval 60 % narrower.
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_same_seed_gives_the_same_interval_and_another_seed_another():
    first = agreement.gwet_ac2(RATINGS, 5, range(8), seed=3)
    assert agreement.gwet_ac2(RATINGS, 5, range(8), seed=3) == first
    assert agreement.gwet_ac2(RATINGS, 5, range(8), seed=4) != first


def test_r22_perfect_agreement_is_one_everywhere():
    images = np.array([[1, 1], [3, 3], [5, 5], [3, 3]])
    found = [agreement.krippendorff_alpha(images, 5, range(4)), agreement.gwet_ac2(images, 5, range(4))]
    found += [agreement.weighted_kappa(*images.T, 5, range(4)), *icc.intraclass(images).values()]
    assert [c.value for c in found] == [1.0] * len(found)


@pytest.mark.parametrize("within, value", [(0, 0.0), (2, 1.0)])
def test_r22_interval_of_width_zero_is_none(within, value):
    # Seven images of which none, or each, agrees: drawn again they are the same, which is no certainty.
    images = np.array([[1, 3]] * 7)
    found = agreement.raw_agreement(images, 5, range(7), within=within)
    assert (found.value, found.low, found.high) == (value, None, None)
    assert "no interval" in found.note


def test_r22_equal_answers_have_no_chance_corrected_agreement_but_full_raw_agreement():
    images = np.full((6, 3), 4)
    for found in (agreement.krippendorff_alpha(images, 5, range(6)), *icc.intraclass(images).values()):
        assert found.value is None and "all answers are equal" in found.note
    kappa = agreement.weighted_kappa(images[:, 0], images[:, 1], 5, range(6))
    assert kappa.value is None and "no variation" in kappa.note
    assert agreement.gwet_ac2(images, 5, range(6)).value == 1
    assert agreement.raw_agreement(images, 5, range(6)).value == 1


@pytest.mark.parametrize(
    "images, why",
    [
        ([[1], [4]], "one reader"),
        ([[1, 4]], "fewer than two images"),
        ([[1, N], [N, 4]], "fewer than two images"),
        ([[1, 5], [5, 1]], "same mean score"),
    ],
)
def test_r22_icc_without_a_value_gives_the_reason(images, why):
    for found in icc.intraclass(np.array(images)).values():
        assert found.value is None and why in found.note


def test_r22_no_image_with_two_answers_gives_a_sentence():
    alone = np.array([[1, N], [N, 4]])
    for measure in (agreement.krippendorff_alpha, agreement.gwet_ac2, agreement.raw_agreement):
        found = measure(alone, 5, [0, 1])
        assert found.value is None and found.note == "no image with two answers"


def test_one_case_gives_a_value_without_an_interval():
    found = agreement.krippendorff_alpha(np.array([[1, 1], [5, 4]]), 5, ["a", "a"])
    assert found.value > 0.5 and found.low is None and "one case" in found.note


@pytest.mark.parametrize("counts, warned", [([0, 1, 2, 9, 88], True), ([0, 0, 0, 50, 50], True), ([20] * 5, False)])
def test_r21_crowded_categories_are_warned_of(counts, warned):
    assert bool(agreement.few_categories(counts)) == warned
    assert agreement.few_categories([0] * 5) == ""


def images_of(scores):
    """Returns images (arms x cases, readers), their cases and their arms from scores (arms, readers, cases)."""
    arms, readers, cases = scores.shape
    images = scores.transpose(0, 2, 1).reshape(-1, readers)
    return images, np.tile(np.arange(cases), arms), np.repeat(np.arange(arms), cases)


def held(found, truth):
    return np.array([f.low <= truth <= f.high for f in found])


def test_r21_icc_over_all_images_covers_the_agreement_of_readers_and_cases():
    """Readers, cases and arms of known variance: images of one case in four arms are one cluster (issue 20)."""
    rng, found, independent = np.random.default_rng(0), [], []
    arms, readers, cases = 4, 3, 20
    for _ in range(250):
        latent = np.array([0.0, 0.2, 0.4, 0.6])[:, None, None] + 0.4 * rng.normal(size=(1, readers, 1))
        latent = latent + 1.0 * rng.normal(size=(1, 1, cases)) + 0.8 * rng.normal(size=(arms, readers, cases))
        images, case, arm = images_of(latent + 0.2 * rng.normal(size=(arms, readers, 1)))
        found.append(icc.intraclass(images, cases=case, arms=arm)["ICC(2,1)"])
        independent.append(icc.intraclass(images)["ICC(2,1)"])
    # By hand: arms 0.05 and cases 1 between images; readers 0.16, readers within arms 0.04 and residual 0.64 besides.
    truth = 1.05 / (1.05 + 0.16 + 0.04 + 0.64)
    assert 0.92 <= held(found, truth).mean() <= 0.98
    assert held(independent, truth).mean() < 0.9


def test_r21_alpha_over_all_images_covers_the_agreement_of_readers_and_cases():
    """Answers of the ordinal model; 0.3347 by quadrature, 0.3341 from two million pairs of simulated answers."""
    assumptions = Assumptions((0.0, 1.0, 2.5), deviations=dict(zip(TERMS, (0.5, 0.8, 0.3, 0.5), strict=True)))
    rng, found = np.random.default_rng(1), []
    for _ in range(150):
        images, case, arm = images_of(assumptions.answer(assumptions.draw(5, 40, rng), rng))
        found.append(agreement.krippendorff_alpha(images, 5, case, arms=arm))
    # A bootstrap over cases, the readers fixed, covers some 80 %.
    assert 0.92 <= held(found, 0.3344).mean() <= 0.98


@pytest.mark.large
@pytest.mark.parametrize(
    "readers, cases, arms, spread",
    [
        (3, 20, (0.0, 1.0, 2.0, 3.0), (0.5, 0.8, 0.3, 0.5)),
        (3, 20, (0.0, 1.0, 2.0, 3.0), (0.5, 0.0, 0.3, 0.0)),
        (3, 20, (0.0, 0.0, 0.0, 0.0), (0.5, 1.6, 0.3, 0.5)),
        (5, 40, (0.0, 1.0, 2.5), (0.5, 0.8, 0.3, 0.5)),
        (5, 40, (0.0, 1.0, 2.5), (0.5, 0.0, 0.3, 0.0)),
    ],
)
def test_r21_agreement_is_covered_with_and_without_case_effects(readers, cases, arms, spread, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import agreement_coverage

    assumptions = Assumptions(arms, deviations=dict(zip(TERMS, spread, strict=True)))
    truth, rng = agreement_coverage.true_agreement(assumptions), np.random.default_rng(2)
    found = {name: [] for name in truth}
    for _ in range(400):
        images, case, arm = images_of(assumptions.answer(assumptions.draw(readers, cases, rng), rng))
        coefficients = icc.intraclass(images, cases=case, arms=arm)
        coefficients["alpha"] = agreement.krippendorff_alpha(images, 5, case, arms=arm)
        for name, values in found.items():
            values.append(coefficients[name])
    # Two standard errors of 400 studies are 2 %.
    assert all(0.92 <= held(values, truth[name]).mean() <= 0.99 for name, values in found.items())


def test_true_agreement_of_the_benchmark_is_the_correlation_of_two_readers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import agreement_coverage

    spread = dict(zip(TERMS, (0.5, 0.8, 0.3, 0.5), strict=True))
    assumptions, rng = Assumptions((0.0, 1.0, 2.5), deviations=spread), np.random.default_rng(0)
    image = np.array(assumptions.effects)[rng.integers(0, 3, 200_000)] + np.hypot(0.8, 0.5) * rng.normal(size=200_000)
    pairs = [assumptions.answer(image + np.hypot(0.5, 0.3) * rng.normal(size=200_000), rng) for _ in range(2)]
    truth = agreement_coverage.true_agreement(assumptions)
    assert truth["ICC(2,1)"] == pytest.approx(np.corrcoef(*pairs)[0, 1], abs=0.006)
    ranks = scipy.stats.rankdata(np.concatenate(pairs)).reshape(2, -1)
    assert truth["alpha"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=0.006)


def test_r22_mean_squares_of_shrout_and_fleiss_table():
    found = mean_squares.mean_squares(SHROUT_FLEISS.astype(float), np.arange(6), np.zeros(6))
    assert [round(square, 2) for square in (found.bms, found.jms, found.ems)] == [11.24, 32.49, 1.02]
    assert (found.bms_freedom, found.jms_freedom, found.ems_freedom) == (5, 3, 15)


def test_missing_answers_leave_the_residual_of_least_squares():
    answered = ~np.isnan(KRIPPENDORFF)
    image, reader = np.nonzero(answered)
    design = np.hstack([np.eye(12)[image], np.eye(4)[reader]])
    _, _, rank, _ = np.linalg.lstsq(design, KRIPPENDORFF[answered], rcond=None)
    fitted = design @ np.linalg.lstsq(design, KRIPPENDORFF[answered], rcond=None)[0]
    squares = ((KRIPPENDORFF[answered] - fitted) ** 2).sum() / (answered.sum() - rank)
    found = mean_squares.mean_squares(KRIPPENDORFF, np.arange(12), np.zeros(12))
    assert found.ems == pytest.approx(squares) and found.ems_freedom == answered.sum() - rank


def test_images_are_divided_by_arms_and_cases_as_by_least_squares():
    # Of 4 cases in 3 arms, two images are missing.
    arm, case = np.delete(np.repeat(np.arange(3), 4), [1, 6]), np.delete(np.tile(np.arange(4), 3), [1, 6])
    values = np.random.default_rng(0).normal(size=(10, 1))
    values -= values.mean()

    def rest(*columns):
        design = np.hstack([np.ones((10, 1)), *columns])
        return ((values - design @ np.linalg.lstsq(design, values, rcond=None)[0]) ** 2).sum()

    arms, both = rest(np.eye(3)[arm]), rest(np.eye(3)[arm], np.eye(4)[case])
    found = mean_squares._split(values, case, arm)
    np.testing.assert_allclose((found.arm, found.case, found.rest), ((values**2).sum() - arms, arms - both, both))
    assert found.freedom == (2, 3, 4)


def test_copies_of_an_image_add_no_degrees_of_freedom():
    found = mean_squares.mean_squares(
        np.repeat(RATINGS, 6, axis=0).astype(float), np.repeat(np.arange(8), 6), np.zeros(48)
    )
    # Of eight cases 7, and of cases x three readers 14, as without the copies.
    np.testing.assert_allclose((found.bms_freedom, found.jms_freedom, found.ems_freedom), (7, 2, 14))


def test_r22_one_case_or_readers_apart_have_no_interval():
    one = icc.intraclass(np.array([[1, 2], [5, 4], [3, 3]]), cases=[7, 7, 7], arms=[0, 1, 2])["ICC(2,1)"]
    assert one.value > 0.5 and one.low is None and one.note == "one case: no interval"
    apart = np.array([[1, 2, N, N], [4, 5, N, N], [N, N, 1, 2], [N, N, 5, 5]])
    found = agreement.krippendorff_alpha(apart, 5, range(4))
    assert found.value > 0.5 and found.low is None and "too few answers in common" in found.note


@pytest.mark.parametrize("level", ["ordinal", "interval"])
def test_r22_alpha_of_images_with_equal_means_has_no_interval(level):
    found = agreement.krippendorff_alpha(np.array([[1, 5], [5, 1], [1, 5]]), 5, range(3), level)
    assert found.value < 0 and found.low is None and "no interval" in found.note


def test_r22_arms_of_one_image_each_leave_an_interval_around_the_value():
    # Two images of two arms: the arms explain all variance between images.
    for found in icc.intraclass(np.array([[3, 5, 1, 4], [3, 1, 5, 5]]), cases=[0, 1], arms=[0, 1]).values():
        assert -1 <= found.low <= found.value <= found.high <= 1 and found.high - found.low < 2
    few = np.array([[N, 1, 5, 1], [1, N, N, 4], [5, N, 2, 1]])
    found = agreement.krippendorff_alpha(few, 5, range(3))
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_bootstrap_interval_of_few_cases_is_as_wide_as_a_t_interval():
    # Plain percentiles are 9 % narrower with 20 cases: sqrt(19 / 20) * 1.96 / 2.09.
    rng = np.random.default_rng(0)
    images = np.clip(rng.integers(2, 5, (20, 1)) + rng.integers(-1, 2, (20, 7)), 1, 5)
    shares = [np.mean([a == b for a, b in itertools.combinations(row, 2)]) for row in images]
    low, high = scipy.stats.t.interval(0.95, 19, np.mean(shares), scipy.stats.sem(shares))
    found = agreement.raw_agreement(images, 5, range(20))
    assert found.value == pytest.approx(np.mean(shares))
    assert found.high - found.low == pytest.approx(high - low, rel=0.05)
