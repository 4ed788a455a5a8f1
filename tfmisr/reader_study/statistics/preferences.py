"""Paired comparisons: the Bradley-Terry model with Davidson's extension for ties."""

import dataclasses

import numpy as np
import numpy.typing as npt
import scipy.stats
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components


@dataclasses.dataclass(frozen=True)
class Strengths:
    """A fitted Bradley-Terry-Davidson model.

    Attributes:
        log_strength: Array (arms,) with mean 0; `None` without an estimate. If one is preferred at all, arm `i` is
            preferred over arm `j` with odds `exp(log_strength[i] - log_strength[j])`.
        low: Lower limits of the 95 % intervals (arms,), `None` without.
        high: Upper limits.
        ties: Davidson's parameter: between arms of equal strength `ties / (2 + ties)` of the answers are "none".
        wins: Array (arms, arms): how often the row was preferred over the column.
        tied: Array (arms, arms): how often neither was.
        note: Correction for arms that never lose, or why there is no estimate.
    """

    log_strength: np.ndarray | None
    low: np.ndarray | None
    high: np.ndarray | None
    ties: float | None
    wins: np.ndarray
    tied: np.ndarray
    note: str = ""


def strengths(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    outcome: npt.ArrayLike,
    arms: int,
    readers: npt.ArrayLike,
    cases: npt.ArrayLike,
) -> Strengths:
    """Fits Davidson's extension of the Bradley-Terry model by maximum likelihood.

    Standard errors are robust to correlated answers of one reader and to one case (two-way clustered sandwich
    estimator); the t distribution of the intervals has min(readers, cases) - 1 degrees of freedom.

    Args:
        first: Index of one arm of each comparison (n,).
        second: Index of the other arm (n,).
        outcome: 1: the first was preferred, -1: the second, 0: none (n,).
        arms: Number of arms.
        readers: Reader of each comparison (n,).
        cases: Case of each comparison (n,).

    Reference:
        Davidson, On Extending the Bradley-Terry Model to Accommodate Ties in Paired Comparison Experiments, JASA
        1970, https://doi.org/10.1080/01621459.1970.10481082
        Cameron, Gelbach and Miller, Robust Inference With Multiway Clustering, Journal of Business & Economic
        Statistics 2011, https://doi.org/10.1198/jbes.2010.07136
    """
    first, second, outcome = (np.asarray(v, np.int64) for v in (first, second, outcome))
    wins, tied = np.zeros((arms, arms)), np.zeros((arms, arms))
    np.add.at(wins, (first[outcome > 0], second[outcome > 0]), 1)
    np.add.at(wins, (second[outcome < 0], first[outcome < 0]), 1)
    np.add.at(tied, (first[outcome == 0], second[outcome == 0]), 1)
    tied += tied.T
    compared = wins + wins.T + tied > 0
    if arms < 2 or connected_components(compared, directed=False)[0] > 1:
        return Strengths(None, None, None, None, wins, tied, "some arms were not compared, not even through others")
    if not wins.any():
        return Strengths(None, None, None, None, wins, tied, "no image was ever preferred over another")
    added, note = np.zeros((arms, arms)), ""
    if connected_components(wins + tied > 0, directed=True, connection="strong")[0] > 1:
        # Otherwise the maximum likelihood estimate of an arm that never loses is infinite.
        added, note = np.where(compared, 0.5, 0.0), "some arm always won: half a win each way was added to every pair"
    model = _Davidson(arms, bool(tied.any()))
    point = model.fit(wins + added, tied)
    half_widths = model.half_widths(point, (first, second, outcome), (readers, cases), wins + added, tied)
    effects = np.append(0.0, point[: arms - 1])
    centered = effects - effects.mean()
    ties = float(np.exp(point[-1])) if model.tied else 0.0
    if half_widths is None:
        note = "; ".join(filter(None, [note, "one reader and one case: no intervals"]))
        return Strengths(centered, None, None, ties, wins, tied, note)
    return Strengths(centered, centered - half_widths, centered + half_widths, ties, wins, tied, note)


