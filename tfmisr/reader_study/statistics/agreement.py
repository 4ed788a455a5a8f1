"""Inter-reader agreement on an ordinal scale: weighted kappa, Krippendorff's alpha, Gwet's AC2, raw agreement.

Each measure is a function of sums over images. So the intervals are expanded percentile intervals of a cluster
bootstrap over cases, each with all of its images, computed with multinomial weights; they hold for the readers of the
study. The interval of alpha on an ordered scale is one over readers and cases: alpha of many readers and cases is the
intraclass correlation of the scores, or of their mean ranks, and has its F interval.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.special

from tfmisr.reader_study.statistics.icc import Coefficient, agreement_limits
from tfmisr.reader_study.statistics.mean_squares import mean_squares

RESAMPLES = 2000
# Minimum share of resamples for which the measure must be defined; below it there is no interval.
_MIN_DEFINED = 0.5


def weighted_kappa(
    first: npt.ArrayLike, second: npt.ArrayLike, scale: int, cases: npt.ArrayLike, seed: int = 0
) -> Coefficient:
    """Returns the quadratic weighted kappa of two lists of answers.

    Args:
        first: Answers (n,) from 1 to `scale`.
        second: The other answers (n,) to the same images.
        scale: Number of categories.
        cases: The case of each image (n,), the unit of resampling.
        seed: Seed of the bootstrap.

    Reference:
        Cohen, Weighted Kappa, Psychological Bulletin 1968, https://doi.org/10.1037/h0026256
    """
    first, second = np.asarray(first, np.int64) - 1, np.asarray(second, np.int64) - 1
    tables = np.zeros((len(first), scale, scale))
    tables[np.arange(len(first)), first, second] = 1
    return _coefficient(tables, cases, _kappa, "no variation in the answers: chance agreement is not defined", seed)


def krippendorff_alpha(
    ratings: npt.ArrayLike,
    scale: int,
    cases: npt.ArrayLike,
    level: str = "ordinal",
    seed: int = 0,
    arms: npt.ArrayLike | None = None,
) -> Coefficient:
    """Returns Krippendorff's alpha; answers may be missing.

    On an ordered scale, alpha of many readers and cases is the intraclass correlation ICC(2,1) of the scores or, for
    the ordinal level, of their mean ranks (Krippendorff 1970). Its interval over readers and cases is that of this
    correlation, as in `tfmisr.reader_study.statistics.icc.intraclass`, widened to hold alpha itself. For the nominal
    level it is a bootstrap interval over cases, which holds for the readers of the study.

    Args:
        ratings: Array (images, readers) of 1 to `scale`, nan without an answer.
        scale: Number of categories.
        cases: The case of each image (images,), the unit of resampling.
        level: Level of measurement: `nominal`, `ordinal` or `interval`.
        seed: Seed of the bootstrap of the nominal level.
        arms: The arm of each image (images,), a fixed effect; without it, all images are of one arm.

    Reference:
        Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, https://repository.upenn.edu/asc_papers/43
        Krippendorff, Bivariate Agreement Coefficients for Reliability of Data, Sociological Methodology 1970,
        https://doi.org/10.2307/270787
    """
    ratings, cases = np.asarray(ratings, np.float64), np.asarray(cases)
    counts = _counts(ratings, scale)
    several = counts.sum(axis=1) >= 2
    counts = counts[several]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(scale)
    pairs /= np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None]
    undefined = "all answers are equal: the readers agree, but the images do not differ"
    if level == "nominal":
        return _coefficient(pairs, cases[several], lambda tables: _alpha(tables, level), undefined, seed)
    if not len(counts):
        return Coefficient(None, None, None, 0, "no image with two answers")
    value = float(_alpha(pairs.sum(axis=0, keepdims=True), level)[0])
    if np.isnan(value):
        return Coefficient(None, None, None, len(counts), undefined)
    place = _places(counts.sum(axis=0)[None], level)[0]
    answered = ~np.isnan(ratings[several])
    scores = np.where(answered, place[np.where(answered, ratings[several], 1).astype(np.int64) - 1], np.nan)
    arms = np.zeros(len(ratings), np.int64) if arms is None else np.asarray(arms)
    return _with_limits(value, scores, cases[several], arms[several])


def _with_limits(value: float, scores: np.ndarray, cases: np.ndarray, arms: np.ndarray) -> Coefficient:
    """Returns alpha with the interval of the intraclass correlation of the scores, or why there is none."""
    images = len(scores)
    if len(np.unique(cases)) == 1:
        return Coefficient(value, None, None, images, "one case: no interval")
    scores = scores[:, ~np.isnan(scores).all(axis=0)]
    squares = mean_squares(scores, cases, arms)
    if squares is None:
        return Coefficient(value, None, None, images, "too few answers in common: no interval")
    smallest = 1e-12 * (squares.bms + squares.jms + squares.ems)
    if squares.bms <= smallest or max(squares.jms, squares.ems) <= smallest:
        return Coefficient(value, None, None, images, "all cases give the same value: no interval")
    low, high = agreement_limits(squares)
    return Coefficient(value, min(low, value), max(high, value), images)


def gwet_ac2(ratings: npt.ArrayLike, scale: int, cases: npt.ArrayLike, seed: int = 0) -> Coefficient:
    """Returns Gwet's AC2 with quadratic weights, which is robust to high prevalence of one category (kappa paradox).

    Args:
        ratings: Array (images, readers) of 1 to `scale`, nan without an answer.
        scale: Number of categories.
        cases: The case of each image (images,), the unit of resampling.
        seed: Seed of the bootstrap.

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


