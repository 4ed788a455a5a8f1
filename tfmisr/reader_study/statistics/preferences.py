"""Pairwise preferences: Bradley and Terry's strengths with Davidson's ties."""

import dataclasses

import numpy as np
import scipy.stats
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components


@dataclasses.dataclass(frozen=True)
class Strengths:
    """How strongly arms are preferred.

    Attributes:
        log_strength: One for each arm, their mean 0; None where there is none. Arm `i` is preferred over arm `j`, where
            one is preferred at all, with odds `exp(log_strength[i] - log_strength[j])`.
        low: Lower ends of their 95 % intervals, None without.
        high: Upper ends.
        ties: Davidson's parameter: between arms of equal strength `ties / (2 + ties)` of the answers are "none".
        wins: Array (arms, arms): how often the row was preferred over the column.
        tied: Array (arms, arms): how often neither was.
        note: What was done about arms that never lose, or why there are no strengths.
    """

    log_strength: np.ndarray | None
    low: np.ndarray | None
    high: np.ndarray | None
    ties: float | None
    wins: np.ndarray
    tied: np.ndarray
    note: str = ""


def strengths(first, second, outcome, arms: int, readers, cases) -> Strengths:
    """Fits Davidson's extension of the Bradley-Terry model.

    Standard errors allow for answers of one reader, and answers to one case, that go together (a sandwich clustered
    both ways); intervals take Student's t with one degree less than there are readers or cases, whichever is fewer.

    Args:
        first: Index of one arm of each comparison.
        second: Index of the other.
        outcome: 1: the first was preferred, -1: the second, 0: none.
        arms: Number of arms.
        readers: Reader of each comparison.
        cases: Case of each comparison.

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
    met = wins + wins.T + tied > 0
    if arms < 2 or connected_components(met, directed=False)[0] > 1:
        return Strengths(None, None, None, None, wins, tied, "arms that were never compared, not even through others")
    if not wins.any():
        return Strengths(None, None, None, None, wins, tied, "nobody ever preferred one image over another")
    added, note = np.zeros((arms, arms)), ""
    if connected_components(wins + tied > 0, directed=True, connection="strong")[0] > 1:
        # Without it the strength of an arm that never loses is infinite.
        added, note = np.where(met, 0.5, 0.0), "some arm always won: half a win each way was added to every pair"
    model = _Davidson(arms, bool(tied.any()))
    point = model.fit(wins + added, tied)
    errors = model.errors(point, (first, second, outcome), (readers, cases), wins + added, tied)
    effects = np.append(0.0, point[: arms - 1])
    centred = effects - effects.mean()
    ties = float(np.exp(point[-1])) if model.tied else 0.0
    if errors is None:
        note = "; ".join(filter(None, [note, "one reader and one case: no intervals"]))
        return Strengths(centred, None, None, ties, wins, tied, note)
    return Strengths(centred, centred - errors, centred + errors, ties, wins, tied, note)


class _Davidson:
    """Parameters: log strengths of all arms but the first, then, where there are ties, their logarithm."""

    def __init__(self, arms, tied):
        self.arms, self.tied = arms, tied

    def fit(self, wins, tied):
        i, j = np.triu_indices(self.arms, 1)
        counts = np.stack([wins[i, j], wins[j, i], tied[i, j]], axis=1)  # (pairs, 3)

        def loss(point):
            shares = self._shares(point, i, j)
            value = -(counts * np.log(np.maximum(shares, 1e-300))).sum()
            slopes = self._slopes(i, j)
            expected = counts.sum(axis=1, keepdims=True) * shares
            return value, -np.einsum("no,nop->p", counts - expected, slopes)

        start = np.zeros(self.arms - 1 + self.tied)
        return minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x

    def errors(self, point, comparisons, clusters, wins, tied):
        """Returns the half widths of the 95 % intervals of the centred strengths, or None."""
        i, j = np.triu_indices(self.arms, 1)
        shares, slopes = self._shares(point, i, j), self._slopes(i, j)
        total = (wins + wins.T + tied)[i, j]
        spread = np.einsum("no,nop,noq->npq", shares, slopes, slopes)
        mean = np.einsum("no,nop->np", shares, slopes)
        information = np.einsum("n,npq->pq", total, spread - mean[:, :, None] * mean[:, None, :])
        inverse = np.linalg.pinv(information)
        scores = self._scores(point, *comparisons)
        centre = np.eye(self.arms)[:, 1:] - 1 / self.arms
        centre = np.hstack([centre, np.zeros((self.arms, int(self.tied)))]) @ inverse
        by_reader, by_case = (np.unique(np.asarray(c), return_inverse=True)[1] for c in clusters)
        one_way = [_clustered(scores @ centre.T, group) for group in (by_reader, by_case)]
        both = _clustered(scores @ centre.T, by_reader * (by_case.max() + 1) + by_case)
        several = [v for v in one_way if v is not None]
        if not several or both is None:
            return None
        # The sum can fall below one of its parts, by chance.
        variance = np.maximum(sum(several) - (both if len(several) == 2 else 0), np.max(several, axis=0))
        fewest = min(n for n in (by_reader.max(), by_case.max()) if n > 0)
        return scipy.stats.t.ppf(0.975, fewest) * np.sqrt(variance)

    def _values(self, point, i, j):
        """Logarithms of what the three outcomes are proportional to: (pairs, 3)."""
        effects = np.append(0.0, point[: self.arms - 1])
        draw = (effects[i] + effects[j]) / 2 + (point[-1] if self.tied else -np.inf)
        return np.stack([effects[i], effects[j], draw], axis=1)

    def _shares(self, point, i, j):
        values = self._values(point, i, j)
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)

    def _slopes(self, i, j):
        """Derivatives of `_values` by the parameters: (pairs, 3, parameters)."""
        own = np.eye(self.arms)[:, 1:]
        slopes = np.stack([own[i], own[j], (own[i] + own[j]) / 2], axis=1)
        if self.tied:
            slopes = np.concatenate([slopes, np.broadcast_to([[0.0], [0.0], [1.0]], (len(i), 3, 1))], axis=2)
        return slopes

    def _scores(self, point, first, second, outcome):
        """Derivative of each comparison's log likelihood: (comparisons, parameters)."""
        shares, slopes = self._shares(point, first, second), self._slopes(first, second)
        seen = np.eye(3)[np.select([outcome > 0, outcome < 0], [0, 1], 2)]
        return np.einsum("no,nop->np", seen - shares, slopes)


def _clustered(scores, groups):
    """Returns the variance of the sum of the scores, from the sums of groups; None with a single group."""
    count = groups.max() + 1
    if count < 2:
        return None
    sums = np.zeros((count, scores.shape[1]))
    np.add.at(sums, groups, scores)
    used = len(np.unique(groups))
    return (sums**2).sum(axis=0) * used / max(used - 1, 1)
