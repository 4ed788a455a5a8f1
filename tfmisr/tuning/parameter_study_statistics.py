"""What the trials of a study say: effects, interactions, and which differences are larger than the noise of seeds.

A *setting* is one combination of what was searched; its repeats differ by their seed alone. The scatter between
repeats is the noise that every difference is held against.
"""

import csv
import dataclasses
import io
import itertools
import math
import pathlib

import numpy as np
from scipy import stats

from tfmisr.edge.errors import InputError

_LARGEST_FILE = 2**26  # bytes
_COLUMNS = ("trial", "status", "seed", "parameters", "multiply_adds", "reason")


@dataclasses.dataclass(frozen=True)
class Study:
    """The completed trials of a study.

    Attributes:
        factors: Names of what was searched and took more than one value, each with its levels in order.
        settings: For each combination of levels, its scores, one a seed.
        costs: For each combination, `parameters` and `multiply_adds`.
        seeds: Number of different seeds.
        left_out: (trial, status, reason) of the trials that were not completed.
        direction: `max` or `min`: which scores are better.
        steps: Steps of the shortest and of the longest run that counts, where the table says them.
        shorter: Number of completed trials that do not count: longer ones with the same values and seed went on.
        bicubic: Mean score of bicubic interpolation on the same images, where the table says it.
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


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A weighted sum of settings' means, with its 95 % interval and the p-value of its being 0."""

    estimate: float
    low: float
    high: float
    df: float
    p: float


def read(path, objective: str, direction: str = "max") -> Study:
    """Returns the study in a `study.csv`.

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
    done = [row for row in rows if row["status"] == "completed" and row[objective]]
    if not done:
        raise InputError(f"no trial in {path} was completed")
    _check(done, objective, path)
    searched = names[names.index("status") + 1 : names.index("seed")]
    left_out = [(row["trial"], row["status"], row["reason"]) for row in rows if row["status"] != "completed"]
    return _study(done, searched, objective, left_out, direction)


def _bicubic(objective: str) -> str:
    return objective.replace("val_", "bicubic_")


def _check(rows, objective, path) -> None:
    for row in rows:
        others = ("parameters", "multiply_adds", "steps")
        numbers = [row[objective], *(row.get(name) or 0 for name in others)]
        try:
            whole = None not in row.values() and all(math.isfinite(float(number)) for number in numbers)
        except (TypeError, ValueError):
            whole = False
        if not whole:
            raise InputError(f"trial {row['trial']} in {path} must have numbers in all of its columns; mend its row")


def _study(completed, searched, objective, left_out, direction) -> Study:
    rows = _longest(completed, searched)
    levels = {
        name: sorted({_value(row[name]) for row in rows}, key=lambda v: (isinstance(v, str), v)) for name in searched
    }
    factors = {name: own for name, own in levels.items() if len(own) > 1}
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
    return Study(factors, arrays, costs, seeds, left_out, direction, steps, len(completed) - len(rows), bicubic)


def _mean(texts) -> float | None:
    """Returns the mean of a column's numbers, `None` where it has none or, as of blank images once, an infinity."""
    try:
        numbers = [float(text) for text in texts if text]
    except ValueError:
        return None
    return float(np.mean(numbers)) if numbers and np.isfinite(numbers).all() else None


def _longest(rows, searched) -> list[dict]:
    """Returns the rows without hyperband's short trials that went on: they are no repeats of the longer ones."""
    found = {}
    for row in rows:
        key = (*(row[name] for name in searched), row["seed"])
        found[key] = max(found.get(key, row), row, key=lambda r: float(r.get("steps") or 0))
    return list(found.values())


def _value(text: str):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def contrast(settings: dict[tuple, np.ndarray], weights: dict[tuple, float]) -> Contrast:
    """Returns a weighted sum of settings' means with Welch's variance and Satterthwaite's degrees of freedom.

    Each setting has a variance of its own, so noisy settings (large learning rates) do not lend their noise to quiet
    ones. Settings with the same seeds see the same batches; where that makes them rise and fall together, intervals
    of differences are too wide, never too narrow.

    Args:
        settings: Scores of each setting, two at least of those with a weight.
        weights: Weight of each.

    Reference:
        Welch, The generalization of "Student's" problem when several different population variances are involved,
        Biometrika 1947, https://doi.org/10.1093/biomet/34.1-2.28
    """
    estimate = sum(w * settings[s].mean() for s, w in weights.items())
    parts = np.array([w * w * settings[s].var(ddof=1) / len(settings[s]) for s, w in weights.items()])
    counts = np.array([len(settings[s]) for s in weights])
    variance = parts.sum()
    if variance == 0:
        return Contrast(float(estimate), float(estimate), float(estimate), math.inf, float(estimate == 0))
    df = variance**2 / (parts**2 / (counts - 1)).sum()
    error = math.sqrt(variance)
    half = stats.t.ppf(0.975, df) * error
    p = 2 * stats.t.sf(abs(estimate) / error, df)
    return Contrast(float(estimate), float(estimate - half), float(estimate + half), float(df), float(p))


