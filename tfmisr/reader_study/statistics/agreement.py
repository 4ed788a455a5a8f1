"""Agreement on an ordinal scale: weighted kappa, Krippendorff's alpha, Gwet's AC2, exact and nearly equal answers.

All of them are functions of sums over images, so an interval redraws cases, each with all of its images, by weighting.
"""

from collections.abc import Callable

import numpy as np

from tfmisr.reader_study.statistics.icc import Coefficient

RESAMPLES = 2000
# An interval rests on the redrawn studies for which the measure is defined; with fewer of them there is none.
_DEFINED = 0.5


def weighted_kappa(first, second, scale: int, cases, seed: int = 0) -> Coefficient:
    """Returns the quadratic weighted kappa of two lists of answers.

    Args:
        first: Answers from 1 to `scale`.
        second: The other answers to the same images.
        scale: Number of categories.
        cases: The case of each image: what is redrawn for the interval.
        seed: Of the interval's draws.

    Reference:
        Cohen, Weighted Kappa, Psychological Bulletin 1968, https://doi.org/10.1037/h0026256
    """
    first, second = np.asarray(first, np.int64) - 1, np.asarray(second, np.int64) - 1
    tables = np.zeros((len(first), scale, scale))
    tables[np.arange(len(first)), first, second] = 1
    return _coefficient(tables, cases, _kappa, "no spread in the answers: agreement by chance is not defined", seed)


def krippendorff_alpha(ratings, scale: int, cases, level: str = "ordinal", seed: int = 0) -> Coefficient:
    """Returns Krippendorff's alpha; answers may be missing.

    Args:
        ratings: Array (images, readers) of 1 to `scale`, nan where there is no answer.
        scale: Number of categories.
        cases: The case of each image.
        level: `nominal`, `ordinal` or `interval`.
        seed: Of the interval's draws.

    Reference:
        Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, https://repository.upenn.edu/asc_papers/43
    """
    counts = _counts(ratings, scale)
    several = counts.sum(axis=1) >= 2
    counts = counts[several]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(scale)
    pairs /= np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None]
    return _coefficient(
        pairs,
        np.asarray(cases)[several],
        lambda tables: _alpha(tables, level),
        "all answers are equal: readers agree fully, but no image differs from another",
        seed,
    )


def gwet_ac2(ratings, scale: int, cases, seed: int = 0) -> Coefficient:
    """Returns Gwet's AC2 with quadratic weights, which high agreement in one category does not pull down.

    Args:
        ratings: Array (images, readers) of 1 to `scale`, nan where there is no answer.
        scale: Number of categories.
        cases: The case of each image.
        seed: Of the interval's draws.

    Reference:
        Gwet, Computing inter-rater reliability and its variance in the presence of high agreement, British Journal
        of Mathematical and Statistical Psychology 2008, https://doi.org/10.1348/000711006X126600
    """
    counts = _counts(ratings, scale)
    counts, cases = counts[counts.sum(axis=1) > 0], np.asarray(cases)[counts.sum(axis=1) > 0]
    total = counts.sum(axis=1, keepdims=True)
    weights = _quadratic(scale)
    agreeing = (counts * (counts @ weights - 1)).sum(axis=1) / np.maximum(total * (total - 1), 1)[:, 0]
    several = (total[:, 0] >= 2).astype(np.float64)
    parts = np.column_stack([agreeing * several, several, counts / total, np.ones(len(counts))])
    return _coefficient(parts, cases, lambda sums: _ac2(sums, weights), "no image with two answers", seed)


def raw_agreement(ratings, scale: int, cases, within: int = 0, seed: int = 0) -> Coefficient:
    """Returns the share of pairs of answers to one image that differ by no more than `within`."""
    counts = _counts(ratings, scale)
    steps = np.abs(np.subtract.outer(np.arange(scale), np.arange(scale)))
    near = (counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(scale))[:, steps <= within].sum(
        axis=1
    )
    total = counts.sum(axis=1)
    parts = np.column_stack([near, total * (total - 1)])
    several = total >= 2
    return _coefficient(
        parts[several],
        np.asarray(cases)[several],
        lambda sums: sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan),
        "no image with two answers",
        seed,
    )