class _Davidson:
    """The model. Parameters: log strengths of all arms but the first, then, with ties, the log of the tie parameter.

    Args:
        arms: Number of arms.
        tied: Whether there are ties.
    """

    def __init__(self, arms: int, tied: bool):
        self.arms, self.tied = arms, tied

    def fit(self, wins: np.ndarray, tied: np.ndarray) -> np.ndarray:
        """Returns the maximum likelihood estimate of the parameters."""
        i, j = np.triu_indices(self.arms, 1)
        counts = np.stack([wins[i, j], wins[j, i], tied[i, j]], axis=1)  # (pairs, 3)

        def loss(point):
            probabilities = self._probabilities(point, i, j)
            value = -(counts * np.log(np.maximum(probabilities, 1e-300))).sum()
            slopes = self._slopes(i, j)
            expected = counts.sum(axis=1, keepdims=True) * probabilities
            return value, -np.einsum("no,nop->p", counts - expected, slopes)

        start = np.zeros(self.arms - 1 + self.tied)
        return minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x

    def half_widths(
        self,
        point: np.ndarray,
        comparisons: tuple[np.ndarray, np.ndarray, np.ndarray],
        clusters: tuple[npt.ArrayLike, npt.ArrayLike],
        wins: np.ndarray,
        tied: np.ndarray,
    ) -> np.ndarray | None:
        """Returns the half widths of the 95 % intervals of the centered strengths, or `None` without clusters.

        Args:
            point: Estimate of the parameters.
            comparisons: First arm, second arm and outcome of each comparison.
            clusters: Reader and case of each comparison.
            wins: Array (arms, arms) of wins.
            tied: Array (arms, arms) of ties.
        """
        i, j = np.triu_indices(self.arms, 1)
        probabilities, slopes = self._probabilities(point, i, j), self._slopes(i, j)
        total = (wins + wins.T + tied)[i, j]
        second_moment = np.einsum("no,nop,noq->npq", probabilities, slopes, slopes)
        mean = np.einsum("no,nop->np", probabilities, slopes)
        information = np.einsum("n,npq->pq", total, second_moment - mean[:, :, None] * mean[:, None, :])
        inverse = np.linalg.pinv(information)
        scores = self._scores(point, *comparisons)
        center = np.eye(self.arms)[:, 1:] - 1 / self.arms
        center = np.hstack([center, np.zeros((self.arms, int(self.tied)))]) @ inverse
        by_reader, by_case = (np.unique(np.asarray(c), return_inverse=True)[1] for c in clusters)
        one_way = [_clustered_variance(scores @ center.T, group) for group in (by_reader, by_case)]
        both = _clustered_variance(scores @ center.T, by_reader * (by_case.max() + 1) + by_case)
        several = [v for v in one_way if v is not None]
        if not several or both is None:
            return None
        # Two-way clustering adds the one-way variances and subtracts that of their intersection; the result can fall
        # below one of them by chance.
        variance = np.maximum(sum(several) - (both if len(several) == 2 else 0), np.max(several, axis=0))
        fewest = min(n for n in (by_reader.max(), by_case.max()) if n > 0)
        return scipy.stats.t.ppf(0.975, fewest) * np.sqrt(variance)

    def _logits(self, point: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Returns the unnormalized log probabilities of the three outcomes: (pairs, 3)."""
        effects = np.append(0.0, point[: self.arms - 1])
        tie = (effects[i] + effects[j]) / 2 + (point[-1] if self.tied else -np.inf)
        return np.stack([effects[i], effects[j], tie], axis=1)

    def _probabilities(self, point: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Returns the probabilities of the three outcomes (softmax): (pairs, 3)."""
        values = self._logits(point, i, j)
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)

    def _slopes(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Returns the derivatives of `_logits` by the parameters: (pairs, 3, parameters)."""
        indicator = np.eye(self.arms)[:, 1:]
        slopes = np.stack([indicator[i], indicator[j], (indicator[i] + indicator[j]) / 2], axis=1)
        if self.tied:
            slopes = np.concatenate([slopes, np.broadcast_to([[0.0], [0.0], [1.0]], (len(i), 3, 1))], axis=2)
        return slopes

    def _scores(self, point: np.ndarray, first: np.ndarray, second: np.ndarray, outcome: np.ndarray) -> np.ndarray:
        """Returns the score function (gradient of the log likelihood) of each comparison: (n, parameters)."""
        probabilities, slopes = self._probabilities(point, first, second), self._slopes(first, second)
        observed = np.eye(3)[np.select([outcome > 0, outcome < 0], [0, 1], 2)]
        return np.einsum("no,nop->np", observed - probabilities, slopes)


def _clustered_variance(scores: np.ndarray, groups: np.ndarray) -> np.ndarray | None:
    """Returns the cluster-robust variance of the sum of the scores; `None` with a single cluster."""
    count = groups.max() + 1
    if count < 2:
        return None
    sums = np.zeros((count, scores.shape[1]))
    np.add.at(sums, groups, scores)
    used = len(np.unique(groups))
    return (sums**2).sum(axis=0) * used / max(used - 1, 1)
