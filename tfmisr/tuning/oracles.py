"""Keras Tuner's oracles, made to survive kills, lost workers and chiefs, and to propose nothing twice.

What they mend in Keras Tuner 1.4.7 and 1.4.8, each seen in its source:

* Files are written in place; a kill leaves half of one. Here they appear whole.
* A trial that ended just before a chief was killed is still in its list of running ones and is run again (after
  keras-tuner#976). A trial whose worker is killed stays in it for good, and the chief never ends (#915).
* Its grid forgets on restart which combinations are left, and stops.
* The wire has 24-bit floats: a learning rate comes back changed, so the same values count as new.
* The Bayesian oracle proposes values that were tried before, and does not learn from trials that failed: beyond a
  limit such as `--max_params` it proposes much the same again and again.
* In Hyperband a trial that failed goes neither on nor out: where as many fail as a round drops, nobody goes on.
* One failed check raises in the middle of a lock, which nobody can take any more.
"""

import contextlib
import functools
import itertools
import json
import math
import threading
import time

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine import trial as trials
from keras_tuner.src.engine import oracle as locks

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.tuning import results
from tfmisr.tuning.sweep import OBJECTIVES, Sweep

LARGEST_GRID = 100_000
_HOPELESS = 5  # failures without any success after which a search stops


def _alone(method):
    """Keeps other threads out, as `keras_tuner.synchronized`, and lets them in again where the method raises."""
    synchronized = keras_tuner.synchronized(method)

    @functools.wraps(method)
    def guarded(self, *args):
        try:
            return synchronized(self, *args)
        except BaseException as error:
            self.failure = error
            if locks.THREADS[self] == threading.current_thread().name:
                locks.THREADS[self] = None
                locks.LOCKS[self].release()
            raise

    return guarded