def few_categories(counts: np.ndarray) -> str:
    """Returns a warning where answers crowd in one category, so that kappa and ICC say little; else an empty text.

    Args:
        counts: How often each category was chosen.
    """
    counts = np.asarray(counts, np.float64)
    if not counts.sum():
        return ""
    shares = counts / counts.sum()
    used = int((shares >= 0.05).sum())
    most = int(shares.argmax())
    if shares[most] < 0.6 and used > 2:
        return ""
    return (
        f"{shares[most]:.0%} of the answers are {most + 1}, and {used} of {len(counts)} categories hold 5 % or more: "
        "ICC, kappa and alpha are low in such data even where readers agree; read AC2 and the raw agreement with them"
    )


def _coefficient(parts, cases, measure: Callable, undefined: str, seed: int) -> Coefficient:
    """Returns a measure of the sum of `parts`, and its percentile interval over redrawn cases."""
    images = len(parts)
    if not images:
        return Coefficient(None, None, None, 0, "no image with two answers")
    names, index = np.unique(np.asarray(cases), return_inverse=True)
    by_case = np.zeros((len(names), *parts.shape[1:]))
    np.add.at(by_case, index, parts)
    value = float(measure(by_case.sum(axis=0, keepdims=True))[0])
    if np.isnan(value):
        return Coefficient(None, None, None, images, undefined)
    if len(names) == 1:
        return Coefficient(value, None, None, images, "one case: no interval")
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    found = measure(np.tensordot(drawn.astype(np.float64), by_case, axes=1))
    found = found[~np.isnan(found)]
    if len(found) < _DEFINED * RESAMPLES:
        return Coefficient(value, None, None, images, "too little spread for an interval")
    if np.ptp(found) <= 1e-12:  # as 0 of 7 or 7 of 7: an interval without width would look like certainty
        return Coefficient(value, None, None, images, "all cases say the same: no interval by redrawing them")
    low, high = np.quantile(found, (0.025, 0.975))
    return Coefficient(value, float(min(low, value)), float(max(high, value)), images)


def _counts(ratings, scale):
    """Returns how many readers gave each image each score: (images, scale)."""
    ratings = np.asarray(ratings, np.float64)
    return (ratings[:, :, None] == np.arange(1, scale + 1)).sum(axis=1).astype(np.float64)


def _quadratic(scale):
    steps = np.subtract.outer(np.arange(scale), np.arange(scale))
    return 1 - steps**2 / max(scale - 1, 1) ** 2


def _ratio(part, whole):
    """Returns `part / whole`, nan where `whole` is nothing but rounding."""
    there = whole > 1e-12
    return np.where(there, part / np.where(there, whole, 1.0), np.nan)


def _kappa(tables):
    away = 1 - _quadratic(tables.shape[1])
    total = tables.sum(axis=(1, 2))
    seen = (tables * away).sum(axis=(1, 2)) / total
    chance = (tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :] * away).sum(axis=(1, 2)) / total**2
    return 1 - _ratio(seen, chance)


def _alpha(tables, level):
    totals = tables.sum(axis=2)
    if level == "nominal":
        distance = np.broadcast_to(1 - np.eye(tables.shape[1]), tables.shape)
    else:
        # The ordinal place of a category is the middle of its answers among all answers in order.
        places = np.cumsum(totals, axis=1) - totals / 2
        if level == "interval":
            places = np.broadcast_to(np.arange(tables.shape[1], dtype=np.float64), totals.shape)
        distance = (places[:, :, None] - places[:, None, :]) ** 2
    seen = (tables * distance).sum(axis=(1, 2))
    chance = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2))
    return 1 - (totals.sum(axis=1) - 1) * _ratio(seen, chance)


def _ac2(sums, weights):
    agreeing, several, shares, images = sums[:, 0], sums[:, 1], sums[:, 2:-1], sums[:, -1:]
    scale = weights.shape[0]
    shares = shares / images
    chance = weights.sum() / (scale * (scale - 1)) * (shares * (1 - shares)).sum(axis=1)
    return 1 - _ratio(1 - agreeing / np.where(several > 0, several, np.nan), 1 - chance)
