"""Simulated readers: answers drawn from a model. Their label and every exported row mark them as simulated."""

from collections.abc import Callable

import numpy as np

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.reader_study.answer import Answer
from tfmisr.reader_study.store import SIMULATED, Store, Trial

# Medians of the simulated times, ms.
_ELAPSED_MS, _FIRST_INPUT_MS = 9_000.0, 2_500.0


def answer_all_trials(store: Store, label: str, answer: Callable[[Trial], dict], seed: int = 0) -> None:
    """Adds a simulated reader and answers all trials through `Store.commit`, as the server does for the page.

    Args:
        store: Store of the study.
        label: Reader's label; must begin with `simulated-`.
        answer: Returns question key to score, 1 to 5, for a rating trial, `preference` to `left`, `right` or `none`
            for a paired comparison. Unlike a human reader, it sees the case, the arms, and the training and repeat
            flags.
        seed: Seed of the simulated times.

    Raises:
        InputError: The label has no `simulated-` prefix; or the study is closed or has a washout period, which takes
            real days.
    """
    if not label.startswith(SIMULATED):
        raise InputError(f"a simulated reader's label begins with {SIMULATED}. Received: {label}")
    store.add_reader(label, simulated=True)
    reader = {name: number for number, name in store.readers()}[label]
    if store.study.values["order"]["washout_days"] and store.study.values["order"]["sessions"] > 1:
        raise InputError("simulated readers cannot wait; build the study with washout_days = 0")
    rng = np.random.default_rng([seed, 4, reader])
    for trial in store.trials(reader):
        elapsed, first = (float(t * rng.lognormal(0, 0.3)) for t in (_ELAPSED_MS, _FIRST_INPUT_MS))
        window = store.study.presentation(trial.case).window
        times = (elapsed, min(first, elapsed), 0.0)
        submission = f"simulated {trial.position}"
        store.commit(reader, trial.token, Answer(answer(trial), submission, *times, window.center, window.width))


__getattr__ = renamed(__name__, read="answer_all_trials")