class Dependable(keras_tuner.Oracle):
    """What all oracles here share; stands before one of Keras Tuner's.

    Attributes:
        stopped: Nothing is left to propose, and no trial is running.
        hopeless: Why the search was given up, or `None`.
        failure: What was raised while another thread or process was answered, or `None`.
    """

    def prepare(self, sweep: Sweep) -> None:
        """Reads what an earlier process of the same sweep left, or starts anew."""
        self.sweep, self.folder = sweep, sweep.folder
        self.max_trials = sweep.max_trials
        self.stopped, self.hopeless, self.failure = False, None, None
        self.seen = {}  # trial -> when its worker was last heard of
        self.heard = {}  # worker -> the same
        self.verbose = 0
        self._set_project_dir(str(self.folder), "oracle")
        if (self.folder / "oracle" / "oracle.json").is_file():
            self.reload()

    def save(self):
        write_text(self._get_oracle_fname(), json.dumps(self.get_state()))

    def _save_trial(self, trial):
        write_text(f"{self._get_trial_dir(trial.trial_id)}/trial.json", json.dumps(trial.get_state()))

    def reload(self):
        state = json.loads((self.folder / "oracle" / "oracle.json").read_text(encoding="utf-8"))
        # A trial is noted before it is handed out: one that oracle.json does not know was not run.
        for trial_id in state["start_order"]:
            path = self.folder / "oracle" / f"trial_{trial_id}" / "trial.json"
            self.trials[trial_id] = trials.Trial.load(str(path))
        self.set_state(state)
        running = {trial_id for trial_id, trial in self.trials.items() if trial.status == "RUNNING"}
        self.ongoing_trials = {w: t for w, t in self.ongoing_trials.items() if t.trial_id in running}
        owned = {trial.trial_id for trial in self.ongoing_trials.values()}
        self._retry_queue = [trial_id for trial_id in self.start_order if trial_id in running - owned]
        ended = [trial_id for trial_id in self.start_order if trial_id not in running | set(self.end_order)]
        self.end_order += ended
        for worker, trial in self.ongoing_trials.items():
            self.tuner_ids.add(worker)
            self.seen[trial.trial_id] = self.heard[worker] = time.monotonic()

    def retry_failed(self) -> int:
        """Sends the trials that failed to be run again, and returns how many those are."""
        for trial_id in [t for t in self.end_order if (results.read(self.folder, t) or {}).get("status") == "failed"]:
            results.forget(self.folder, trial_id)
            self.trials[trial_id].status = "RUNNING"
            self.end_order.remove(trial_id)
            self._retry_queue.append(trial_id)
            self._save_trial(self.trials[trial_id])
        self.save()
        return len(self._retry_queue)

    @_alone
    def create_trial(self, tuner_id):
        self.heard[tuner_id] = time.monotonic()
        self._give_up()
        trial = super().create_trial(tuner_id)
        if trial.status == "RUNNING":
            self.seen[trial.trial_id] = time.monotonic()
        elif trial.status == "STOPPED" and self.ongoing_trials and not self.hopeless:
            # The worker of one of these may die yet; somebody has to be there to take it over.
            trial.status = "IDLE"
            self.tuner_ids.add(tuner_id)
        elif trial.status == "STOPPED":
            self.stopped = True
        return trial

    def _give_up(self):
        ended = [results.read(self.folder, trial_id) or {} for trial_id in self.end_order[:_HOPELESS]]
        if len(ended) == _HOPELESS and all(r.get("status") == "failed" for r in ended) and not self._succeeded():
            self.hopeless = f"the first {_HOPELESS} trials failed, the last one so: {ended[-1]['reason']}"
            self.max_trials = len(self.trials)

    @contextlib.contextmanager
    def _failed_as(self, score: float):
        """Lets trials that failed stand as completed ones with such a score for a while."""
        failed = [trial for trial in self.trials.values() if trial.status == "FAILED"]
        for trial in failed:
            trial.status, trial.score = "COMPLETED", score
        try:
            yield
        finally:
            for trial in failed:
                trial.status, trial.score = "FAILED", None

    def _succeeded(self):
        return any(trial.status == "COMPLETED" for trial in self.trials.values())

    @_alone
    def get_trial(self, trial_id):
        """Returns a trial, and notes that its worker is alive: workers ask every few seconds."""
        self.seen[trial_id] = time.monotonic()
        for worker, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self.heard[worker] = time.monotonic()
        return self.trials[trial_id]

    @_alone
    def drop_lost(self, patience: float) -> list[tuple[str, str]]:
        """Takes trials from workers that were silent for `patience` seconds; returns (worker, trial) of each."""
        now, lost = time.monotonic(), []
        for worker, trial in list(self.ongoing_trials.items()):
            if now - self.seen[trial.trial_id] > patience:
                del self.ongoing_trials[worker]
                self._retry_queue.append(trial.trial_id)
                lost.append((worker, trial.trial_id))
        busy = set(self.ongoing_trials)
        self.tuner_ids -= {w for w in self.tuner_ids - busy if now - self.heard.get(w, now) > patience}
        if lost:
            self.save()
        return lost

    @_alone
    def end_trial(self, trial):
        """Ends a trial by what its `result.json` says; a second report of the same trial changes nothing."""
        trial_id = trial.trial_id
        if trial_id in self.end_order or trial_id not in self.trials:
            return
        if trial_id in self._retry_queue:
            self._retry_queue.remove(trial_id)
        own = self.trials[trial_id]
        result = self._result(trial_id)
        own.message = result["reason"]
        if result["status"] == "completed":
            self.update_trial(trial_id, {self.objective.name: result[self.objective.name]})
        own.status = "COMPLETED" if result["status"] == "completed" else "FAILED"
        super().end_trial(own)
        self.save()

    def _result(self, trial_id):
        for _ in range(5):
            # Listing a folder makes network file systems look again.
            if any(path.name == "result.json" for path in results.home(self.folder, trial_id).glob("*")):
                return results.read(self.folder, trial_id)
            time.sleep(1)
        result = {"trial": trial_id, "status": "failed", "values": self.trials[trial_id].hyperparameters.values}
        result |= {
            "seed": None,
            "reason": f"the chief finds no result in {self.folder}: is it the workers' folder too?",
        }
        results.home(self.folder, trial_id).mkdir(parents=True, exist_ok=True)
        results.write(self.folder, trial_id, result)
        return result

    @property
    def expected(self) -> int | None:
        """The number of trials that a whole search has."""
        return self.max_trials

    @property
    def exhausted(self) -> bool:
        """Whether all trials have been made and have ended, even if no worker is there to be told."""
        waiting = self.ongoing_trials or self._retry_queue
        return self.expected is not None and len(self.trials) >= self.expected and not waiting


