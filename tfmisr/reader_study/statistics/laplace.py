"""The marginal likelihood of a cumulative logit model with crossed random effects, by Laplace's approximation.

A score falls below threshold `m` with probability `expit(threshold[m] - eta)`; the linear predictor `eta` is the sum of
the fixed effects and of normal random effects of the reader and of the case. The random effects are integrated out by
Laplace's approximation at their conditional mode, which needs the determinant of their Hessian. Readers and cases are
crossed, so the Hessian is not block diagonal; but its block of the cases is, and the Schur complement of that block has
only the size of the readers.

Reference:
    Christensen, Cumulative Link Models for Ordinal Regression with the R Package ordinal, 2018,
    https://cran.r-project.org/web/packages/ordinal/vignettes/clm_article.pdf
    Breslow and Clayton, Approximate Inference in Generalized Linear Mixed Models, JASA 1993,
    https://doi.org/10.1080/01621459.1993.10594284
"""

import dataclasses

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit

# Maximum number of Newton steps; from the mode of similar parameters it takes about three.
_STEPS = 100
# On the squared Newton decrement. An error in the mode enters the determinant at first order, so it must be small.
_TOLERANCE = 1e-18


@dataclasses.dataclass(frozen=True)
class Terms:
    """The random effects of one grouping factor, readers or cases.

    Attributes:
        index: Reader or case of each answer (n,).
        columns: Indicators (n, d) of the main effect and, with interactions, of the answer's arm.
        variance: Index (d,) of each column's standard deviation.
        count: Number of readers or cases.
    """

    index: np.ndarray
    columns: np.ndarray
    variance: np.ndarray
    count: int