def raw_agreement(
    ratings: npt.ArrayLike, scale: int, cases: npt.ArrayLike, within: int = 0, seed: int = 0
) -> Coefficient:
    """Returns the share of pairs of answers to one image that differ by at most `within`.

    Args:
        ratings: Array (images, readers) of 1 to `scale`, nan without an answer.
        scale: Number of categories.
        cases: The case of each image (images,), the unit of resampling.
        within: Largest difference that counts as agreement, in points of the scale.
        seed: Seed of the bootstrap.
    """
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
    """Returns a warning if one category prevails, so that kappa and ICC are not informative; else an empty text.

    Args:
        counts: Number of answers in each category.
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
        f"{shares[most]:.0%} of the answers are {most + 1}, and {used} of {len(counts)} categories have 5 % or more: "
        "ICC, kappa and alpha are low in such data even if readers agree; interpret them with AC2 and raw agreement"
    )


def _coefficient(
    parts: np.ndarray,
    cases: npt.ArrayLike,
    measure: Callable[[np.ndarray], np.ndarray],
    undefined: str,
    seed: int,
) -> Coefficient:
    """Returns a measure of the sum of `parts`, and its expanded percentile interval of a bootstrap over cases.

    Args:
        parts: Array (images, ...): what each image contributes to the sums.
        cases: The case of each image (images,).
        measure: From sums (n, ...) to values (n,).
        undefined: Note if the measure is not defined.
        seed: Seed of the bootstrap.
    """
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
    values = measure(np.tensordot(drawn.astype(np.float64), by_case, axes=1))
    values = values[~np.isnan(values)]
    if len(values) < _MIN_DEFINED * RESAMPLES:
        return Coefficient(value, None, None, images, "too little variation for an interval")
    if np.ptp(values) <= 1e-12:  # such as 0 of 7 or 7 of 7: an interval of width 0 would look like certainty
        return Coefficient(value, None, None, images, "all cases give the same value: no interval by resampling")
    low, high = np.quantile(values, _tails(len(names)))
    return Coefficient(value, float(min(low, value)), float(max(high, value)), images)


def _tails(cases: int) -> tuple[float, float]:
    """Returns the quantiles of a 95 % expanded percentile interval, as wide as a t interval over so many cases.

    Reference:
        Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 2015,
        https://doi.org/10.1080/00031305.2015.1089789
    """
    low = scipy.special.ndtr(math.sqrt(cases / (cases - 1)) * scipy.special.stdtrit(cases - 1, 0.025))
    return float(low), float(1 - low)


def _counts(ratings: npt.ArrayLike, scale: int) -> np.ndarray:
    """Returns how many readers gave each image each score: (images, scale)."""
    ratings = np.asarray(ratings, np.float64)
    return (ratings[:, :, None] == np.arange(1, scale + 1)).sum(axis=1).astype(np.float64)


def _quadratic(scale: int) -> np.ndarray:
    steps = np.subtract.outer(np.arange(scale), np.arange(scale))
    return 1 - steps**2 / max(scale - 1, 1) ** 2


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns the quotient, nan if the denominator is 0 up to rounding."""
    is_positive = denominator > 1e-12
    return np.where(is_positive, numerator / np.where(is_positive, denominator, 1.0), np.nan)


def _kappa(tables: np.ndarray) -> np.ndarray:
    disagreement = 1 - _quadratic(tables.shape[1])
    total = tables.sum(axis=(1, 2))
    observed = (tables * disagreement).sum(axis=(1, 2)) / total
    margins = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :]
    expected = (margins * disagreement).sum(axis=(1, 2)) / total**2
    return 1 - _ratio(observed, expected)


def _alpha(tables: np.ndarray, level: str) -> np.ndarray:
    totals = tables.sum(axis=2)
    if level == "nominal":
        distance = np.broadcast_to(1 - np.eye(tables.shape[1]), tables.shape)
    else:
        places = _places(totals, level)
        distance = (places[:, :, None] - places[:, None, :]) ** 2
    observed = (tables * distance).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2))
    return 1 - (totals.sum(axis=1) - 1) * _ratio(observed, expected)


def _places(totals: np.ndarray, level: str) -> np.ndarray:
    """Returns the place of each category (n, scale) on an axis: itself, or the mean rank of its answers if ordinal."""
    if level == "interval":
        return np.broadcast_to(np.arange(totals.shape[1], dtype=np.float64), totals.shape)
    return np.cumsum(totals, axis=1) - totals / 2


def _ac2(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    agreeing, several, shares, images = sums[:, 0], sums[:, 1], sums[:, 2:-1], sums[:, -1:]
    scale = weights.shape[0]
    shares = shares / images
    chance = weights.sum() / (scale * (scale - 1)) * (shares * (1 - shares)).sum(axis=1)
    return 1 - _ratio(1 - agreeing / np.where(several > 0, several, np.nan), 1 - chance)
