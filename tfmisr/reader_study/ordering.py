"""In which order a reader sees what: a pure function of the study's seed and the reader's label (R-03, R-04).

Judged trials come in rounds. In a round each case comes once, and the arms are dealt to the cases so that each comes
equally often, and twice only after the others have come once as far as the distances allow. Arms, cases and rounds are
shuffled for each reader, so at every place every arm is equally likely.
"""

import dataclasses
import hashlib

import numpy as np

from tfmisr.edge.errors import InputError

_TRIES = 50


@dataclasses.dataclass(frozen=True)
class Trial:
    """One screen.

    Attributes:
        case: The case's name.
        arms: The arm to judge, or the left and the right one of a preference.
        session: From 1.
        training: Is not analysed.
        repeat: Comes for the second time.
    """

    case: str
    arms: tuple[str, ...]
    session: int = 1
    training: bool = False
    repeat: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """What there is to be ordered.

    Attributes:
        cases: Names of the judged cases.
        training: Names of the cases of the training block.
        arms: Names of the arms.
        pairs: Pairs of arms for preferences.
        seed: Of the study.
        repeats: Share of the judged trials that come a second time.
        repeat_distance: Trials at least from a trial to its repetition.
        min_distance: Trials at least from one of a case to the next one of it.
        sessions: Parts with about equally many rounds.
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
    """Returns all trials of a reader: the training block, then session by session, preferences at the very end.

    Raises:
        InputError: The distances leave no place for the repetitions.
    """
    digest = hashlib.sha256(f"{plan.seed}/{reader}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    trials = _training(plan, rng)
    rounds = _rounds(plan, [(arm,) for arm in plan.arms], rng)
    judged = []
    for session, chosen in enumerate(np.array_split(np.arange(len(rounds)), plan.sessions), 1):
        judged += [dataclasses.replace(trial, session=session) for index in chosen for trial in rounds[index]]
    for session in range(1, plan.sessions + 1):
        judged = _with_repeats(plan, judged, session, rng)
    trials += judged
    previous = trials[-plan.min_distance :]
    for group in _rounds(plan, _sided(plan, rng), rng, previous):
        trials += [dataclasses.replace(trial, session=plan.sessions) for trial in group]
    return trials


def _training(plan, rng):
    pairs = [(case, arm) for case in plan.training for arm in plan.arms]
    return [Trial(pairs[i][0], (pairs[i][1],), training=True) for i in rng.permutation(len(pairs))]


def _sided(plan, rng):
    """Returns each pair both ways round, as one item of which a case gets one way: see `_rounds`."""
    return [(pair, pair[::-1]) for pair in plan.pairs]


def _rounds(plan, items, rng, previous=()):
    """Returns a round for each item; over all rounds each case meets each item once.

    Args:
        items: Tuples of arms; or tuples of the two ways round of a pair, of which half of the cases get one.
        previous: Trials that come right before.
    """
    if not items:
        return []
    cases = [plan.cases[i] for i in rng.permutation(len(plan.cases))]
    items = [items[i] for i in rng.permutation(len(items))]
    steps = rng.permutation(len(items))
    flips = rng.permutation(len(cases)) % 2
    rounds, before = [], list(previous)
    for number, step in enumerate(steps):
        dealt = {case: items[(rank + step) % len(items)] for rank, case in enumerate(cases)}
        if isinstance(items[0][0], tuple):
            dealt = {case: item[(flips[i] + number) % 2] for i, (case, item) in enumerate(dealt.items())}
        found = _arranged(dealt, [trial.case for trial in before], plan.min_distance, rng)
        rounds.append([Trial(case, dealt[case]) for case in found])
        before += rounds[-1]
    return rounds


def _arranged(dealt, before, distance, rng):
    """Returns the cases of a round in an order in which what they are dealt comes in turn as far as it can.

    A case that came less than `distance` trials ago has to wait; there is always another one, as `distance` is at
    most the number of cases.
    """
    row = before[len(before) - min(len(before), distance - 1) :]
    left, turn, found = list(dealt), set(), []
    while left:
        recent = set(row[max(0, len(row) - distance + 1) :])
        allowed = [case for case in left if case not in recent]
        fresh = [case for case in allowed if dealt[case] not in turn]
        if not fresh:
            turn = set()
            fresh = allowed
        case = fresh[rng.integers(len(fresh))]
        turn.add(dealt[case])
        left.remove(case)
        row.append(case)
        found.append(case)
    return found


def _with_repeats(plan, judged, session, rng):
    """Returns all judged trials with the repetitions of one session put in."""
    own = [trial for trial in judged if trial.session == session]
    count = int(len(own) * plan.repeats + 0.5)
    for _ in range(_TRIES):
        row = _inserted(plan, judged, own, count, rng)
        if row is not None:
            return row
    raise InputError(
        f"no place for {count} repetitions at least {plan.repeat_distance} trials later among {len(own)} trials; "
        "lower [order] repeats, repeat_distance or min_distance"
    )


def _inserted(plan, judged, own, count, rng):
    """Returns the trials with repetitions put in, the arms in turn, or `None` where there was no place."""
    arms = [plan.arms[i] for i in rng.permutation(len(plan.arms))]
    row, chosen = list(judged), set()
    for number in range(count):
        arm = arms[number % len(arms)]
        originals = [t for t in own if t.arms == (arm,) and t not in chosen]
        shuffled = (originals[i] for i in rng.permutation(len(originals)))
        trial, places = next(((t, p) for t in shuffled if (p := _places(plan, row, t))), (None, None))
        if trial is None:
            return None
        chosen.add(trial)
        row.insert(places[rng.integers(len(places))], dataclasses.replace(trial, repeat=True))
    return row


def _places(plan, row, trial):
    """Returns where in its session a repetition of a trial may be put in, at a distance from other sessions, too."""
    first = row.index(trial) + plan.repeat_distance
    last = max(i for i, other in enumerate(row) if other.session == trial.session)
    near = plan.min_distance - 1
    taken = [i for i, other in enumerate(row) if other.case == trial.case]
    # What stands at `i` is `at - i` before the place, or `i - at + 1` after it.
    return [at for at in range(first, last + 2) if all(at - i > near or i - at + 1 > near for i in taken)]
