"""What became of each trial: one `result.json` in its folder, written once and read by everybody.

It is what counts, before Keras Tuner's own files: those are written later, lose the reason of a failure on its way to
another machine, and round numbers to 24 bits there.
"""

import csv
import io
import json
import pathlib

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


def home(folder, trial_id: str) -> pathlib.Path:
    """Returns the folder of a trial."""
    return pathlib.Path(folder) / "trials" / trial_id


def write(folder, trial_id: str, result: dict) -> None:
    """Writes the result of a trial, whole or not at all."""
    write_text(home(folder, trial_id) / "result.json", json.dumps(result, indent=2) + "\n")


def read(folder, trial_id: str) -> dict | None:
    """Returns the result of a trial, `None` where there is none yet."""
    try:
        return json.loads((home(folder, trial_id) / "result.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def forget(folder, trial_id: str) -> None:
    """Removes the result of a trial, so that it can be run again."""
    (home(folder, trial_id) / "result.json").unlink(missing_ok=True)


def read_all(folder) -> list[dict]:
    """Returns the results of all trials, in the order in which the trials were proposed."""
    names = [path.parent.name for path in (pathlib.Path(folder) / "trials").glob("*/result.json")]
    found = (read(folder, name) for name in sorted(names, key=int))
    return [result for result in found if result]


def best(found: list[dict], objective: str, direction: str) -> dict | None:
    """Returns the best of the completed trials; of repeats with several seeds, the first of those best in the mean.

    Of hyperband's trials with the same values, the longest one counts, which went on with the others.
    """
    repeats = _repeats(found, objective)
    sign = 1 if direction == "max" else -1
    means = {key: sign * mean(own, objective) for key, own in repeats.items()}
    return repeats[max(means, key=means.get)][0] if means else None


def repeated(found: list[dict], result: dict, objective: str) -> list[dict]:
    """Returns a completed trial and its repeats with other seeds, in their order: one setting."""
    return _repeats(found, objective)[_setting(result)]


def mean(repeats: list[dict], objective: str) -> float:
    """Returns a setting's score: the mean over its seeds."""
    return sum(result[objective] for result in repeats) / len(repeats)


def _repeats(found, objective) -> dict[str, list[dict]]:
    longest, repeats = {}, {}
    for result in found:
        if result["status"] == "completed" and result.get(objective) is not None:
            key = json.dumps(result["values"], sort_keys=True)
            longest[key] = max(longest.get(key, result), result, key=lambda r: r.get("steps") or 0)
    for result in longest.values():
        repeats.setdefault(_setting(result), []).append(result)
    return repeats


def _setting(result) -> str:
    return json.dumps({k: v for k, v in result["values"].items() if k != "seed"}, sort_keys=True)


def table(found: list[dict]) -> str:
    """Returns all trials as CSV: number, status, what was searched, seed, what was measured, why not."""
    searched = list(dict.fromkeys(name for result in found for name in result["values"] if name != "seed"))
    columns = ["trial", "status", *searched, "seed", *MEASURED, "reason"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for result in found:
        writer.writerow({**result, **result["values"], "seed": result["seed"]})
    return text.getvalue()
