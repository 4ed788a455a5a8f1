"""Readers that are no people. Their label, and every row that is exported of them, says so."""

from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.answer import Answer
from tfmisr.reader_study.store import SIMULATED, Store, Trial

# Medians of made-up times, ms.
_LOOKING, _FIRST = 9_000.0, 2_500.0


def read(store: Store, label: str, answer: Callable[[Trial], dict], seed: int = 0) -> None:
    """Adds a simulated reader and answers all of its trials, through the same door as a page's answers.

    Args:
        store: Of the study.
        label: Must begin with `simulated-`.
        answer: Returns question to score, 1 to 5, for a trial of one arm, `preference` to `left`, `right` or `none` for
            one of two. It is told what no reader knows: case, arms, training and repeat.
        seed: Of the times, which are made up too.

    Raises:
        InputError: Another label; or the study is closed or has a washout, which takes real days.
    """
    if not label.startswith(SIMULATED):
        raise InputError(f"a simulated reader's label begins with {SIMULATED}. Received: {label}")
    store.add_reader(label, simulated=True)
    reader = {known: number for number, known in store.readers()}[label]
    if store.study.values["order"]["washout_days"] and store.study.values["order"]["sessions"] > 1:
        raise InputError("simulated readers cannot wait; build the study with washout_days = 0")
    rng = np.random.default_rng([seed, 4, reader])
    for trial in store.trials(reader):
        elapsed, first = (float(t * rng.lognormal(0, 0.3)) for t in (_LOOKING, _FIRST))
        window = store.study.shown(trial.case).window
        times = (elapsed, min(first, elapsed), 0.0)
        submission = f"simulated {trial.position}"
        store.commit(reader, trial.token, Answer(answer(trial), submission, *times, window.center, window.width))
