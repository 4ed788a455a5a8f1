"""The result of each trial: one `result.json` in its folder, written once.

It takes precedence over Keras Tuner's files, which are written later and, between machines, lose the reason of a
failure and round numbers to 24 bits.
"""

import contextlib
import csv
import io
import json
import os
import pathlib
from collections.abc import Iterator

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

STATUSES = ("completed", "over", "failed")
MEASURED = (
    "steps",
    "val_psnr",
    "val_ssim",
    "val_loss",
    "bicubic_psnr",
    "bicubic_ssim",
    "parameters",
    "multiply_adds",
    "window_ms",
    "seconds",
)


def home(folder: str | os.PathLike, trial_id: str) -> pathlib.Path:
    """Returns the folder of a trial in a sweep's folder."""
    return pathlib.Path(folder) / "trials" / trial_id


def write(folder: str | os.PathLike, trial_id: str, result: dict) -> None:
    """Writes the result of a trial atomically."""
    write_text(home(folder, trial_id) / "result.json", json.dumps(result, indent=2) + "\n")


def read(folder: str | os.PathLike, trial_id: str) -> dict | None:
    """Returns the result of a trial; `None` if it has none yet.

    Raises:
        InputError: The file is damaged.
    """
    path = home(folder, trial_id) / "result.json"
    if not path.is_file():
        return None
    with damage_named(path, "delete it: the trial is then run again"):
        result = json.loads(path.read_text(encoding="utf-8"))
        numbers = [result.get(name) for name in MEASURED]
        if result["status"] not in STATUSES or result["trial"] != trial_id or not isinstance(result["values"], dict):
            raise ValueError("no result of this trial")
        if any(type(number) not in (int, float, type(None)) for number in [*numbers, result["seed"]]):
            raise ValueError("a measurement that is no number")
        return result


@contextlib.contextmanager
def damage_named(path: pathlib.Path, advice: str) -> Iterator[None]:
    """Raises what goes wrong in reading a file of the sweep as an `InputError` that names it.

    Args:
        path: The file.
        advice: What to do.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, FileNotFoundError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{path} is damaged ({reason}); {advice}") from error


def remove(folder: str | os.PathLike, trial_id: str) -> None:
    """Removes the result of a trial, so that it can be run again."""
    (home(folder, trial_id) / "result.json").unlink(missing_ok=True)


def read_all(folder: str | os.PathLike) -> list[dict]:
    """Returns the results of all trials, in the order in which the trials were proposed."""
    names = [path.parent.name for path in (pathlib.Path(folder) / "trials").glob("*/result.json")]
    trials = (read(folder, name) for name in sorted(names, key=int))
    return [result for result in trials if result]


def best(trials: list[dict], objective: str, direction: str) -> dict | None:
    """Returns the best completed trial: the first repeat of the setting with the best mean over its seeds.

    Of Hyperband's trials with the same values only the longest is included, which continued the others.
    """
    repeats = _repeats(trials, objective)
    sign = 1 if direction == "max" else -1
    means = {setting: sign * mean(group, objective) for setting, group in repeats.items()}
    return repeats[max(means, key=means.get)][0] if means else None


def repeated(trials: list[dict], result: dict, objective: str) -> list[dict]:
    """Returns all completed trials of one setting, in order: that of `result` and its repeats with other seeds."""
    return _repeats(trials, objective)[_setting(result)]


def mean(repeats: list[dict], objective: str) -> float:
    """Returns the score of a setting: the mean over its seeds."""
    return sum(result[objective] for result in repeats) / len(repeats)


def _repeats(trials, objective) -> dict[str, list[dict]]:
    longest, repeats = {}, {}
    for result in trials:
        if result["status"] == "completed" and result.get(objective) is not None:
            key = json.dumps(result["values"], sort_keys=True)
            longest[key] = max(longest.get(key, result), result, key=lambda r: r.get("steps") or 0)
    for result in longest.values():
        repeats.setdefault(_setting(result), []).append(result)
    return repeats


def _setting(result) -> str:
    return json.dumps({k: v for k, v in result["values"].items() if k != "seed"}, sort_keys=True)


def table(trials: list[dict]) -> str:
    """Returns all trials as CSV: number, status, searched values, seed, measurements, reason of a failure."""
    searched = list(dict.fromkeys(name for result in trials for name in result["values"] if name != "seed"))
    columns = ["trial", "status", *searched, "seed", *MEASURED, "reason"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for result in trials:
        writer.writerow({**result, **result["values"], "seed": result["seed"]})
    return text.getvalue()


__getattr__ = renamed(__name__, forget="remove")