class Grid(Dependable):
    """Every combination, the last parameter changing fastest, but a seed slowest: repeats come one after another."""

    def prepare(self, sweep):
        self.combinations = _combinations(self.get_space())
        super().prepare(sweep)
        self.max_trials = min(sweep.max_trials or LARGEST_GRID, len(self.combinations))

    def populate_space(self, trial_id):
        return {"status": "RUNNING", "values": dict(self.combinations[int(trial_id)])}


def _combinations(space) -> list[dict]:
    ordered = sorted(space.space, key=lambda parameter: parameter.name != "seed")
    size, found = 1, {}
    for parameter in ordered:
        size *= len(list(parameter.values))
        if size > LARGEST_GRID:
            raise InputError(f"a grid may have {LARGEST_GRID} combinations. Received: more; use --tuner random")
    for values in itertools.product(*(parameter.values for parameter in ordered)):
        space.values = dict(zip((parameter.name for parameter in ordered), values, strict=True))
        active = {p.name: space.values[p.name] for p in space.space if space.is_active(p)}
        found.setdefault(json.dumps(active, sort_keys=True), active)
    return list(found.values())


class Random(Dependable, oracles.RandomSearchOracle):
    """Keras Tuner's random search."""


class Bayesian(Dependable, oracles.BayesianOptimizationOracle):
    """Keras Tuner's Bayesian optimization; what it has tried before makes place for random values.

    Trials that failed or were beyond a limit count as the worst of the others, so that it looks elsewhere.
    """

    def populate_space(self, trial_id):
        proposed = super().populate_space(trial_id)
        if proposed["values"] and self._duplicate(proposed["values"]):
            return self._random_populate_space()
        return proposed

    def _vectorize_trials(self):
        scores = [trial.score for trial in self.trials.values() if trial.status == "COMPLETED"]
        with self._failed_as(min(scores) if self.objective.direction == "max" else max(scores)):
            return super()._vectorize_trials()


class Hyperband(Dependable, oracles.HyperbandOracle):
    """Keras Tuner's Hyperband; an epoch is `Sweep.shortest` steps. Trials that failed are the first to be dropped."""

    def populate_space(self, trial_id):
        while True:
            with self._failed_as(-math.inf if self.objective.direction == "max" else math.inf):
                proposed = super().populate_space(trial_id)
            previous = (proposed.get("values") or {}).get("tuner/trial_id")
            if previous is None or self.trials[previous].status == "COMPLETED":
                return proposed
            # Fewer are left than may go on: the failed one takes its place without being run.
            entries = (entry for bracket in self._brackets for own in bracket["rounds"] for entry in own)
            next(entry for entry in entries if entry["id"] == trial_id)["id"] = previous

    @property
    def expected(self):
        rounds = range(self._get_num_brackets())
        whole = sum(self._get_size(bracket, i) for bracket in rounds for i in range(bracket + 1))
        return min(whole, self.max_trials or whole)


def make(sweep: Sweep, space) -> Dependable:
    """Returns the oracle of a sweep, as an earlier process left it.

    Args:
        sweep: The sweep.
        space: What it searches: `tfmisr.tuning.space.Declared` or `Own`.
    """
    parameters = keras_tuner.HyperParameters()
    space.declare(parameters)
    if not parameters.space:
        raise InputError(f"the model {sweep.base.model} has nothing to search; give --space FILE")
    shared = {
        "objective": keras_tuner.Objective(sweep.objective, OBJECTIVES[sweep.objective]),
        "hyperparameters": parameters,
        "seed": sweep.seed,
        "max_consecutive_failed_trials": -1,  # `_give_up` does it without raising
    }
    kinds = {"grid": Grid, "random": Random, "bayesian": Bayesian, "hyperband": Hyperband}
    if sweep.tuner == "hyperband":
        shared |= {"max_epochs": sweep.epochs, "factor": sweep.factor}
    oracle = kinds[sweep.tuner](**shared)
    oracle.prepare(sweep)
    return oracle
