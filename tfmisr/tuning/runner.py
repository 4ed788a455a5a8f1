"""Runs each trial in a separate process, which frees its memory and isolates crashes."""

import dataclasses
import json
import os
import pathlib
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Sequence

import keras_tuner

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.tuning import processes, results
from tfmisr.tuning.space import DeclaredSpace, ModelSpace
from tfmisr.tuning.sweep import Sweep

COMMAND = (*processes.BOUND, "tfmisr.tuning.trial")


class TrialReassigned(Exception):
    """Another process runs the trial, because the chief considered this one lost."""


class Runner:
    """Runs trials, one after another.

    Args:
        sweep: The sweep.
        space: Its search space.
        heartbeat: Called with the trial's number every few seconds while it runs.
        tick: Called with the trial's folder every second while it runs.
        command: Command of a trial's process, to which the trial's folder is appended.
        every: Seconds between heartbeats.
    """

    def __init__(
        self,
        sweep: Sweep,
        space: DeclaredSpace | ModelSpace,
        heartbeat: Callable[[str], object],
        tick: Callable[[pathlib.Path], None] = lambda home: None,
        command: Sequence[str] = COMMAND,
        every: float = 10.0,
    ):
        self.sweep, self.space, self.folder = sweep, space, sweep.folder
        self.heartbeat, self.tick, self.command, self.every = heartbeat, tick, command, every
        self.name = f"{socket.gethostname()}:{os.getpid()}"

    def run(self, trial_id: str) -> dict:
        """Returns the result of a trial; runs it if there is none yet.

        Raises:
            TrialReassigned: Another process runs it.
        """
        if result := results.read(self.folder, trial_id):
            return result
        home = results.home(self.folder, trial_id)
        home.mkdir(parents=True, exist_ok=True)
        token = f"{self.name}:{secrets.token_hex(4)}"
        write_text(home / "claim", token)
        values = self._values(trial_id)
        searched = {k: v for k, v in values.items() if not k.startswith("tuner/")}
        shared = {"trial": trial_id, "values": searched, "seed": values.get("seed", self.sweep.base.seed)}
        started = time.monotonic()
        try:
            config = dataclasses.replace(self._configured(values), workdir=str(home))
            self._write_trial(home, config, values)
            result = self._watch(home, token)
        except InputError as error:
            result = {"status": "failed", "reason": " ".join(str(error).split())}
        result = {**shared, **result, "seconds": round(time.monotonic() - started, 1)}
        results.write(self.folder, trial_id, result)
        return result

    def _values(self, trial_id) -> dict:
        """Returns the values from the oracle's file: messages between processes round floats to 24 bits."""
        path = self.folder / "oracle" / f"trial_{trial_id}" / "trial.json"
        with results.damage_named(path, "restore the sweep's folder from a copy, or choose another --workdir"):
            return json.loads(path.read_text(encoding="utf-8"))["hyperparameters"]["values"]

    def _configured(self, values):
        parameters = keras_tuner.HyperParameters()
        parameters.values = dict(values)
        return self.space.configured(parameters)

    def _write_trial(self, home, config, values) -> None:
        """Writes `trial.json`, the input of the trial's process."""
        until, previous = None, None
        if self.sweep.tuner == "hyperband":
            until = self.sweep.steps_of(values["tuner/epochs"])
            previous = values.get("tuner/trial_id") or None
        trial = {"config": dataclasses.asdict(config), "until": until, "previous": previous, "values": values}
        trial |= {k: getattr(self.sweep, k) for k in ("objective", "max_params", "max_ms", "tile")}
        write_text(home / "trial.json", json.dumps(trial, indent=2) + "\n")

    def _watch(self, home, token) -> dict:
        """Runs the trial's process and returns its measurements, or the reason of its failure."""
        with open(home / "log.txt", "ab") as log:
            begin = log.tell()
            process = processes.start([*self.command, str(home)], stdout=log, stderr=subprocess.STDOUT)
            try:
                timed_out = self._wait(process, home, token)
            finally:
                process.kill()
                process.wait()
                process.stdin.close()
        if timed_out:
            return {"status": "failed", "reason": f"it took longer than {self.sweep.trial_hours:g} hours"}
        measured = home / "found.json"
        if process.returncode == 0 and measured.is_file():
            return json.loads(measured.read_text(encoding="utf-8"))
        return {"status": "failed", "reason": processes.reason(process.returncode, home / "log.txt", begin)}

    def _wait(self, process, home, token) -> bool:
        """Waits for the process; returns whether it exceeded the time limit of a trial."""
        started = beat = time.monotonic()
        while True:
            try:
                process.wait(1)
                return False
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            self.tick(home)
            if (home / "claim").read_text(encoding="utf-8") != token:
                raise TrialReassigned(f"trial {home.name} is run by {(home / 'claim').read_text(encoding='utf-8')}")
            if now - beat > self.every:
                self.heartbeat(home.name)
                beat = now
            if self.sweep.trial_hours and now - started > 3600 * self.sweep.trial_hours:
                return True


__getattr__ = renamed(__name__, Taken="TrialReassigned")
