"""The progress display of a sweep: a row for each completed trial, and a bar with the running one."""

import csv
import pathlib
import sys
import time

from tqdm import tqdm

from tfmisr.edge.text import counted
from tfmisr.tuning import results
from tfmisr.tuning.sweep import OBJECTIVES, Sweep


class Board:
    """Prints rows in the order in which trials end: number, status, score, best setting, remaining time, values.

    The score is that of the trial. The best setting so far is shown with its mean score over the seeds that have
    ended and the numbers of their trials.

    Args:
        sweep: The sweep.
        expected: Number of trials of the complete search; `None` if unlimited.

    Attributes:
        results: Results of the trials that have ended.
    """

    def __init__(self, sweep: Sweep, expected: int | None):
        self.objective, self.folder, self.expected = sweep.objective, sweep.folder, expected
        self.results = results.read_all(sweep.folder)
        self.shown = {result["trial"] for result in self.results}
        self.started, self.completed_before = time.monotonic(), len(self.results)
        if self.results:
            print(f"resuming after {counted(len(self.results), 'trial')}, best setting {self._best()}")
        head = f"{'trial':>5}  {'':9}  {self.objective:>9}  {'best setting':>17}  {'took':>8}  {'left':>8}  values"
        print("best setting: its mean over the seeds so far, and their trials\n" + head, flush=True)
        # `disable=None`: no bar where stderr is not a terminal.
        self.bar = tqdm(total=expected, initial=len(self.results), desc="sweep", unit=" trials", disable=None)

    def _best(self) -> str:
        top = results.best(self.results, self.objective, OBJECTIVES[self.objective])
        if not top:
            return "none"
        repeats = results.repeated(self.results, top, self.objective)
        return f"{results.mean(repeats, self.objective):.4f} ({','.join(result['trial'] for result in repeats)})"

    def ended(self, result: dict) -> None:
        """Prints the row of a trial that has ended, once."""
        if result["trial"] in self.shown:
            return
        self.shown.add(result["trial"])
        self.results.append(result)
        score = result.get(self.objective)
        values = " ".join(f"{k}={_short(v)}" for k, v in result["values"].items())
        row = (
            f"{result['trial']:>5}  {result['status']:9}  {'-' if score is None else format(score, '.4f'):>9}  "
            f"{self._best():>17}  {_duration(result.get('seconds')):>8}  {_duration(self._left()):>8}  {values}"
        )
        self.bar.write(row + (f"  [{result['reason']}]" if result["reason"] else ""))
        sys.stdout.flush()
        self.bar.update(1)

    def _left(self) -> float | None:
        completed = len(self.results) - self.completed_before
        if not self.expected or not completed:
            return None
        return (time.monotonic() - self.started) / completed * max(self.expected - len(self.results), 0)

    def gather(self) -> None:
        """Prints the rows of trials that other processes have ended."""
        for path in (self.folder / "trials").glob("*/result.json"):
            if path.parent.name not in self.shown:
                self.ended(results.read(self.folder, path.parent.name))
        self.bar.refresh()

    def running(self, home: pathlib.Path) -> None:
        """Shows the current step of the trial in this folder."""
        try:
            with open(home / "history.csv", newline="", encoding="utf-8") as file:
                step = list(csv.DictReader(file))[-1]["step"]
        except (OSError, IndexError):
            step = 0
        self.bar.set_postfix_str(f"trial {home.name} at step {step}, best setting {self._best()}")

    def close(self) -> None:
        """Closes the bar."""
        self.bar.close()


def _short(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"
