"""Randomization: each reader's order of trials, a pure function of the study's seed and the reader's label.

Requirements R-03 and R-04. It is a restricted (blocked) randomization. The rated trials form rounds; a round shows each
case once and balances the arms over the cases. Within a round an arm is repeated only after all others, as far as the
minimum distance between images of one case allows. Arms, cases and rounds are shuffled for each reader, so every arm is
equally likely at every position.

Reference:
    Moher et al., CONSORT 2010 Explanation and Elaboration, item 8b, https://doi.org/10.1136/bmj.c869
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from tfmisr.edge.errors import InputError

_ATTEMPTS = 50

_Arms = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial: the images that a reader sees at a time.

    Attributes:
        case: Name of the case.
        arms: The rated arm, or the left and the right arm of a paired comparison.
        session: Session, from 1.
        training: Whether the trial belongs to the training block, which is not analyzed.
        repeat: Whether the trial is a repeat, for intra-reader agreement.
    """

    case: str
    arms: tuple[str, ...]
    session: int = 1
    training: bool = False
    repeat: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the randomization is based on.

    Attributes:
        cases: Names of the analyzed cases.
        training: Names of the cases of the training block.
        arms: Names of the arms.
        pairs: Pairs of arms for paired comparisons.
        seed: Seed of the study.
        repeats: Share of the rated trials that are repeated.
        repeat_distance: Minimum number of trials from a trial to its repeat.
        min_distance: Minimum number of trials between two images of one case.
        sessions: Number of sessions, with nearly equal numbers of rounds.
    """

    cases: tuple[str, ...]
    training: tuple[str, ...]
    arms: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    seed: int = 0
    repeats: float = 0.0
    repeat_distance: int = 1
    min_distance: int = 1
    sessions: int = 1


def order(plan: Plan, reader: str) -> list[Trial]:
    """Returns all trials of a reader: the training block, the rated trials by session, then the paired comparisons.

    Args:
        plan: What the randomization is based on.
        reader: Label of the reader.

    Raises:
        InputError: The distances leave no position for the repeats.
    """
    digest = hashlib.sha256(f"{plan.seed}/{reader}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    trials = _training(plan, rng)
    rounds = _rounds(plan, [(arm,) for arm in plan.arms], rng)
    rated = []
    for session, indices in enumerate(np.array_split(np.arange(len(rounds)), plan.sessions), 1):
        rated += [dataclasses.replace(trial, session=session) for index in indices for trial in rounds[index]]
    for session in range(1, plan.sessions + 1):
        rated = _with_repeats(plan, rated, session, rng)
    trials += rated
    previous = trials[-plan.min_distance :]
    for group in _rounds(plan, _both_orders(plan), rng, previous):
        trials += [dataclasses.replace(trial, session=plan.sessions) for trial in group]
    return trials


def _training(plan: Plan, rng: np.random.Generator) -> list[Trial]:
    pairs = [(case, arm) for case in plan.training for arm in plan.arms]
    return [Trial(pairs[i][0], (pairs[i][1],), training=True) for i in rng.permutation(len(pairs))]


def _both_orders(plan: Plan) -> list[tuple[_Arms, _Arms]]:
    """Returns each pair in both left-right orders, as one item; `_rounds` assigns one of the two to a case."""
    return [(pair, pair[::-1]) for pair in plan.pairs]


def _rounds(plan: Plan, items: Sequence, rng: np.random.Generator, previous: Sequence[Trial] = ()) -> list[list[Trial]]:
    """Returns one round for each item; over all rounds each case is combined with each item once, cyclically.

    Args:
        plan: What the randomization is based on.
        items: Tuples of arms; or the two left-right orders of a pair, of which half of the cases get one.
        rng: Random generator.
        previous: Trials right before the first round.
    """
    if not items:
        return []
    cases = [plan.cases[i] for i in rng.permutation(len(plan.cases))]
    items = [items[i] for i in rng.permutation(len(items))]
    steps = rng.permutation(len(items))
    flips = rng.permutation(len(cases)) % 2
    rounds, before = [], list(previous)
    for number, step in enumerate(steps):
        assigned = {case: items[(rank + step) % len(items)] for rank, case in enumerate(cases)}
        if isinstance(items[0][0], tuple):
            assigned = {case: item[(flips[i] + number) % 2] for i, (case, item) in enumerate(assigned.items())}
        order = _case_order(assigned, [trial.case for trial in before], plan.min_distance, rng)
        rounds.append([Trial(case, assigned[case]) for case in order])
        before += rounds[-1]
    return rounds


def _case_order(assigned: dict[str, _Arms], before: list[str], distance: int, rng: np.random.Generator) -> list[str]:
    """Returns the cases of a round in random order, the arms in turn as far as the distance allows.

    A case that was shown less than `distance` trials ago is not eligible; there is always an eligible one, as
    `distance` is at most the number of cases.

    Args:
        assigned: Case to the arms that it shows in this round.
        before: Cases of the trials before the round.
        distance: Minimum number of trials between two images of one case.
        rng: Random generator.
    """
    sequence = before[len(before) - min(len(before), distance - 1) :]
    remaining, shown_arms, order = list(assigned), set(), []
    while remaining:
        recent = set(sequence[max(0, len(sequence) - distance + 1) :])
        eligible = [case for case in remaining if case not in recent]
        preferred = [case for case in eligible if assigned[case] not in shown_arms]
        if not preferred:
            shown_arms = set()
            preferred = eligible
        case = preferred[rng.integers(len(preferred))]
        shown_arms.add(assigned[case])
        remaining.remove(case)
        sequence.append(case)
        order.append(case)
    return order


def _with_repeats(plan: Plan, rated: list[Trial], session: int, rng: np.random.Generator) -> list[Trial]:
    """Returns all rated trials with the repeats of one session inserted."""
    of_session = [trial for trial in rated if trial.session == session]
    count = int(len(of_session) * plan.repeats + 0.5)
    for _ in range(_ATTEMPTS):
        trials = _insert_repeats(plan, rated, of_session, count, rng)
        if trials is not None:
            return trials
    raise InputError(
        f"no position for {count} repeats at least {plan.repeat_distance} trials later among {len(of_session)} trials; "
        "lower [order] repeats, repeat_distance or min_distance"
    )


def _insert_repeats(
    plan: Plan, rated: list[Trial], of_session: list[Trial], count: int, rng: np.random.Generator
) -> list[Trial] | None:
    """Returns the trials with repeats inserted, the arms in turn, or `None` if there was no admissible position."""
    arms = [plan.arms[i] for i in rng.permutation(len(plan.arms))]
    trials, repeated = list(rated), set()
    for number in range(count):
        arm = arms[number % len(arms)]
        originals = [t for t in of_session if t.arms == (arm,) and t not in repeated]
        shuffled = (originals[i] for i in rng.permutation(len(originals)))
        trial, positions = next(((t, p) for t in shuffled if (p := _positions(plan, trials, t))), (None, None))
        if trial is None:
            return None
        repeated.add(trial)
        trials.insert(positions[rng.integers(len(positions))], dataclasses.replace(trial, repeat=True))
    return trials


def _positions(plan: Plan, trials: list[Trial], trial: Trial) -> list[int]:
    """Returns where in its session a repeat may be inserted; the distance also holds to trials of other sessions."""
    first = trials.index(trial) + plan.repeat_distance
    last = max(i for i, other in enumerate(trials) if other.session == trial.session)
    near = plan.min_distance - 1
    same_case = [i for i, other in enumerate(trials) if other.case == trial.case]
    # The trial at `i` is `at - i` trials before the inserted one, or `i - at + 1` after it.
    return [at for at in range(first, last + 2) if all(at - i > near or i - at + 1 > near for i in same_case)]
