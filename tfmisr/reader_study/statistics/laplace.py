"""The marginal likelihood of a cumulative logit model with crossed random effects, by Laplace's method.

A score falls below threshold `m` with probability `expit(threshold[m] - eta)`; `eta` is the sum of the fixed
effects and of normal effects of the reader and of the case. The random effects are integrated out at their mode
(Laplace), which needs the determinant of their Hessian: readers and cases are crossed, so it has no useful
sparsity by rows, but the block of the cases is diagonal by case, and the Schur complement has the size of the readers.

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

# Beyond this many Newton steps the mode is not found; from the mode of near-by parameters it takes three.
_STEPS = 100
# On the squared length of a step. The determinant feels an error in the mode at first order, so it must be small.
_TOLERANCE = 1e-18


@dataclasses.dataclass(frozen=True)
class Terms:
    """The random effects of one side, readers or cases: which columns a row has, and which variance each takes."""

    index: np.ndarray  # (n,) which reader, or which case
    columns: np.ndarray  # (n, d) zeros and ones: its own effect, and its effect within the row's arm
    variance: np.ndarray  # (d,) index into the standard deviations
    count: int


class MarginalLikelihood:
    """The log likelihood of scores, a function of thresholds, fixed effects and standard deviations.

    Args:
        scores: Integers (n,) from 0 to `levels - 1`.
        levels: Number of categories, each of them in use.
        fixed: Array (n, p) of fixed effects without an intercept.
        readers: The random effects of the readers.
        cases: The random effects of the cases.
    """

    def __init__(self, scores: np.ndarray, levels: int, fixed: np.ndarray, readers: Terms, cases: Terms):
        self.scores, self.levels, self.fixed = scores, levels, fixed
        self.readers, self.cases = readers, cases
        rows = np.arange(len(scores))
        self._by_case = _indicator(cases.index, rows, cases.count)
        self._by_reader = _indicator(readers.index, rows, readers.count)
        self._by_cell = _indicator(cases.index * readers.count + readers.index, rows, cases.count * readers.count)
        self._mode = self._nothing()

    def __call__(self, thresholds, slopes, deviations) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the log likelihood and its derivatives.

        Args:
            thresholds: Array (levels - 1,), increasing.
            slopes: Array (p,), the fixed effects.
            deviations: Standard deviations of the random effects, one for each variance.

        Returns:
            Log likelihood; derivatives by `thresholds`, by `slopes`, and by the logarithms of `deviations`.
        """
        point = _Point(self, thresholds, slopes, deviations)
        mode = point.find_mode(self._mode)
        self._mode = mode if np.isfinite(mode[0]).all() else self._nothing()
        return point.value_and_gradient(mode)

    def linear(self, thresholds, slopes, deviations) -> np.ndarray:
        """Returns `eta` of each answer, the random effects at their mode."""
        point = _Point(self, thresholds, slopes, deviations)
        return point.eta(point.find_mode(self._nothing()))

    def _nothing(self):
        return tuple(np.zeros((terms.count, terms.columns.shape[1])) for terms in (self.cases, self.readers))


