"""The oracles of a sweep: Keras Tuner's random search, Bayesian optimization and Hyperband, and a grid.

Defects of Keras Tuner 1.4.7 and 1.4.8 that these work around, each found in its source; see also
`tfmisr.tuning.recoverable_oracle`:

* After a restart its grid search has lost the remaining combinations, and stops.
* The Bayesian oracle proposes values that were tried before, and ignores failed trials: beyond a limit such as
  `--max_params` it proposes nearly the same values again and again.
* In Hyperband a failed trial is neither promoted nor replaced: if as many fail as a round drops, none is promoted.
"""

import itertools
import json
import math

import keras_tuner
from keras_tuner import oracles

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.tuning.recoverable_oracle import RecoverableOracle
from tfmisr.tuning.space import DeclaredSpace, ModelSpace
from tfmisr.tuning.sweep import OBJECTIVES, Sweep

LARGEST_GRID = 100_000


class Grid(RecoverableOracle):
    """All combinations; the last parameter varies fastest, but `seed` slowest."""

    def prepare(self, sweep: Sweep) -> None:
        """See `RecoverableOracle.prepare`."""
        self.combinations = _combinations(self.get_space())
        super().prepare(sweep)
        self.max_trials = min(sweep.max_trials or LARGEST_GRID, len(self.combinations))

    def populate_space(self, trial_id: str) -> dict:
        """Returns the values of a trial; see `keras_tuner.Oracle.populate_space`."""
        return {"status": "RUNNING", "values": dict(self.combinations[int(trial_id)])}


def _combinations(space) -> list[dict]:
    ordered = sorted(space.space, key=lambda parameter: parameter.name != "seed")
    size, combinations = 1, {}
    for parameter in ordered:
        size *= len(list(parameter.values))
        if size > LARGEST_GRID:
            raise InputError(f"a grid may have {LARGEST_GRID} combinations. Received: more; use --tuner random")
    for values in itertools.product(*(parameter.values for parameter in ordered)):
        space.values = dict(zip((parameter.name for parameter in ordered), values, strict=True))
        active = {p.name: space.values[p.name] for p in space.space if space.is_active(p)}
        combinations.setdefault(json.dumps(active, sort_keys=True), active)
    return list(combinations.values())


class Random(RecoverableOracle, oracles.RandomSearchOracle):
    """Keras Tuner's random search."""


class Bayesian(RecoverableOracle, oracles.BayesianOptimizationOracle):
    """Keras Tuner's Bayesian optimization; random values replace values that were tried before.

    Trials that failed or exceeded a limit get the worst score of the others, so that their neighborhood is avoided.
    """

    def populate_space(self, trial_id: str) -> dict:
        """Returns the values of a trial; see `keras_tuner.Oracle.populate_space`."""
        proposed = super().populate_space(trial_id)
        if proposed["values"] and self._duplicate(proposed["values"]):
            return self._random_populate_space()
        return proposed

    def _vectorize_trials(self):
        scores = [trial.score for trial in self.trials.values() if trial.status == "COMPLETED"]
        with self._failed_as(min(scores) if self.objective.direction == "max" else max(scores)):
            return super()._vectorize_trials()


class Hyperband(RecoverableOracle, oracles.HyperbandOracle):
    """Keras Tuner's Hyperband; an epoch is `Sweep.shortest` steps. Failed trials are the first to be dropped."""

    def populate_space(self, trial_id: str) -> dict:
        """Returns the values of a trial; see `keras_tuner.Oracle.populate_space`."""
        while True:
            with self._failed_as(-math.inf if self.objective.direction == "max" else math.inf):
                proposed = super().populate_space(trial_id)
            previous = (proposed.get("values") or {}).get("tuner/trial_id")
            if previous is None or self.trials[previous].status == "COMPLETED":
                return proposed
            # Fewer trials completed than are promoted: the failed trial fills the slot without being run.
            entries = (entry for bracket in self._brackets for group in bracket["rounds"] for entry in group)
            next(entry for entry in entries if entry["id"] == trial_id)["id"] = previous

    @property
    def expected(self) -> int:
        """Number of trials of the complete search."""
        brackets = range(self._get_num_brackets())
        complete = sum(self._get_size(bracket, i) for bracket in brackets for i in range(bracket + 1))
        return min(complete, self.max_trials or complete)


def make(sweep: Sweep, space: DeclaredSpace | ModelSpace) -> RecoverableOracle:
    """Returns the oracle of a sweep, in the state in which an earlier process left it.

    Args:
        sweep: The sweep.
        space: Its search space.

    Raises:
        InputError: The search space is empty, or too large for a grid.
    """
    parameters = keras_tuner.HyperParameters()
    space.declare(parameters)
    if not parameters.space:
        raise InputError(f"the model {sweep.base.model} has nothing to search; give --space FILE")
    shared = {
        "objective": keras_tuner.Objective(sweep.objective, OBJECTIVES[sweep.objective]),
        "hyperparameters": parameters,
        "seed": sweep.seed,
        "max_consecutive_failed_trials": -1,  # `_stop_if_all_fail` does it without raising
    }
    classes = {"grid": Grid, "random": Random, "bayesian": Bayesian, "hyperband": Hyperband}
    if sweep.tuner == "hyperband":
        shared |= {"max_epochs": sweep.epochs, "factor": sweep.factor}
    oracle = classes[sweep.tuner](**shared)
    oracle.prepare(sweep)
    return oracle


__getattr__ = renamed(__name__, Dependable="tfmisr.tuning.recoverable_oracle.RecoverableOracle")
