import numpy as np
import pytest
import scipy.stats

from tfmisr.reader_study.statistics import primary
from tfmisr.reader_study.statistics.comparisons import case_averaged_wilcoxon, common_language, holm
from tfmisr.reader_study.statistics.simulation import Assumptions

N = np.nan


def drawn(effects, readers=4, cases=20, seed=0):
    rng, assumptions = np.random.default_rng(seed), Assumptions(tuple(effects))
    return assumptions.answer(assumptions.draw(readers, cases, rng), rng).astype(np.float64)


def test_r19_holm_by_hand():
    # Sorted: .01 * 4, .02 * 3, .03 * 2 and .04, none below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.2, None, 0.9]) == pytest.approx([0.4, None, 0.9])
    assert holm([]) == [] and holm([None]) == [None]


def test_r19_wilcoxon_is_scipys_on_averages_over_readers():
    scores = drawn((0, 1))
    differences = scores[1] - scores[0]
    found = case_averaged_wilcoxon(differences)
    expected = scipy.stats.wilcoxon(differences.sum(axis=0), zero_method="pratt", method="approx")
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.zeros == (differences.sum(axis=0) == 0).sum()


def test_r19_more_readers_with_equal_scores_are_not_more_cases():
    scores = drawn((0, 1), readers=1)
    differences = scores[1] - scores[0]
    assert case_averaged_wilcoxon(np.repeat(differences, 5, axis=0)) == case_averaged_wilcoxon(differences)


def test_rank_biserial_by_hand():
    # Ranks of 1, 2, 3, -4 are 1, 2, 3, 4: 6 in favour, 4 against, of 10.
    assert case_averaged_wilcoxon(np.array([[1.0, 2, 3, -4]])).rank_biserial == pytest.approx(0.2)
    # Pratt: the zero has rank 1, which counts for neither side; 2 + 3 + 4 in favor, 5 against, of 14.
    found = case_averaged_wilcoxon(np.array([[0.0, 1, 2, 3, -4]]))
    assert found.rank_biserial == pytest.approx(4 / 14) and found.zeros == 1


def test_averages_of_different_numbers_of_readers_are_tied_where_they_are_equal():
    third = np.array([[1.0, 1, 0.0], [0, 0, 1], [0, 0, 0], [N, 0.25, 1 / 3]])
    assert scipy.stats.rankdata(np.round(np.nanmean(third, axis=0), 9)).tolist() == [2.5, 1.0, 2.5]
    assert case_averaged_wilcoxon(third).cases == 3


def test_common_language_counts_draws_half():
    found = common_language(np.array([[1.0, 0, -1, 2], [1, 1, N, 0]]))
    assert found.mean == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 1 + 0.5) / 7)
    assert 0 <= found.low < found.high <= 1


@pytest.mark.parametrize("differences", [np.zeros((3, 5)), np.full((2, 2), N), np.zeros((0, 0))])
def test_r22_no_difference_at_all_has_no_test_but_a_sentence(differences):
    found = case_averaged_wilcoxon(differences)
    assert (found.p_value, found.rank_biserial, found.note) == (None, None, "no case with a difference")


def test_r19_primary_test_finds_a_large_difference_and_its_direction():
    found = primary.test_pairs(drawn((0, 0, 2.5), readers=5, cases=30))
    by_pair = {(p.first, p.second): p for p in found.pairs}
    assert set(by_pair) == {(1, 0), (2, 0), (2, 1)}
    assert {p.test for p in found.pairs} == {primary.ORDINAL}
    assert by_pair[2, 0].p_value < 0.01 and by_pair[2, 0].low > 1
    assert by_pair[1, 0].p_value > 0.05 and by_pair[1, 0].low < 1 < by_pair[1, 0].high


def test_r19_readers_who_disagree_on_an_arm_widen_its_odds_ratio():
    rng = np.random.default_rng(2)
    agree = Assumptions((0.0, 1.0), deviations={"reader": 0.5, "case": 0.8})
    differ = Assumptions((0.0, 1.0), deviations={"reader": 0.5, "case": 0.8, "reader:arm": 1.5})
    width = []
    for assumptions in (agree, differ):
        scores = assumptions.answer(assumptions.draw(8, 40, rng), rng).astype(np.float64)
        pair = primary.test_pairs(scores).pairs[0]
        width.append(np.log(pair.high / pair.low))
    assert width[1] > 2 * width[0]


def test_r19_arm_at_the_end_of_the_scale_falls_back_to_the_linear_model():
    scores = drawn((0, 1, 0))
    scores[2] = 5
    found = primary.test_pairs(scores)
    assert found.arms == (0, 1) and "no finite odds ratio" in found.note
    tests = {(p.first, p.second): p for p in found.pairs}
    assert tests[1, 0].test == primary.ORDINAL and tests[1, 0].note == ""
    assert tests[2, 0].test == primary.LINEAR and tests[2, 0].odds_ratio is None and tests[2, 0].p_value < 0.05
    assert "no finite odds ratio" in tests[2, 0].note


@pytest.mark.parametrize(
    "scores, why",
    [
        (np.full((2, 3, 4), 4.0), "all answers at one end"),
        (np.full((2, 3, 4), N), "no answers"),
        (np.stack([np.full((3, 4), 2.0), np.full((3, 4), 5.0)]), "all answers at one end"),
    ],
)
def test_r22_answers_without_a_model_give_a_sentence(scores, why):
    found = primary.test_pairs(scores)
    assert found.fit is None and why in found.note
    assert [p.p_value for p in found.pairs] in ([None], [1.0])


def test_one_reader_is_tested_over_cases_with_a_note():
    pair = primary.test_pairs(drawn((0, 2), readers=1, cases=40)).pairs[0]
    assert pair.p_value < 0.05 and "this reader only" in pair.note
