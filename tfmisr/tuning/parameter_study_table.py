"""Reads the table of trials that a sweep writes, `study.csv`, into a `ParameterStudy`."""

import csv
import dataclasses
import io
import math
import os
import pathlib

import numpy as np

from tfmisr.edge.errors import InputError

_LARGEST_FILE = 2**26  # bytes
_COLUMNS = ("trial", "status", "seed", "parameters", "multiply_adds", "reason")


@dataclasses.dataclass(frozen=True)
class ParameterStudy:
    """The completed trials of a parameter study.

    Attributes:
        factors: Searched parameters with more than one value: name to sorted levels.
        settings: For each combination of levels, its scores, one per seed.
        costs: For each combination, `parameters` and `multiply_adds`.
        seeds: Number of different seeds.
        left_out: (trial, status, reason) of the trials that were not completed.
        direction: `max` or `min`: which scores are better.
        steps: Minimum and maximum steps of the included runs, if the table has them.
        shorter: Number of completed trials that are not included, because longer ones continued them.
        bicubic: Mean score of bicubic interpolation on the same images, if the table has it.
    """

    factors: dict[str, list]
    settings: dict[tuple, np.ndarray]
    costs: dict[tuple, dict[str, float]]
    seeds: int
    left_out: list[tuple[str, str, str]]
    direction: str = "max"
    steps: tuple[int, int] | None = None
    shorter: int = 0
    bicubic: float | None = None

    def means(self) -> dict[tuple, float]:
        """Returns the mean score of each setting."""
        return {setting: float(scores.mean()) for setting, scores in self.settings.items()}

    def best(self) -> tuple:
        """Returns the setting with the best mean."""
        return (max if self.direction == "max" else min)(self.settings, key=self.means().get)


def read(path: str | os.PathLike, objective: str, direction: str = "max") -> ParameterStudy:
    """Returns the study in a `study.csv`.

    Args:
        path: The table.
        objective: Column of the scores.
        direction: `max` or `min`: which scores are better.

    Raises:
        InputError: It is no such file, or no trial in it was completed.
    """
    path = pathlib.Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path} is too large for a study: {path.stat().st_size} bytes")
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a study.csv at {path}: {error}") from error
    names = list(rows[0]) if rows else []
    if not set(_COLUMNS) <= set(names) or objective not in names:
        raise InputError(f"{path} is no table of trials with the columns {', '.join(_COLUMNS)} and {objective}")
    completed = [row for row in rows if row["status"] == "completed" and row[objective]]
    if not completed:
        raise InputError(f"no trial in {path} was completed")
    _check(completed, objective, path)
    searched = names[names.index("status") + 1 : names.index("seed")]
    left_out = [(row["trial"], row["status"], row["reason"]) for row in rows if row["status"] != "completed"]
    return _study(completed, searched, objective, left_out, direction)


def _bicubic(objective: str) -> str:
    return objective.replace("val_", "bicubic_")


def _check(rows, objective, path) -> None:
    for row in rows:
        others = ("parameters", "multiply_adds", "steps")
        numbers = [row[objective], *(row.get(name) or 0 for name in others)]
        try:
            valid = None not in row.values() and all(math.isfinite(float(number)) for number in numbers)
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise InputError(f"trial {row['trial']} in {path} must have numbers in all of its columns; mend its row")


def _study(completed, searched, objective, left_out, direction) -> ParameterStudy:
    rows = _longest(completed, searched)
    levels = {
        name: sorted({_value(row[name]) for row in rows}, key=lambda v: (isinstance(v, str), v)) for name in searched
    }
    factors = {name: values for name, values in levels.items() if len(values) > 1}
    settings, costs = {}, {}
    for row in rows:
        setting = tuple(_value(row[name]) for name in factors)
        settings.setdefault(setting, []).append(float(row[objective]))
        costs[setting] = {name: float(row[name] or "nan") for name in ("parameters", "multiply_adds")}
    arrays = {setting: np.array(scores) for setting, scores in settings.items()}
    lengths = [int(float(row["steps"])) for row in rows if row.get("steps")]
    steps = (min(lengths), max(lengths)) if lengths else None
    seeds = len({row["seed"] for row in rows})
    bicubic = _mean([row.get(_bicubic(objective)) for row in rows])
    return ParameterStudy(
        factors, arrays, costs, seeds, left_out, direction, steps, len(completed) - len(rows), bicubic
    )


def _mean(texts) -> float | None:
    """Returns the mean of a column; `None` if it is empty or, from blank images in old tables, not finite."""
    try:
        numbers = [float(text) for text in texts if text]
    except ValueError:
        return None
    return float(np.mean(numbers)) if numbers and np.isfinite(numbers).all() else None


def _longest(rows, searched) -> list[dict]:
    """Returns the rows without Hyperband's short trials that longer trials continued: these are no repeats."""
    longest = {}
    for row in rows:
        key = (*(row[name] for name in searched), row["seed"])
        longest[key] = max(longest.get(key, row), row, key=lambda r: float(r.get("steps") or 0))
    return list(longest.values())


def _value(text: str):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