class MarginalLikelihood:
    """The marginal log likelihood of scores as a function of thresholds, fixed effects and standard deviations.

    Args:
        scores: Integers (n,) from 0 to `levels - 1`.
        levels: Number of categories; each must be used.
        fixed: Design matrix (n, p) of the fixed effects without an intercept.
        readers: Random effects of the readers.
        cases: Random effects of the cases.
    """

    def __init__(self, scores: np.ndarray, levels: int, fixed: np.ndarray, readers: Terms, cases: Terms):
        self.scores, self.levels, self.fixed = scores, levels, fixed
        self.readers, self.cases = readers, cases
        rows = np.arange(len(scores))
        self._by_case = _indicator(cases.index, rows, cases.count)
        self._by_reader = _indicator(readers.index, rows, readers.count)
        self._by_cell = _indicator(cases.index * readers.count + readers.index, rows, cases.count * readers.count)
        self._mode = self._zeros()

    def __call__(
        self, thresholds: np.ndarray, slopes: np.ndarray, deviations: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the log likelihood and its derivatives.

        Args:
            thresholds: Increasing thresholds (levels - 1,).
            slopes: Fixed effects (p,).
            deviations: Standard deviations of the random effects.

        Returns:
            Log likelihood; derivatives by `thresholds`, by `slopes`, and by the logarithms of `deviations`.
        """
        point = _Point(self, thresholds, slopes, deviations)
        mode = point.find_mode(self._mode)
        self._mode = mode if np.isfinite(mode[0]).all() else self._zeros()
        return point.value_and_gradient(mode)

    def linear(self, thresholds: np.ndarray, slopes: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """Returns the linear predictor `eta` of each answer (n,), with the random effects at their mode.

        Args:
            thresholds: As above.
            slopes: As above.
            deviations: As above.
        """
        point = _Point(self, thresholds, slopes, deviations)
        return point.eta(point.find_mode(self._zeros()))

    def _zeros(self) -> "_Effects":
        return tuple(np.zeros((terms.count, terms.columns.shape[1])) for terms in (self.cases, self.readers))


# Standardized random effects: cases (cases, d), then readers (readers, d).
_Effects = tuple[np.ndarray, np.ndarray]


class _Point:
    """The likelihood at one value of the parameters; arguments as of `MarginalLikelihood.__call__`."""

    def __init__(self, data: MarginalLikelihood, thresholds: np.ndarray, slopes: np.ndarray, deviations: np.ndarray):
        self.data, self.deviations = data, np.asarray(deviations, np.float64)
        self.thresholds = np.asarray(thresholds, np.float64)
        padded = np.concatenate([[-np.inf], self.thresholds, [np.inf]])
        self.upper, self.lower = padded[data.scores + 1], padded[data.scores]
        self.constant = data.fixed @ slopes
        self.case_columns = data.cases.columns * self.deviations[data.cases.variance]
        self.reader_columns = data.readers.columns * self.deviations[data.readers.variance]

    def find_mode(self, start: _Effects) -> _Effects:
        """Newton's method with step halving, which converges as the joint log density is strictly concave."""
        effects, value = start, self._joint(start)
        if not np.isfinite(value):
            effects = self.data._zeros()
            value = self._joint(effects)
        for _ in range(_STEPS):
            slope, weight, _ = self._derivatives(effects)
            gradient = self._gradient(slope, effects)
            step = _Hessian(self, weight).solve(*gradient)
            gain = sum(float((g * s).sum()) for g, s in zip(gradient, step, strict=True))
            if gain < _TOLERANCE:
                break
            size, floor = 1.0, value - 1e-12 * abs(value)  # at the mode, values differ by rounding only
            while (next_value := self._joint(_moved(effects, step, size))) < floor and size > 1e-8:
                size /= 2
            effects, value = _moved(effects, step, size), next_value
        return effects

    def value_and_gradient(self, effects: _Effects) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the log likelihood and its derivatives, see `MarginalLikelihood.__call__`, given the mode."""
        slope, weight, skew = self._derivatives(effects)
        hessian = _Hessian(self, weight)
        value = self._joint(effects) - hessian.log_determinant / 2
        leverage = hessian.leverage()
        # The derivative of the mode by a parameter (implicit function theorem), as one number per answer.
        moved = hessian.solve(*self._sum_by_group(leverage * skew))
        pull = self._linear(moved)
        through_eta = slope - leverage * skew / 2 + pull * weight / 2
        by_slope = self.data.fixed.T @ through_eta
        return (
            value,
            self._by_threshold(effects, leverage, pull),
            by_slope,
            self._by_deviation(effects, hessian, moved, through_eta),
        )

    def _by_threshold(self, effects: _Effects, leverage: np.ndarray, pull: np.ndarray) -> np.ndarray:
        eta = self.eta(effects)
        upper, lower = expit(self.upper - eta), expit(self.lower - eta)
        gap = np.exp(-(self.upper - self.lower))  # 0 in the lowest and highest category
        by_upper = (1 - upper) + gap / -np.expm1(-(self.upper - self.lower))
        by_lower = -lower - gap / -np.expm1(-(self.upper - self.lower))
        for total, f in ((by_upper, upper), (by_lower, lower)):
            density = f * (1 - f)
            total -= leverage * density * (1 - 2 * f) / 2 + pull * density / 2
        scores, count = self.data.scores, self.data.levels
        sums = np.bincount(scores, by_upper, count)[:-1] + np.bincount(scores, by_lower, count)[1:]
        return sums

    def _by_deviation(
        self, effects: _Effects, hessian: "_Hessian", moved: _Effects, through_eta: np.ndarray
    ) -> np.ndarray:
        result = np.zeros(len(self.deviations))
        factors = (self.data.cases, self.case_columns), (self.data.readers, self.reader_columns)
        for (terms, columns), values, shift, diagonal in zip(factors, effects, moved, hessian.diagonals(), strict=True):
            by_column = through_eta @ (columns * values[terms.index])
            by_column -= (1 - diagonal).sum(axis=0) + (shift * values).sum(axis=0) / 2
            np.add.at(result, terms.variance, by_column)
        return result

    def eta(self, effects: _Effects) -> np.ndarray:
        """Returns the linear predictor (n,)."""
        return self.constant + self._linear(effects)

    def _linear(self, effects: _Effects) -> np.ndarray:
        cases, readers = effects
        return (self.case_columns * cases[self.data.cases.index]).sum(axis=1) + (
            self.reader_columns * readers[self.data.readers.index]
        ).sum(axis=1)

    def _joint(self, effects: _Effects) -> float:
        """Returns the log density of scores and standardized effects, without the normal density's constant."""
        eta = self.eta(effects)
        # For the logistic F: log(F(a) - F(b)) = log F(a) + log(1 - F(b)) + log(1 - exp(b - a)), without cancellation.
        rows = -np.logaddexp(0, eta - self.upper) - np.logaddexp(0, self.lower - eta)
        rows += np.log(-np.expm1(self.lower - self.upper))
        return float(rows.sum()) - sum(float((e * e).sum()) for e in effects) / 2

    def _derivatives(self, effects: _Effects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns for each answer the first derivative by eta, minus the second, and the latter's derivative."""
        eta = self.eta(effects)
        upper, lower = expit(self.upper - eta), expit(self.lower - eta)
        densities = upper * (1 - upper), lower * (1 - lower)
        skew = -(densities[0] * (1 - 2 * upper) + densities[1] * (1 - 2 * lower))
        return lower + upper - 1, densities[0] + densities[1], skew

    def _sum_by_group(self, rows: np.ndarray) -> _Effects:
        data = self.data
        return data._by_case @ (self.case_columns * rows[:, None]), data._by_reader @ (
            self.reader_columns * rows[:, None]
        )

    def _gradient(self, slope: np.ndarray, effects: _Effects) -> _Effects:
        return tuple(g - e for g, e in zip(self._sum_by_group(slope), effects, strict=True))


class _Hessian:
    """The negative Hessian by the standardized effects, `I + Z' W Z`, in blocks of cases and readers.

    Args:
        point: The likelihood.
        weight: Diagonal of `W` (n,).
    """

    def __init__(self, point: _Point, weight: np.ndarray):
        self.point, data = point, point.data
        z_case, z_reader = point.case_columns, point.reader_columns
        self.shape = data.cases.count, z_case.shape[1], data.readers.count, z_reader.shape[1]
        cases, wide, readers, tall = self.shape
        case = (data._by_case @ _products(z_case, z_case, weight)).reshape(cases, wide, wide) + np.eye(wide)
        cross = (data._by_cell @ _products(z_case, z_reader, weight)).reshape(cases, readers, wide, tall)
        cross = cross.transpose(0, 2, 1, 3).reshape(cases, wide, readers * tall)
        blocks = (data._by_reader @ _products(z_reader, z_reader, weight)).reshape(readers, tall, tall)
        reader = np.eye(readers * tall).reshape(readers, tall, readers, tall)
        reader[np.arange(readers), :, np.arange(readers), :] += blocks
        reader = reader.reshape(readers * tall, readers * tall)
        self.case_inverse = np.linalg.inv(case)
        self.ratio = self.case_inverse @ cross  # (cases, wide, readers * tall)
        schur = reader - np.tensordot(cross, self.ratio, axes=((0, 1), (0, 1)))
        self.schur_inverse = np.linalg.inv(schur)
        self.log_determinant = float(np.linalg.slogdet(case)[1].sum() + np.linalg.slogdet(schur)[1])

    def solve(self, case_side: np.ndarray, reader_side: np.ndarray) -> _Effects:
        """Solves the linear system by the Schur complement."""
        right = reader_side.ravel() - np.tensordot(self.ratio, case_side, axes=((0, 1), (0, 1)))
        readers = self.schur_inverse @ right
        cases = (self.case_inverse @ case_side[..., None])[..., 0] - self.ratio @ readers
        return cases, readers.reshape(reader_side.shape)

    def _inverse_blocks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the inverse's blocks: of each case, between cases and readers, of the readers."""
        product = self.ratio @ self.schur_inverse
        return self.case_inverse + product @ self.ratio.transpose(0, 2, 1), -product, self.schur_inverse

    def diagonals(self) -> _Effects:
        """Returns the diagonal of the inverse in the shapes of the effects."""
        case, _, reader = self._inverse_blocks()
        return np.einsum("kii->ki", case), np.diag(reader).reshape(self.shape[2:])

    def leverage(self) -> np.ndarray:
        """Returns `z' H^-1 z` of each answer (n,)."""
        point, data = self.point, self.point.data
        cases, wide, readers, tall = self.shape
        case, cross, reader = self._inverse_blocks()
        cross = cross.reshape(cases, wide, readers, tall)[data.cases.index, :, data.readers.index]
        reader = reader.reshape(readers, tall, readers, tall)[data.readers.index, :, data.readers.index]
        z_case, z_reader = point.case_columns, point.reader_columns
        return (
            np.einsum("ni,nij,nj->n", z_case, case[data.cases.index], z_case)
            + 2 * np.einsum("ni,nij,nj->n", z_case, cross, z_reader)
            + np.einsum("ni,nij,nj->n", z_reader, reader, z_reader)
        )


def _indicator(groups: np.ndarray, rows: np.ndarray, count: int) -> csr_matrix:
    return csr_matrix((np.ones(len(rows)), (groups, rows)), shape=(count, len(rows)))


def _products(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return (weight[:, None, None] * left[:, :, None] * right[:, None, :]).reshape(len(left), -1)


def _moved(effects: _Effects, step: _Effects, size: float) -> _Effects:
    return tuple(e + size * s for e, s in zip(effects, step, strict=True))
