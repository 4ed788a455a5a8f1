"""What a sweep shows while it runs: a row for each trial that ends, and a bar with the one that runs."""

import csv
import sys
import time

from tqdm import tqdm

from tfmisr.edge.text import counted
from tfmisr.tuning import results
from tfmisr.tuning.sweep import OBJECTIVES


class Board:
    """Rows in the order in which trials end: number, what became of it, score, best setting, time left, values.

    A row's score is the trial's own. The best setting so far is told by its mean over the seeds that have ended, with
    the numbers of their trials, as at the search's end.

    Args:
        sweep: `tfmisr.tuning.sweep.Sweep`.
        expected: Number of trials of the whole search.
    """

    def __init__(self, sweep, expected: int | None):
        self.objective, self.folder, self.expected = sweep.objective, sweep.folder, expected
        self.found = results.read_all(sweep.folder)
        self.shown = {result["trial"] for result in self.found}
        self.started, self.before = time.monotonic(), len(self.found)
        if self.found:
            print(f"going on after {counted(len(self.found), 'trial')}, best setting {self._best()}")
        head = f"{'trial':>5}  {'':9}  {self.objective:>9}  {'best setting':>17}  {'took':>8}  {'left':>8}  values"
        print("best setting: its mean over the seeds so far, and their trials\n" + head, flush=True)
        # In a log file the rows are enough.
        self.bar = tqdm(total=expected, initial=len(self.found), desc="sweep", unit=" trials", disable=None)

    def _best(self) -> str:
        top = results.best(self.found, self.objective, OBJECTIVES[self.objective])
        if not top:
            return "none"
        repeats = results.repeated(self.found, top, self.objective)
        return f"{results.mean(repeats, self.objective):.4f} ({','.join(result['trial'] for result in repeats)})"

    def ended(self, result: dict) -> None:
        """Shows a trial that has ended, once."""
        if result["trial"] in self.shown:
            return
        self.shown.add(result["trial"])
        self.found.append(result)
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
        done = len(self.found) - self.before
        if not self.expected or not done:
            return None
        return (time.monotonic() - self.started) / done * max(self.expected - len(self.found), 0)

    def gather(self) -> None:
        """Shows the trials that others have ended."""
        for path in (self.folder / "trials").glob("*/result.json"):
            if path.parent.name not in self.shown:
                self.ended(results.read(self.folder, path.parent.name))
        self.bar.refresh()

    def running(self, home) -> None:
        """Shows how far the trial in this folder is."""
        try:
            with open(home / "history.csv", newline="", encoding="utf-8") as file:
                step = list(csv.DictReader(file))[-1]["step"]
        except (OSError, IndexError):
            step = 0
        self.bar.set_postfix_str(f"trial {home.name} at step {step}, best setting {self._best()}")

    def close(self) -> None:
        """Ends the bar's line."""
        self.bar.close()


def _short(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"
