"""The loop of whoever runs trials, on one machine or beside a chief."""

import time

from tfmisr.edge.errors import InputError
from tfmisr.tuning.runner import Taken

_IDLE = 2.0  # seconds


def search(oracle, tuner_id: str, run, ended=lambda result: None) -> None:
    """Runs trials until there are none.

    Args:
        oracle: An oracle, or a `tfmisr.tuning.service.Client` of one.
        tuner_id: This process's name.
        run: Function from a trial's number to its result; see `tfmisr.tuning.runner.Runner.run`.
        ended: Called with each result.

    Raises:
        InputError: Another process has the same name.
    """
    taken = None
    while True:
        trial = oracle.create_trial(tuner_id)
        if trial.status == "STOPPED":
            return
        if trial.status == "IDLE":
            time.sleep(_IDLE)
            continue
        try:
            result = run(trial.trial_id)
        except Taken as error:
            if taken == trial.trial_id:
                raise InputError(f"{error} under this KERASTUNER_TUNER_ID, {tuner_id}; give each its own") from error
            taken = trial.trial_id
            continue
        trial.status = "COMPLETED" if result["status"] == "completed" else "FAILED"
        oracle.end_trial(trial)
        ended(result)