class _Point:
    """The likelihood at one value of the parameters."""

    def __init__(self, data, thresholds, slopes, deviations):
        self.data, self.deviations = data, np.asarray(deviations, np.float64)
        self.thresholds = np.asarray(thresholds, np.float64)
        padded = np.concatenate([[-np.inf], self.thresholds, [np.inf]])
        self.upper, self.lower = padded[data.scores + 1], padded[data.scores]
        self.constant = data.fixed @ slopes
        self.case_columns = data.cases.columns * self.deviations[data.cases.variance]
        self.reader_columns = data.readers.columns * self.deviations[data.readers.variance]

    def find_mode(self, start):
        """Newton's method; the joint log density is strictly concave, so that halved steps always arrive."""
        effects, value = start, self._joint(start)
        if not np.isfinite(value):
            effects = self.data._nothing()
            value = self._joint(effects)
        for _ in range(_STEPS):
            slope, weight, _ = self._derivatives(effects)
            gradient = self._spread(slope, effects)
            step = _Hessian(self, weight).solve(*gradient)
            gain = sum(float((g * s).sum()) for g, s in zip(gradient, step, strict=True))
            if gain < _TOLERANCE:
                break
            size, floor = 1.0, value - 1e-12 * abs(value)  # at the mode only rounding is left
            while (found := self._joint(_moved(effects, step, size))) < floor and size > 1e-8:
                size /= 2
            effects, value = _moved(effects, step, size), found
        return effects

    def value_and_gradient(self, effects):
        slope, weight, skew = self._derivatives(effects)
        hessian = _Hessian(self, weight)
        value = self._joint(effects) - hessian.log_determinant / 2
        leverage = hessian.leverage()
        # How the mode moves with a parameter, folded into one number a row.
        moved = hessian.solve(*self._gathered(leverage * skew))
        pull = self._linear(moved)
        through_eta = slope - leverage * skew / 2 + pull * weight / 2
        by_slope = self.data.fixed.T @ through_eta
        return (
            value,
            self._by_threshold(effects, leverage, pull),
            by_slope,
            self._by_deviation(effects, hessian, moved, through_eta),
        )

    def _by_threshold(self, effects, leverage, pull):
        eta = self.eta(effects)
        upper, lower = expit(self.upper - eta), expit(self.lower - eta)
        gap = np.exp(-(self.upper - self.lower))  # 0 in the outer categories
        by_upper = (1 - upper) + gap / -np.expm1(-(self.upper - self.lower))
        by_lower = -lower - gap / -np.expm1(-(self.upper - self.lower))
        for total, f in ((by_upper, upper), (by_lower, lower)):
            density = f * (1 - f)
            total -= leverage * density * (1 - 2 * f) / 2 + pull * density / 2
        scores, count = self.data.scores, self.data.levels
        sums = np.bincount(scores, by_upper, count)[:-1] + np.bincount(scores, by_lower, count)[1:]
        return sums

    def _by_deviation(self, effects, hessian, moved, through_eta):
        result = np.zeros(len(self.deviations))
        sides = (self.data.cases, self.case_columns), (self.data.readers, self.reader_columns)
        for (terms, columns), own, shift, diagonal in zip(sides, effects, moved, hessian.diagonals(), strict=True):
            by_column = through_eta @ (columns * own[terms.index])
            by_column -= (1 - diagonal).sum(axis=0) + (shift * own).sum(axis=0) / 2
            np.add.at(result, terms.variance, by_column)
        return result

    def eta(self, effects):
        return self.constant + self._linear(effects)

    def _linear(self, effects):
        cases, readers = effects
        return (self.case_columns * cases[self.data.cases.index]).sum(axis=1) + (
            self.reader_columns * readers[self.data.readers.index]
        ).sum(axis=1)

    def _joint(self, effects):
        """Log density of scores and standardised effects, without the constant of the normal density."""
        eta = self.eta(effects)
        # log(F(a) - F(b)) = log F(a) + log(1 - F(b)) + log(1 - exp(b - a)) for the logistic F: nothing cancels.
        rows = -np.logaddexp(0, eta - self.upper) - np.logaddexp(0, self.lower - eta)
        rows += np.log(-np.expm1(self.lower - self.upper))
        return float(rows.sum()) - sum(float((e * e).sum()) for e in effects) / 2

    def _derivatives(self, effects):
        """Returns the first derivative by eta, minus the second, and the derivative of the latter."""
        eta = self.eta(effects)
        upper, lower = expit(self.upper - eta), expit(self.lower - eta)
        densities = upper * (1 - upper), lower * (1 - lower)
        skew = -(densities[0] * (1 - 2 * upper) + densities[1] * (1 - 2 * lower))
        return lower + upper - 1, densities[0] + densities[1], skew

    def _gathered(self, rows):
        data = self.data
        return data._by_case @ (self.case_columns * rows[:, None]), data._by_reader @ (
            self.reader_columns * rows[:, None]
        )

    def _spread(self, slope, effects):
        return tuple(g - e for g, e in zip(self._gathered(slope), effects, strict=True))


class _Hessian:
    """Minus the second derivatives by the standardised effects: `I + Z' W Z`, in blocks."""

    def __init__(self, point, weight):
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

    def solve(self, case_side, reader_side):
        right = reader_side.ravel() - np.tensordot(self.ratio, case_side, axes=((0, 1), (0, 1)))
        readers = self.schur_inverse @ right
        cases = (self.case_inverse @ case_side[..., None])[..., 0] - self.ratio @ readers
        return cases, readers.reshape(reader_side.shape)

    def _parts(self):
        """Returns the inverse's blocks: of each case, between cases and readers, of the readers."""
        spread = self.ratio @ self.schur_inverse
        return self.case_inverse + spread @ self.ratio.transpose(0, 2, 1), -spread, self.schur_inverse

    def diagonals(self):
        """Returns the inverse's diagonal, in the shapes of the effects."""
        case, _, reader = self._parts()
        return np.einsum("kii->ki", case), np.diag(reader).reshape(self.shape[2:])

    def leverage(self):
        """Returns `z' H^-1 z` of every row."""
        point, data = self.point, self.point.data
        cases, wide, readers, tall = self.shape
        case, cross, reader = self._parts()
        cross = cross.reshape(cases, wide, readers, tall)[data.cases.index, :, data.readers.index]
        reader = reader.reshape(readers, tall, readers, tall)[data.readers.index, :, data.readers.index]
        z_case, z_reader = point.case_columns, point.reader_columns
        return (
            np.einsum("ni,nij,nj->n", z_case, case[data.cases.index], z_case)
            + 2 * np.einsum("ni,nij,nj->n", z_case, cross, z_reader)
            + np.einsum("ni,nij,nj->n", z_reader, reader, z_reader)
        )


def _indicator(groups, rows, count):
    return csr_matrix((np.ones(len(rows)), (groups, rows)), shape=(count, len(rows)))


def _products(left, right, weight):
    return (weight[:, None, None] * left[:, :, None] * right[:, None, :]).reshape(len(left), -1)


def _moved(effects, step, size):
    return tuple(e + size * s for e, s in zip(effects, step, strict=True))
