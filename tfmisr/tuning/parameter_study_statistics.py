"""Statistics of a parameter study: effects, interactions, and which differences exceed the variance between seeds.

A *setting* is one combination of the searched values; its repeats differ only in their seed. The variance between
repeats is the error term of every comparison.
"""

import dataclasses
import itertools
import math

import numpy as np
from scipy import stats

from tfmisr.edge.deprecation import renamed
from tfmisr.tuning.parameter_study_table import ParameterStudy

LEVEL = 0.05  # a difference is significant where its adjusted p-value (`holm`) is below


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A contrast: weighted sum of the means of settings, 95 % confidence interval, p-value of the hypothesis 0."""

    estimate: float
    low: float
    high: float
    df: float
    p: float


def contrast(settings: dict[tuple, np.ndarray], weights: dict[tuple, float]) -> Contrast:
    """Returns a weighted sum of the means of settings with Welch's variance and Satterthwaite's degrees of freedom.

    Each setting has its own variance, so that unstable settings (large learning rates) do not widen the intervals of
    stable ones. Settings with the same seed are trained on the same batches; where this correlates their scores
    positively, intervals of differences are conservative.

    Args:
        settings: Scores of each setting; at least two for a setting with a weight.
        weights: Weight of each setting.

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


def level_means(study: ParameterStudy, factor: str) -> dict:
    """Returns for each level of a factor the marginal mean, over the settings that exist for all its levels.

    Returns:
        Level to `Contrast`, or to `None` if no setting exists for all levels.
    """
    shared = _shared(study, factor, study.factors[factor])
    means = {}
    for level in study.factors[factor]:
        weights = {_with(study, factor, level, rest): 1 / len(shared) for rest in shared}
        means[level] = contrast(study.settings, weights) if shared else None
    return means


def comparisons(study: ParameterStudy) -> list[tuple[str, object, object, Contrast]]:
    """Returns (factor, a, b, b minus a) for each pair of levels, over the settings that exist for both."""
    differences = []
    for factor, levels in study.factors.items():
        for a, b in itertools.combinations(levels, 2):
            shared = _shared(study, factor, (a, b))
            if shared:
                weights = {_with(study, factor, b, rest): 1 / len(shared) for rest in shared}
                weights |= {_with(study, factor, a, rest): -1 / len(shared) for rest in shared}
                differences.append((factor, a, b, contrast(study.settings, weights)))
    return differences


def against_best(study: ParameterStudy) -> list[tuple[tuple, Contrast]]:
    """Returns (setting, its mean minus that of the best setting) for each other setting with repeats."""
    best = study.best()
    usable = [s for s, scores in study.settings.items() if len(scores) > 1 and s != best]
    if len(study.settings[best]) < 2:
        return []
    return [(s, contrast(study.settings, {s: 1.0, best: -1.0})) for s in usable]


def _with(study, factor, level, rest) -> tuple:
    index = list(study.factors).index(factor)
    return (*rest[:index], level, *rest[index:])


def _shared(study, factor, levels) -> list[tuple]:
    """Returns the combinations of the other factors that have two or more repeats at all `levels`."""
    others = [values for name, values in study.factors.items() if name != factor]
    enough = {s for s, scores in study.settings.items() if len(scores) > 1}
    rests = itertools.product(*others)
    return [rest for rest in rests if all(_with(study, factor, level, rest) in enough for level in levels)]


@dataclasses.dataclass(frozen=True)
class VarianceComponent:
    """A row of an analysis of variance: the main effect of one factor, or the interaction of several."""

    factors: tuple[str, ...]
    share: float
    df: int
    f: float
    p: float


def variance(study: ParameterStudy) -> tuple[list[VarianceComponent], float] | None:
    """Returns the analysis of variance of all factors and their interactions.

    Returns:
        The components, each with its share of the total sum of squares, and the standard deviation between repeats,
        pooled over the settings. `None` for a grid with gaps or unequal numbers of repeats.
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
            squares = repeats * (_effect(cells, axes) ** 2).sum()
            degrees = math.prod(shape[axis] - 1 for axis in axes)
            f = float(squares / degrees / (within / df))
            names = tuple(list(study.factors)[axis] for axis in axes)
            sources.append(
                VarianceComponent(names, float(squares / total), degrees, f, float(stats.f.sf(f, degrees, df)))
            )
    return sources, math.sqrt(within / df)


def _effect(cells: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Returns the interaction (main effect for one axis) of the factors of `axes` at every setting."""
    effect = np.zeros_like(cells)
    for order in range(len(axes) + 1):
        for kept in itertools.combinations(axes, order):
            others = tuple(axis for axis in range(cells.ndim) if axis not in kept)
            effect = effect + (-1) ** (len(axes) - order) * cells.mean(axis=others, keepdims=True)
    return effect


def holm(p: list[float]) -> list[float]:
    """Returns p-values adjusted for multiple comparisons: they control the family-wise error rate.

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.
    """
    order = np.argsort(p, kind="stable")
    adjusted, worst = np.empty(len(p)), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = worst
    return adjusted.tolist()


def pareto_front(study: ParameterStudy, cost: str) -> list[tuple]:
    """Returns the Pareto-optimal settings for score and cost, from the cheapest on.

    Args:
        study: The study.
        cost: `parameters` or `multiply_adds`.
    """
    sign = 1 if study.direction == "max" else -1
    means, front, best = study.means(), [], -math.inf
    for setting in sorted(study.settings, key=lambda s: (study.costs[s][cost], -sign * means[s])):
        if sign * means[setting] > best:
            best = sign * means[setting]
            front.append(setting)
    return front


__getattr__ = renamed(
    __name__,
    Source="VarianceComponent",
    Study="ParameterStudy",
    front="pareto_front",
    read="tfmisr.tuning.parameter_study_table.read",
)
