"""Randomization: reproducible, balanced, with minimum distances."""

import collections
import dataclasses

import numpy as np
import pytest

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.ordering import Plan, order

CASES, ARMS = tuple(f"c{i}" for i in range(12)), ("a", "b", "c", "d")
PLAN = Plan(CASES, ("t1", "t2"), ARMS, (), 3, 0.15, 8, 4)


def rated(plan, reader):
    return [trial for trial in order(plan, reader) if not trial.training]


#
def test_same_reader_has_the_same_order_and_another_has_another():
    assert order(PLAN, "anna") == order(PLAN, "anna")
    assert order(PLAN, "anna") != order(PLAN, "ben")
    assert order(PLAN, "anna") != order(dataclasses.replace(PLAN, seed=4), "anna")


#
def test_every_case_has_every_arm_once_besides_repeats():
    trials = [trial for trial in rated(PLAN, "anna") if not trial.repeat]
    assert collections.Counter((t.case, t.arms) for t in trials) == {(c, (a,)): 1 for c in CASES for a in ARMS}


#
@pytest.mark.parametrize("reader", map(str, range(30)))
def test_images_of_one_case_are_far_enough_apart(reader):
    trials = order(dataclasses.replace(PLAN, pairs=(("a", "b"), ("c", "d"))), reader)
    last = {}
    for position, trial in enumerate(trials):
        if not trial.training:
            assert position - last.get(trial.case, -99) >= 4
            last[trial.case] = position


#
def test_arms_are_balanced_over_thirds():
    for reader in range(50):
        trials = [t for t in rated(PLAN, str(reader)) if not t.repeat]
        for third in np.array_split(np.arange(len(trials)), 3):
            counts = collections.Counter(trials[i].arms for i in third)
            assert len(counts) == 4 and max(counts.values()) - min(counts.values()) <= 3


#
def test_over_1000_readers_arms_and_cases_are_uniform_at_every_position():
    stats = pytest.importorskip("scipy.stats")
    plan = dataclasses.replace(PLAN, cases=CASES[:6], repeat_distance=5, min_distance=3)
    rows = [rated(plan, f"reader {i}") for i in range(1000)]
    lowest = []
    for what, kinds in ((lambda t: t.arms[0], 4), (lambda t: t.case, 6)):
        for place in range(len(rows[0])):
            counts = list(collections.Counter(what(row[place]) for row in rows).values())
            assert len(counts) == kinds
            lowest.append(stats.chisquare(counts).pvalue)
    # Of so many tests the smallest p is small by chance: Bonferroni at 1 %.
    assert min(lowest) > 0.01 / len(lowest)
    assert stats.kstest(lowest, "uniform").pvalue > 0.001


#
def test_over_1000_readers_every_arm_follows_every_other_equally_often():
    stats = pytest.importorskip("scipy.stats")
    plan = dataclasses.replace(PLAN, cases=CASES[:6], repeats=0.0, min_distance=3)
    pairs = collections.Counter()
    for reader in range(1000):
        trials = rated(plan, str(reader))
        place = reader % (len(trials) - 1)  # one pair a reader, so that the counts are independent
        pairs[trials[place].arms + trials[place + 1].arms] += 1
    unequal = [n for (first, second), n in pairs.items() if first != second]
    assert len(unequal) == 12 and stats.chisquare(unequal).pvalue > 0.001


#
def test_training_comes_first_and_repeats_come_late_and_from_all_arms():
    for reader in range(30):
        trials = order(PLAN, str(reader))
        assert [t.training for t in trials] == [True] * 8 + [False] * (len(trials) - 8)
        assert {t.case for t in trials[:8]} == {"t1", "t2"}
        repeats = [t for t in trials if t.repeat]
        assert len(repeats) == 7  # 15 % of 48
        counts = collections.Counter(t.arms for t in repeats)
        assert max(counts.values()) - min(counts.values()) <= 1 and len(counts) == 4
        assert len({(t.case, t.arms) for t in repeats}) == 7
        for repeat in repeats:
            first = trials.index(dataclasses.replace(repeat, repeat=False))
            assert trials.index(repeat) - first >= 8


#
def test_sessions_part_the_arms_of_a_case():
    trials = rated(dataclasses.replace(PLAN, sessions=2), "anna")
    assert [t.session for t in trials] == sorted(t.session for t in trials)
    for session in (1, 2):
        own = [t for t in trials if t.session == session and not t.repeat]
        assert collections.Counter(t.case for t in own) == dict.fromkeys(CASES, 2)
        assert collections.Counter(t.arms for t in own) == {(arm,): 6 for arm in ARMS}


#
@pytest.mark.parametrize("sessions", [2, 4])
def test_repeats_keep_their_distance_across_sessions(sessions):
    plan = dataclasses.replace(PLAN, sessions=sessions, min_distance=4, repeats=0.2)
    for reader in range(60):
        row = [trial.case for trial in rated(plan, str(reader))]
        assert all(len(set(row[at : at + 4])) == 4 for at in range(len(row) - 3))


#
def test_paired_comparisons_come_last_and_balance_left_and_right():
    stats = pytest.importorskip("scipy.stats")
    plan = dataclasses.replace(PLAN, pairs=(("a", "b"), ("a", "c"), ("b", "c")))
    sides = collections.Counter()
    for reader in range(200):
        trials = rated(plan, str(reader))
        assert [len(t.arms) for t in trials] == [1] * 55 + [2] * 36
        preferences = trials[55:]
        expected = {(c, p): 1 for c in CASES for p in plan.pairs}
        assert collections.Counter((t.case, tuple(sorted(t.arms))) for t in preferences) == expected
        left = collections.Counter(t.arms == tuple(sorted(t.arms)) for t in preferences)
        assert left == {True: 18, False: 18}
        sides[preferences[reader % 36].arms] += 1
    assert stats.chisquare(list(sides.values())).pvalue > 0.001 and len(sides) == 6


def test_infeasible_distances_are_an_input_error():
    with pytest.raises(InputError, match="no position for 2 repeats"):
        order(Plan(("c1", "c2"), (), ("a", "b"), (), 0, 0.5, 9, 1), "anna")
