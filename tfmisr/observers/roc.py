"""Area under the ROC curve (AUC) and its uncertainty over patients."""

import numpy as np
from scipy import integrate, stats


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
    """Returns the ROC curve: false-positive and true-positive rates, from (0, 0) to (1, 1)."""
    thresholds = np.unique(np.concatenate([absent, present]))[::-1]
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
    absent: np.ndarray, present: np.ndarray, patients: np.ndarray, resamples: int = 2000, seed: int = 0
) -> np.ndarray:
    """Returns the AUCs of several systems in bootstrap samples of the patients, `(resamples, systems)`.

    All systems see the same samples, so that differences of columns are paired.

    Args:
        absent: Ratings `(systems, windows)` without the signal.
        present: Ratings `(systems, windows)` of the same windows with it.
        patients: The patient of each window.
        resamples: Number of samples.
        seed: Seed of the draws.
    """
    absent, present = np.atleast_2d(absent), np.atleast_2d(present)
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    areas = [_weighted_auc(a, p, draws[:, index]) for a, p in zip(absent, present, strict=True)]
    return np.stack(areas, axis=1)


def _weighted_auc(absent, present, weights):
    """Returns the AUC for each row of weights, how often each window is in the sample."""
    order = np.argsort(absent, kind="stable")
    below = np.searchsorted(absent[order], present, side="left")
    upto = np.searchsorted(absent[order], present, side="right")
    cumulative = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)], axis=1)
    wins = (cumulative[:, below] + cumulative[:, upto]) / 2
    return (weights * wins).sum(1) / weights.sum(1) ** 2
