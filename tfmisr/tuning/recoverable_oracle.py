"""`RecoverableOracle`: what all oracles here add to Keras Tuner's, so that a sweep survives killed processes.

Defects of Keras Tuner 1.4.7 and 1.4.8 that this works around, each found in its source:

* Files are written in place; a killed process leaves half of one. Here writes are atomic.
* A trial that ended just before the chief was killed is still listed as running and is run again (after
  keras-tuner#976). A trial whose worker was killed stays listed forever, and the chief never ends (#915).
* Messages between processes have 24-bit floats: a learning rate comes back changed, so equal values count as new.
* An exception inside a synchronized method keeps the lock forever.
"""

import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable, Iterator

import keras_tuner
from keras_tuner.engine import trial as trials
from keras_tuner.src.engine import oracle as locks

from tfmisr.edge.files import write_text
from tfmisr.tuning import results
from tfmisr.tuning.sweep import Sweep

_ADVICE = "restore the sweep's folder from a copy, or choose another --workdir"
_MAX_FAILURES = 5  # without any success, after which a search stops


def _synchronized(method: Callable) -> Callable:
    """Locks a method as `keras_tuner.synchronized` does, and releases the lock if it raises."""
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


class RecoverableOracle(keras_tuner.Oracle):
    """Base class of the oracles; precedes one of Keras Tuner's in the list of base classes.

    Attributes:
        stopped: Nothing is left to propose, and no trial is running.
        hopeless: Why the search was stopped early, or `None`.
        failure: Exception that was raised while a request was served, or `None`.
    """

    def prepare(self, sweep: Sweep) -> None:
        """Resumes the sweep from its folder, or starts it."""
        self.sweep, self.folder = sweep, sweep.folder
        self.max_trials = sweep.max_trials
        self.stopped, self.hopeless, self.failure = False, None, None
        self.trial_seen = {}  # trial -> time of its worker's last message
        self.worker_seen = {}  # worker -> time of its last message
        self.verbose = 0
        self._set_project_dir(str(self.folder), "oracle")
        if (self.folder / "oracle" / "oracle.json").is_file():
            self.reload()

    def save(self) -> None:
        """Writes the state of the oracle atomically."""
        write_text(self._get_oracle_fname(), json.dumps(self.get_state()))

    def _save_trial(self, trial):
        write_text(f"{self._get_trial_dir(trial.trial_id)}/trial.json", json.dumps(trial.get_state()))

    def reload(self) -> None:
        """Reads the state of an earlier process, and queues the trials that it left running.

        Raises:
            InputError: A file is damaged.
        """
        with results.damage_named(self.folder / "oracle" / "oracle.json", _ADVICE):
            state = json.loads((self.folder / "oracle" / "oracle.json").read_text(encoding="utf-8"))
            # A trial is saved before it is handed out: one that is not in oracle.json was not run.
            for trial_id in state["start_order"]:
                self.trials[trial_id] = self._trial(trial_id)
            self.set_state(state)
            self._queue()

    def _trial(self, trial_id):
        path = self.folder / "oracle" / f"trial_{trial_id}" / "trial.json"
        with results.damage_named(path, _ADVICE):
            return trials.Trial.from_state(json.loads(path.read_text(encoding="utf-8")))

    def _queue(self):
        running = {trial_id for trial_id, trial in self.trials.items() if trial.status == "RUNNING"}
        self.ongoing_trials = {w: t for w, t in self.ongoing_trials.items() if t.trial_id in running}
        owned = {trial.trial_id for trial in self.ongoing_trials.values()}
        self._retry_queue = [trial_id for trial_id in self.start_order if trial_id in running - owned]
        ended = [trial_id for trial_id in self.start_order if trial_id not in running | set(self.end_order)]
        self.end_order += ended
        for worker, trial in self.ongoing_trials.items():
            self.tuner_ids.add(worker)
            self.trial_seen[trial.trial_id] = self.worker_seen[worker] = time.monotonic()

    def retry_failed(self) -> int:
        """Queues the failed trials to run again, and returns their number."""
        for trial_id in [t for t in self.end_order if (results.read(self.folder, t) or {}).get("status") == "failed"]:
            results.remove(self.folder, trial_id)
            self.trials[trial_id].status = "RUNNING"
            self.end_order.remove(trial_id)
            self._retry_queue.append(trial_id)
            self._save_trial(self.trials[trial_id])
        self.save()
        return len(self._retry_queue)

    @_synchronized
    def create_trial(self, tuner_id: str) -> trials.Trial:
        """Returns the next trial of a worker; see `keras_tuner.Oracle.create_trial`."""
        self.worker_seen[tuner_id] = time.monotonic()
        self._stop_if_all_fail()
        trial = super().create_trial(tuner_id)
        if trial.status == "RUNNING":
            self.trial_seen[trial.trial_id] = time.monotonic()
        elif trial.status == "STOPPED" and self.ongoing_trials and not self.hopeless:
            # A worker may still die; another one must remain to take over its trial.
            trial.status = "IDLE"
            self.tuner_ids.add(tuner_id)
        elif trial.status == "STOPPED":
            self.stopped = True
        return trial

    def _stop_if_all_fail(self):
        ended = [results.read(self.folder, trial_id) or {} for trial_id in self.end_order[:_MAX_FAILURES]]
        if len(ended) == _MAX_FAILURES and all(r.get("status") == "failed" for r in ended) and not self._succeeded():
            self.hopeless = f"the first {_MAX_FAILURES} trials failed, the last one so: {ended[-1]['reason']}"
            self.max_trials = len(self.trials)

    @contextlib.contextmanager
    def _failed_as(self, score: float) -> Iterator[None]:
        """Treats failed trials as completed with this score while the block runs."""
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

    @_synchronized
    def get_trial(self, trial_id: str) -> trials.Trial:
        """Returns a trial; the call is also its worker's heartbeat."""
        self.trial_seen[trial_id] = time.monotonic()
        for worker, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self.worker_seen[worker] = time.monotonic()
        return self.trials[trial_id]

    @_synchronized
    def drop_lost(self, timeout: float) -> list[tuple[str, str]]:
        """Queues the trials of workers without a heartbeat for `timeout` seconds; returns (worker, trial) of each."""
        now, lost = time.monotonic(), []
        for worker, trial in list(self.ongoing_trials.items()):
            if now - self.trial_seen[trial.trial_id] > timeout:
                del self.ongoing_trials[worker]
                self._retry_queue.append(trial.trial_id)
                lost.append((worker, trial.trial_id))
        busy = set(self.ongoing_trials)
        self.tuner_ids -= {w for w in self.tuner_ids - busy if now - self.worker_seen.get(w, now) > timeout}
        if lost:
            self.save()
        return lost

    @_synchronized
    def end_trial(self, trial: trials.Trial) -> None:
        """Ends a trial with the status in its `result.json`; ending it twice has no effect."""
        trial_id = trial.trial_id
        if trial_id in self.end_order or trial_id not in self.trials:
            return
        if trial_id in self._retry_queue:
            self._retry_queue.remove(trial_id)
        stored = self.trials[trial_id]
        result = self._result(trial_id)
        stored.message = result["reason"]
        if result["status"] == "completed":
            self.update_trial(trial_id, {self.objective.name: result[self.objective.name]})
        stored.status = "COMPLETED" if result["status"] == "completed" else "FAILED"
        super().end_trial(stored)
        self.save()

    def _result(self, trial_id):
        for _ in range(5):
            # Listing a folder refreshes the cache of a network file system.
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
        """Number of trials of the complete search; `None` if unlimited."""
        return self.max_trials

    @property
    def exhausted(self) -> bool:
        """Whether all trials have ended, even if no worker is connected."""
        waiting = self.ongoing_trials or self._retry_queue
        return self.expected is not None and len(self.trials) >= self.expected and not waiting
