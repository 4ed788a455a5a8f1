"""Expected numbers: the cited tables, and tests/oracles/agreement.py."""

import numpy as np
import pytest

from tfmisr.reader_study.statistics import agreement, icc

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
