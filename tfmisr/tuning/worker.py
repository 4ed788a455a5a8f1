"""The loop of a process that runs trials, alone or for a chief."""

import time
from collections.abc import Callable

from tfmisr.edge.errors import InputError
from tfmisr.tuning.recoverable_oracle import RecoverableOracle
from tfmisr.tuning.runner import TrialReassigned
from tfmisr.tuning.service import Client

_IDLE = 2.0  # seconds


def search(
    oracle: RecoverableOracle | Client,
    tuner_id: str,
    run: Callable[[str], dict],
    ended: Callable[[dict], None] = lambda result: None,
) -> None:
    """Runs trials until none is left.

    Args:
        oracle: An oracle, or a `tfmisr.tuning.service.Client` of one.
        tuner_id: Name of this process.
        run: Function from a trial's number to its result; see `tfmisr.tuning.runner.Runner.run`.
        ended: Called with each result.

    Raises:
        InputError: Another process has the same name.
    """
    reassigned = None
    while True:
        trial = oracle.create_trial(tuner_id)
        if trial.status == "STOPPED":
            return
        if trial.status == "IDLE":
            time.sleep(_IDLE)
            continue
        try:
            result = run(trial.trial_id)
        except TrialReassigned as error:
            if reassigned == trial.trial_id:
                raise InputError(f"{error} under this KERASTUNER_TUNER_ID, {tuner_id}; give each its own") from error
            reassigned = trial.trial_id
            continue
        trial.status = "COMPLETED" if result["status"] == "completed" else "FAILED"
        oracle.end_trial(trial)
        ended(result)
