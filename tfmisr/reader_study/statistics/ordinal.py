"""Cumulative logit (proportional odds) mixed model of scores.

Arms are fixed effects, readers and cases are crossed random effects. The model is
`logit P(score <= m) = threshold[m] - (arm + reader + case)`; `by_arm=True` adds the interactions reader:arm and
case:arm.
"""

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from tfmisr.reader_study.statistics.laplace import MarginalLikelihood, Terms

TERMS = ("reader", "case", "reader:arm", "case:arm")
# Variances below this count as 0; for comparison, that of the logistic distribution is 3.3.
_ZERO = 1e-5
_LARGEST = 400.0
# A log odds ratio above this means complete separation: the data do not bound it.
_SEPARATED = 12.0


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        thresholds: Thresholds between the used categories, increasing, on the logit scale.
        effects: Log odds ratio of a higher score for each arm (arms,), relative to the first.
        covariance: Covariance of `effects` (arms, arms), from the inverse of the observed information.
        deviations: Standard deviation of each fitted random term on the logit scale; 0 at the boundary.
        log_likelihood: Marginal log likelihood by Laplace's approximation.
        levels: Category of each answer (n,) among the used ones, from 0.
        linear: Linear predictor of each answer (n,), with the random effects at their conditional modes.
    """

    thresholds: np.ndarray
    effects: np.ndarray
    covariance: np.ndarray
    deviations: dict[str, float]
    log_likelihood: float
    levels: np.ndarray
    linear: np.ndarray

    def contrast(self, first: int, second: int) -> tuple[float, float]:
        """Returns the log odds ratio of arm `first` over arm `second`, and its model-based standard error."""
        c = self.covariance
        variance = c[first, first] + c[second, second] - 2 * c[first, second]
        return float(self.effects[first] - self.effects[second]), math.sqrt(max(variance, 0.0))


class NotFitted(ValueError):
    """The model has no usable estimate for these answers; the message gives the reason."""


def fit(
    scores: npt.ArrayLike, arms: npt.ArrayLike, readers: npt.ArrayLike, cases: npt.ArrayLike, by_arm: bool = False
) -> Fit:
    """Fits the model by maximum likelihood (Laplace approximation).

    Unused categories are dropped. A random term with a single level (one reader, one case) is left out.

    Args:
        scores: Integers (n,), any increasing scale.
        arms: Index of the arm of each answer (n,), from 0 without gaps.
        readers: Index of the reader of each answer (n,), likewise.
        cases: Index of the case of each answer (n,), likewise.
        by_arm: Whether to include the interactions reader:arm and case:arm.

    Raises:
        NotFitted: All answers are equal, an arm has no finite effect, or the optimum was not found.
    """
    scores, arms, readers, cases = (np.asarray(v) for v in (scores, arms, readers, cases))
    used, levels = np.unique(scores, return_inverse=True)
    if len(used) < 2:
        raise NotFitted("all answers are equal")
    count = int(arms.max()) + 1
    arm_indicator = np.eye(count)[arms]
    terms = (_terms(index, arm_indicator, i, by_arm) for i, index in enumerate((readers, cases)))
    likelihood = MarginalLikelihood(levels, len(used), arm_indicator[:, 1:], *terms)
    search = _Search(likelihood, _active(readers, cases, count, by_arm), count - 1)
    point = search.optimum(_start(levels, len(used)))
    return _fitted(search, point, count)


def _terms(index: np.ndarray, arm_indicator: np.ndarray, variance: int, by_arm: bool) -> Terms:
    columns = np.ones((len(index), 1))
    variances = np.array([variance])
    if by_arm:
        columns = np.hstack([columns, arm_indicator])
        variances = np.array([variance] + [variance + 2] * arm_indicator.shape[1])
    return Terms(index, columns, variances, int(index.max()) + 1)


def _active(readers: np.ndarray, cases: np.ndarray, arms: int, by_arm: bool) -> np.ndarray:
    """Returns which of `TERMS` are identifiable."""
    several = readers.max() > 0, cases.max() > 0
    return np.array([*several, *(s and by_arm and arms > 1 for s in several)])


def _start(levels: np.ndarray, count: int) -> np.ndarray:
    """Returns the thresholds of the model without effects, the start of the optimization."""
    shares = np.cumsum(np.bincount(levels, minlength=count))[:-1] / len(levels)
    return np.log(shares / (1 - shares))


class _Search:
    """Maximizes the likelihood over thresholds, fixed effects and non-negative variances.

    Args:
        likelihood: The marginal likelihood.
        active: Which of `TERMS` are fitted.
        slopes: Number of fixed effects.
    """

    def __init__(self, likelihood: MarginalLikelihood, active: np.ndarray, slopes: int):
        self.likelihood, self.active, self.slopes = likelihood, active, slopes

    def optimum(self, thresholds: np.ndarray) -> np.ndarray:
        """Returns the parameters at the maximum, from a start at these thresholds without effects."""
        cuts = len(thresholds)
        start = np.concatenate([thresholds[:1], np.log(np.diff(thresholds)), np.zeros(self.slopes)])
        start = np.concatenate([start, np.full(self.active.sum(), 0.25)])
        bounds = [(None, None)] * (cuts + self.slopes) + [(_ZERO / 10, _LARGEST)] * int(self.active.sum())
        result = minimize(
            self._transformed,
            start,
            args=(cuts,),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-6},
        )
        point = result.x.copy()
        point[:cuts] = _cuts(point[:cuts])
        return point

    def value_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the log likelihood and its derivatives by thresholds, fixed effects and variances."""
        thresholds, slopes, deviations = self._parts(point)
        value, *parts = self.likelihood(thresholds, slopes, deviations)
        by_variance = parts[2] / (2 * np.maximum(deviations**2, 1e-300))
        return value, np.concatenate([parts[0], parts[1], by_variance[self.active]])

    def linear(self, point: np.ndarray) -> np.ndarray:
        """Returns the linear predictor of each answer; see `Fit.linear`."""
        return self.likelihood.linear(*self._parts(point))

    def _parts(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns thresholds, fixed effects and standard deviations of all `TERMS`."""
        cuts = self.likelihood.levels - 1
        thresholds, slopes, variances = np.split(point, [cuts, cuts + self.slopes])
        deviations = np.zeros(len(TERMS))
        deviations[self.active] = np.sqrt(np.maximum(variances, 0))
        return thresholds, slopes, deviations

    def _transformed(self, point: np.ndarray, cuts: int) -> tuple[float, np.ndarray]:
        """Returns the negative log likelihood and its gradient, with thresholds as log steps so that they increase."""
        natural = point.copy()
        natural[:cuts] = _cuts(point[:cuts])
        value, gradient = self.value_and_gradient(natural)
        # Chain rule: threshold m is the first one plus the steps up to m.
        tails = np.cumsum(gradient[:cuts][::-1])[::-1]
        gradient[:cuts] = np.concatenate([tails[:1], tails[1:] * np.exp(point[1:cuts])])
        return -value, -gradient

    def information(self, point: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Returns the observed information of the free parameters, by central differences of the gradient."""
        width = 1e-4 * np.maximum(1, np.abs(point))
        columns = []
        for i in np.flatnonzero(free):
            size = min(width[i], point[i] / 2) if i >= self.likelihood.levels - 1 + self.slopes else width[i]
            step = size * np.eye(len(point))[i]
            ends = [self.value_and_gradient(point + sign * step)[1] for sign in (1, -1)]
            columns.append((ends[1] - ends[0])[free] / (2 * size))
        return (np.array(columns) + np.array(columns).T) / 2


def _cuts(packed: np.ndarray) -> np.ndarray:
    """Returns increasing thresholds from the first one and the logarithms of the steps."""
    return packed[0] + np.concatenate([[0.0], np.cumsum(np.exp(packed[1:]))])


def _fitted(search: _Search, point: np.ndarray, arms: int) -> Fit:
    cuts = search.likelihood.levels - 1
    variances = point[cuts + search.slopes :]
    free = np.ones(len(point), bool)
    free[cuts + search.slopes :] = variances > _ZERO
    inverse = _inverted(search, point, free)
    value, _ = search.value_and_gradient(point)
    slopes = point[cuts : cuts + search.slopes]
    if np.abs(slopes).max(initial=0) > _SEPARATED or variances.max(initial=0) >= _LARGEST:
        raise NotFitted("an arm, a reader or a case has no finite effect: all its answers are at one end of the scale")
    effects, covariance = np.zeros(arms), np.zeros((arms, arms))
    if search.slopes:
        effects[1:], covariance[1:, 1:] = slopes, inverse[cuts : cuts + search.slopes, cuts : cuts + search.slopes]
    deviations = np.where(variances > _ZERO, np.sqrt(variances), 0.0)
    names = [name for name, active in zip(TERMS, search.active, strict=True) if active]
    return Fit(
        point[:cuts],
        effects,
        covariance,
        dict(zip(names, map(float, deviations), strict=True)),
        float(value),
        search.likelihood.scores,
        search.linear(point),
    )


def _inverted(search: _Search, point: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Returns the inverse of the observed information, after a final Newton step that changes `point` in place."""
    for last in (False, True):
        information = search.information(point, free)
        gradient = search.value_and_gradient(point)[1][free]
        if not np.isfinite(information).all() or np.linalg.eigvalsh(information)[0] <= 1e-8:
            raise NotFitted("the likelihood has no clear maximum")
        step = np.linalg.solve(information, gradient)
        if last or gradient @ step < 1e-8:
            break
        moved = point.copy()
        moved[free] += step
        if gradient @ step > 1e-2 or (moved[-int(search.active.sum()) or len(point) :] <= 0).any():
            raise NotFitted("the maximum of the likelihood was not found")
        point[free] = moved[free]
    if gradient @ step > 1e-4:
        raise NotFitted("the maximum of the likelihood was not found")
    return np.linalg.inv(information)
