"""Expected numbers: R's BradleyTerry2, from tests/oracles/preferences.R, and hand calculation."""

import numpy as np
import pytest

from tfmisr.reader_study.statistics.preferences import strengths


def listed(wins, ties=None):
    """Comparisons that add up to a table of wins and one of ties."""
    first, second, outcome = [], [], []
    for i, row in enumerate(wins):
        for j, count in enumerate(row):
            tied = ties[i][j] if ties else 0
            first += [i] * (count + tied)
            second += [j] * (count + tied)
            outcome += [1] * count + [0] * tied
    return first, second, outcome


def fitted(wins, ties=None, arms=None):
    first, second, outcome = listed(wins, ties)
    number = np.arange(len(first))
    return strengths(first, second, outcome, arms or len(wins), number % 4, number % 7)


def test_without_ties_it_is_the_model_of_bradleyterry2():
    found = fitted([[0, 7, 9], [3, 0, 6], [1, 4, 0]])
    relative = found.log_strength - found.log_strength[0]
    np.testing.assert_allclose(relative, [0, -1.103766547, -1.727051003], atol=1e-6)
    assert found.ties == 0 and found.note == "" and found.log_strength.sum() == pytest.approx(0)


def test_ties_are_davidsons():
    # Two arms, 6 wins, 2 losses, 4 ties: three shares, two parameters. Strengths are as 6 to 2, ties 4 / sqrt(6 * 2).
    found = fitted([[0, 6], [2, 0]], [[0, 4], [0, 0]])
    assert found.log_strength[0] - found.log_strength[1] == pytest.approx(np.log(3))
    assert found.ties == pytest.approx(4 / 12**0.5)


def test_sides_do_not_matter():
    first, second, outcome = listed([[0, 7, 9], [3, 0, 6], [1, 4, 0]])
    readers, cases = np.arange(30) % 4, np.arange(30) % 7
    one = strengths(first, second, outcome, 3, readers, cases)
    other = strengths(second, first, [-o for o in outcome], 3, readers, cases)
    np.testing.assert_allclose(one.log_strength, other.log_strength, atol=1e-7)
    np.testing.assert_allclose(one.high, other.high, rtol=1e-5)


def test_readers_of_one_mind_widen_the_interval():
    outcome = np.repeat([1, 1, 1, -1], 20)
    first, second, cases = np.zeros(80, int), np.ones(80, int), np.tile(np.arange(20), 4)
    opinionated = strengths(first, second, outcome, 2, np.repeat(np.arange(4), 20), cases)
    mixed = strengths(first, second, np.tile([1, 1, 1, -1], 20), 2, np.repeat(np.arange(4), 20), cases)
    np.testing.assert_allclose(opinionated.log_strength, mixed.log_strength, atol=1e-6)
    assert opinionated.high[0] - opinionated.low[0] > 2 * (mixed.high[0] - mixed.low[0])


@pytest.mark.parametrize(
    "wins, ties, arms, why",
    [
        ([[0, 5], [0, 0]], None, 2, "some arm always won"),
        ([[0, 0], [0, 0]], [[0, 5], [0, 0]], 2, "no image was ever preferred"),
        ([[0, 5, 0], [2, 0, 0], [0, 0, 0]], None, 3, "not compared"),
    ],
)
def test_r22_degenerate_comparisons_give_a_sentence(wins, ties, arms, why):
    found = fitted(wins, ties, arms)
    assert why in found.note
    assert found.log_strength is None or np.isfinite(found.log_strength).all()


def test_one_comparison_has_no_interval():
    found = strengths([0], [1], [1], 2, [0], [0])
    assert found.low is None and "no intervals" in found.note