def level_means(study: Study, factor: str) -> dict:
    """Returns for each level of a factor the mean over the other factors' settings that all its levels have."""
    shared = _shared(study, factor, study.factors[factor])
    found = {}
    for level in study.factors[factor]:
        weights = {_with(study, factor, level, rest): 1 / len(shared) for rest in shared}
        found[level] = contrast(study.settings, weights) if shared else None
    return found


def comparisons(study: Study) -> list[tuple[str, object, object, Contrast]]:
    """Returns (factor, a, b, b minus a) for each pair of levels, over the settings that both levels have."""
    found = []
    for factor, levels in study.factors.items():
        for a, b in itertools.combinations(levels, 2):
            shared = _shared(study, factor, (a, b))
            if shared:
                weights = {_with(study, factor, b, rest): 1 / len(shared) for rest in shared}
                weights |= {_with(study, factor, a, rest): -1 / len(shared) for rest in shared}
                found.append((factor, a, b, contrast(study.settings, weights)))
    return found


def against_best(study: Study) -> list[tuple[tuple, Contrast]]:
    """Returns (setting, setting minus the best one) for each other setting with repeats."""
    best = study.best()
    usable = [s for s, scores in study.settings.items() if len(scores) > 1 and s != best]
    if len(study.settings[best]) < 2:
        return []
    return [(s, contrast(study.settings, {s: 1.0, best: -1.0})) for s in usable]


def _with(study, factor, level, rest) -> tuple:
    place = list(study.factors).index(factor)
    return (*rest[:place], level, *rest[place:])


def _shared(study, factor, levels) -> list[tuple]:
    """Returns the combinations of the other factors at which all `levels` were tried twice or more."""
    others = [own for name, own in study.factors.items() if name != factor]
    enough = {s for s, scores in study.settings.items() if len(scores) > 1}
    rests = itertools.product(*others)
    return [rest for rest in rests if all(_with(study, factor, level, rest) in enough for level in levels)]


@dataclasses.dataclass(frozen=True)
class Source:
    """A row of an analysis of variance: one factor, or several together beyond what each does alone."""

    factors: tuple[str, ...]
    share: float
    df: int
    f: float
    p: float


def variance(study: Study) -> tuple[list[Source], float] | None:
    """Returns the analysis of variance of all factors and their interactions, and the noise of seeds.

    Returns:
        The sources, each with its share of the total sum of squares, and the standard deviation between repeats,
        pooled over the settings. `None` where the grid has gaps or unequal numbers of repeats.
    """
    shape = tuple(len(levels) for levels in study.factors.values())
    counts = {len(scores) for scores in study.settings.values()}
    if not shape or len(study.settings) != math.prod(shape) or len(counts) != 1 or min(counts) < 2:
        return None
    repeats = counts.pop()
    scores = np.array([study.settings[s] for s in itertools.product(*study.factors.values())])
    within = ((scores - scores.mean(1, keepdims=True)) ** 2).sum()
    total = ((scores - scores.mean()) ** 2).sum()
    df = len(scores) * (repeats - 1)
    if not within or not total:
        return None
    cells = scores.mean(1).reshape(shape)
    sources = []
    for order in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), order):
            own = repeats * (_effect(cells, axes) ** 2).sum()
            degrees = math.prod(shape[axis] - 1 for axis in axes)
            f = float(own / degrees / (within / df))
            names = tuple(list(study.factors)[axis] for axis in axes)
            sources.append(Source(names, float(own / total), degrees, f, float(stats.f.sf(f, degrees, df))))
    return sources, math.sqrt(within / df)


def _effect(cells: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Returns what the factors of `axes` do together beyond each smaller group of them, at every setting."""
    found = np.zeros_like(cells)
    for order in range(len(axes) + 1):
        for kept in itertools.combinations(axes, order):
            others = tuple(axis for axis in range(cells.ndim) if axis not in kept)
            found = found + (-1) ** (len(axes) - order) * cells.mean(axis=others, keepdims=True)
    return found


def holm(p: list[float]) -> list[float]:
    """Returns p-values adjusted for their number, so that one false finding in the family has at most their level.

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.
    """
    order = np.argsort(p, kind="stable")
    adjusted, worst = np.empty(len(p)), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = worst
    return adjusted.tolist()


def front(study: Study, cost: str) -> list[tuple]:
    """Returns the settings that no cheaper or equally cheap setting equals or beats, from the cheapest on."""
    sign = 1 if study.direction == "max" else -1
    means, found, best = study.means(), [], -math.inf
    for setting in sorted(study.settings, key=lambda s: (study.costs[s][cost], -sign * means[s])):
        if sign * means[setting] > best:
            best = sign * means[setting]
            found.append(setting)
    return found
