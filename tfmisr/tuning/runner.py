"""A process for each trial: its memory goes back to the system, and what kills it kills nothing else."""

import dataclasses
import json
import os
import secrets
import socket
import subprocess
import time

import keras_tuner

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.tuning import processes, results

COMMAND = (*processes.BOUND, "tfmisr.tuning.trial")


class Taken(Exception):
    """Another process works on the trial: this one was taken for lost."""


class Runner:
    """Runs trials, one after another.

    Args:
        sweep: `tfmisr.tuning.sweep.Sweep`.
        space: What it searches.
        alive: Called with the trial's number every few seconds while it runs.
        tick: Called with the trial's folder every second while it runs.
        command: What is started, with the trial's folder after it.
        every: Seconds between the signs of life.
    """

    def __init__(self, sweep, space, alive, tick=lambda home: None, command=COMMAND, every: float = 10.0):
        self.sweep, self.space, self.folder = sweep, space, sweep.folder
        self.alive, self.tick, self.command, self.every = alive, tick, command, every
        self.name = f"{socket.gethostname()}:{os.getpid()}"

    def run(self, trial_id: str) -> dict:
        """Returns what became of a trial, running it where that is not known yet.

        Raises:
            Taken: Another process has begun to run it.
        """
        if found := results.read(self.folder, trial_id):
            return found
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
            self._ask(home, config, values)
            result = self._watch(home, token)
        except InputError as error:
            result = {"status": "failed", "reason": " ".join(str(error).split())}
        result = {**shared, **result, "seconds": round(time.monotonic() - started, 1)}
        results.write(self.folder, trial_id, result)
        return result

    def _values(self, trial_id) -> dict:
        """Returns the values as the oracle wrote them: on the wire their floats lose bits."""
        text = (self.folder / "oracle" / f"trial_{trial_id}" / "trial.json").read_text(encoding="utf-8")
        return json.loads(text)["hyperparameters"]["values"]

    def _configured(self, values):
        parameters = keras_tuner.HyperParameters()
        parameters.values = dict(values)
        return self.space.configured(parameters)

    def _ask(self, home, config, values) -> None:
        """Writes what the trial's process needs to know."""
        until, previous = None, None
        if self.sweep.tuner == "hyperband":
            until = self.sweep.steps_of(values["tuner/epochs"])
            previous = values.get("tuner/trial_id") or None
        asked = {"config": dataclasses.asdict(config), "until": until, "previous": previous, "values": values}
        asked |= {k: getattr(self.sweep, k) for k in ("objective", "max_params", "max_ms", "tile")}
        write_text(home / "trial.json", json.dumps(asked, indent=2) + "\n")

    def _watch(self, home, token) -> dict:
        """Runs the trial's process to its end and returns what it found, or why it found nothing."""
        with open(home / "log.txt", "ab") as log:
            begin = log.tell()
            process = processes.start([*self.command, str(home)], stdout=log, stderr=subprocess.STDOUT)
            try:
                late = self._wait(process, home, token)
            finally:
                process.kill()
                process.wait()
                process.stdin.close()
        if late:
            return {"status": "failed", "reason": f"it took longer than {self.sweep.trial_hours:g} hours"}
        found = home / "found.json"
        if process.returncode == 0 and found.is_file():
            return json.loads(found.read_text(encoding="utf-8"))
        return {"status": "failed", "reason": processes.reason(process.returncode, home / "log.txt", begin)}

    def _wait(self, process, home, token) -> bool:
        started = signed = time.monotonic()
        while True:
            try:
                process.wait(1)
                return False
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            self.tick(home)
            if (home / "claim").read_text(encoding="utf-8") != token:
                raise Taken(f"trial {home.name} is run by {(home / 'claim').read_text(encoding='utf-8')}")
            if now - signed > self.every:
                self.alive(home.name)
                signed = now
            if self.sweep.trial_hours and now - started > 3600 * self.sweep.trial_hours:
                return True
