"""Area under the ROC curve (AUC) and its uncertainty over patients."""

import numpy as np
from scipy import integrate, stats

_CHUNK = 2**23  # weights in memory at once, of 8 bytes


def auc(absent: np.ndarray, present: np.ndarray) -> float:
    """Returns the area under the ROC curve: the probability that a rating with the signal is the larger one.

    Args:
        absent: Ratings of windows without the signal.
        present: Ratings of windows with it.

    Reference:
        Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982,
        https://doi.org/10.1148/radiology.143.1.7063747
    """
    ranks = stats.rankdata(np.concatenate([absent, present]))[len(absent) :]
    count = len(absent) * len(present)
    return float((ranks.sum() - len(present) * (len(present) + 1) / 2) / count)


def detectability(area: float) -> float:
    """Returns the detectability index d' of an AUC, `sqrt(2)` times its normal quantile; infinite at 0 and 1."""
    return float(np.sqrt(2) * stats.norm.ppf(area))


def forced_choice(area: float, alternatives: int) -> float:
    """Returns the share of correct answers among `alternatives` windows of which one holds the signal (M-AFC).

    For ratings of two normal distributions of equal variance, by numerical integration; with two it is the AUC.

    Reference:
        Green and Swets, Signal Detection Theory and Psychophysics, 1966, section 2.8
    """
    d = detectability(area)
    if not np.isfinite(d):
        return float(area)
    x = np.linspace(-8, 8 + abs(d), 4001) + min(d, 0)
    return float(integrate.trapezoid(stats.norm.pdf(x - d) * stats.norm.cdf(x) ** (alternatives - 1), x))


def curve(absent: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ROC curve: false-positive and true-positive rates, from (0, 0) to (1, 1).

    Ratings of `-inf`, of signals that are not found (LROC), are never positive: the curve then ends below (1, 1).
    """
    thresholds = np.unique(np.concatenate([absent, present[np.isfinite(present)]]))[::-1]
    rates = [
        np.searchsorted(np.sort(-ratings), -thresholds, side="right") / len(ratings) for ratings in (absent, present)
    ]
    return tuple(np.concatenate([[0.0], rate]) for rate in rates)


def delong(absent: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the AUCs of several systems on the same windows and the covariance matrix of their estimates.

    Windows count as independent: with several windows of a patient use `bootstrap`.

    Args:
        absent: Ratings `(systems, windows)` without the signal.
        present: Ratings `(systems, windows)` with it.

    Reference:
        DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
        characteristic curves, Biometrics 1988, https://doi.org/10.2307/2531595
    """
    absent, present = np.atleast_2d(absent), np.atleast_2d(present)
    above = [(p[:, None] > a[None]) + 0.5 * (p[:, None] == a[None]) for a, p in zip(absent, present, strict=True)]
    by_present = np.stack([part.mean(1) for part in above])
    by_absent = np.stack([part.mean(0) for part in above])
    covariance = np.cov(by_present) / present.shape[1] + np.cov(by_absent) / absent.shape[1]
    return by_present.mean(1), np.atleast_2d(covariance)


def bootstrap(
    absent: np.ndarray,
    present: np.ndarray,
    patients: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    present_patients: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the AUCs of several systems in bootstrap samples of the patients, `(resamples, systems)`.

    All systems see the same samples, so that differences of columns are paired. A sample without an item of one of the
    classes has no AUC: nan.

    Args:
        absent: Ratings `(systems, windows)` without the signal.
        present: Ratings `(systems, windows)` with it, by default of the same windows.
        patients: The patient of each window.
        resamples: Number of samples.
        seed: Seed of the draws.
        present_patients: The patients of `present`, where it has other items than `absent`.

    Reference:
        Rutter, Bootstrap estimation of diagnostic accuracy with patient-clustered data, Academic Radiology 7, 2000
    """
    absent, present = np.atleast_2d(absent), np.atleast_2d(present)
    patients = np.asarray(patients)
    others = patients if present_patients is None else np.asarray(present_patients)
    names = np.unique(np.concatenate([patients, others]))
    of_absent, of_present = np.searchsorted(names, patients), np.searchsorted(names, others)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    parts = np.array_split(draws, -(-draws.shape[0] * max(len(patients), len(others)) // _CHUNK))
    return np.concatenate([_areas(absent, present, part[:, of_absent], part[:, of_present]) for part in parts])


def _areas(absent, present, absent_weights, present_weights):
    pairs = zip(absent, present, strict=True)
    return np.stack([_weighted_auc(a, p, absent_weights, present_weights) for a, p in pairs], axis=1)


def _weighted_auc(absent, present, weights, present_weights=None):
    """Returns the AUC for each row of weights, how often each window is in the sample."""
    present_weights = weights if present_weights is None else present_weights
    order = np.argsort(absent, kind="stable")
    below = np.searchsorted(absent[order], present, side="left")
    upto = np.searchsorted(absent[order], present, side="right")
    cumulative = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)], axis=1)
    wins = (cumulative[:, below] + cumulative[:, upto]) / 2
    pairs = (weights.sum(1) * present_weights.sum(1)).astype(float)
    return (present_weights * wins).sum(1) / np.where(pairs, pairs, np.nan)
