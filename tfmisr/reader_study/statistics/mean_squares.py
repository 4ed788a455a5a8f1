"""Mean squares of images, readers and residual, with effective degrees of freedom where images share cases.

The F intervals of an intraclass correlation take the images for independent. In a reader study they are not: each case
is rated in several arms, and a reader's answers to one arm have something in common. So each sum of squares is divided
by arms and cases, as in the analysis of variance of cases x readers with the arms as fixed effects, and its degrees of
freedom are those of a sum of independent mean squares (Satterthwaite). Scores at the end of a scale are not normal; if
the variance between the cases' own contributions is larger than this model predicts, the degrees of freedom are divided
by that ratio, the design effect of the clusters (Rao and Scott). With missing answers the mean squares are those of
unweighted means, with harmonic means of the numbers of answers (Thomas and Hultquist).

Reference:
    Satterthwaite, An Approximate Distribution of Estimates of Variance Components, Biometrics Bulletin 1946,
    https://doi.org/10.2307/3002019
    Rao and Scott, The Analysis of Categorical Data from Complex Sample Surveys, JASA 1981,
    https://doi.org/10.1080/01621459.1981.10477633
    Thomas and Hultquist, Interval Estimation for the Unbalanced Case of the One-Way Random Effects Model, Annals of
    Statistics 1978, https://doi.org/10.1214/aos/1176344202
"""

import dataclasses

import numpy as np
import scipy.special

_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class MeanSquares:
    """Mean squares of images x readers and what an F interval needs besides.

    Attributes:
        bms: Mean square of images.
        jms: Mean square of readers.
        ems: Residual mean square.
        images: Number of images of a reader, the harmonic mean if answers are missing.
        readers: Number of readers of an image, likewise.
        bms_freedom: Effective degrees of freedom of `bms`.
        jms_freedom: Degrees of freedom of `jms`.
        ems_freedom: Effective degrees of freedom of `ems`.
    """

    bms: float
    jms: float
    ems: float
    images: float
    readers: float
    bms_freedom: float
    jms_freedom: float
    ems_freedom: float


@dataclasses.dataclass(frozen=True)
class _Part:
    """Sums of squares of arms, of cases within arms and of the rest, with their degrees of freedom."""

    arm: float
    case: float
    rest: float
    freedom: tuple[int, int, int]

    def mean(self, *terms: str) -> float:
        """Returns the mean square of the first term that has degrees of freedom, else 0."""
        freedom = dict(zip(("arm", "case", "rest"), self.freedom, strict=True))
        return next((getattr(self, term) / freedom[term] for term in terms if freedom[term] > 0), 0.0)


def mean_squares(ratings: np.ndarray, cases: np.ndarray, arms: np.ndarray) -> MeanSquares | None:
    """Returns the mean squares; `None` if the readers have too few images in common.

    Args:
        ratings: Array (images, readers), nan without an answer; every image has an answer.
        cases: Index of the case of each image (images,).
        arms: Index of the arm of each image (images,).
    """
    answered = ~np.isnan(ratings)
    images, readers = ratings.shape
    ems_freedom = int(answered.sum()) - images - (readers - 1)
    fitted = _additive(np.where(answered, ratings, 0.0), answered)
    if fitted is None or ems_freedom < 1 or images < 2 or readers < 2:
        return None
    by_image, by_reader, residual = fitted
    per_image, per_reader = (float(1 / np.mean(1 / answered.sum(axis=axis))) for axis in (1, 0))
    deviation = by_image - by_image.mean()
    between = per_image * float((deviation**2).sum())
    within = float((residual**2).sum())
    squares = between / (images - 1), per_reader * float((by_reader**2).sum()) / (readers - 1), within / ems_freedom
    freedom = images - 1.0, float(ems_freedom)
    is_clustered = len(np.unique(cases)) < images or len(np.unique(arms)) > 1
    if is_clustered and between > 0 and within > _TINY * between:
        clusters = _Clusters(deviation[:, None] * per_image**0.5, residual, cases, arms, ems_freedom)
        freedom = clusters.freedom()
    return MeanSquares(*squares, per_reader, per_image, freedom[0], readers - 1.0, freedom[1])


def _additive(filled: np.ndarray, answered: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Least squares of image + reader: images (images,), readers (readers,), sum 0, and residuals, 0 where missing."""
    weights = answered.astype(np.float64)
    counts = weights.sum(axis=1, keepdims=True)
    normal = np.diag(weights.sum(axis=0)) - weights.T @ (weights / counts)
    normal += normal.trace() / normal.size  # the readers' sum, which is free, is 0
    if np.linalg.cond(normal) > 1e8:
        return None
    by_reader = np.linalg.solve(normal, filled.sum(axis=0) - weights.T @ (filled.sum(axis=1) / counts[:, 0]))
    by_image = (filled - weights * by_reader).sum(axis=1) / counts[:, 0]
    return by_image, by_reader, weights * (filled - by_image[:, None] - by_reader)


def _split(values: np.ndarray, cases: np.ndarray, arms: np.ndarray, residual_freedom: int | None = None) -> _Part:
    """Divides the sum of squares of the columns of `values` (images, n), each of mean 0, by arms and cases.

    Args:
        values: The columns: one of image means, or the residuals of all readers.
        cases: Index of the case of each image.
        arms: Index of the arm of each image.
        residual_freedom: Degrees of freedom of residuals; without it, `values` is one column of image means.
    """
    case, arm = (np.unique(index, return_inverse=True)[1].ravel() for index in (cases, arms))
    in_arm = np.eye(arm.max() + 1)[arm]
    of_case, of_arm = _between(values, case), _between(values, arm)
    # Arms within cases: least squares of what the cases leave of the arms' indicators.
    reduced = in_arm - _means(in_arm, case)[case]
    normal, moment = reduced.T @ reduced, reduced.T @ values
    rank = int(np.linalg.matrix_rank(normal, tol=1e-9 * len(values)))
    of_both = of_case + float((moment * (np.linalg.pinv(normal, 1e-9, hermitian=True) @ moment)).sum())
    total = float((values**2).sum())
    columns = 1 if residual_freedom is None else values.shape[1] - 1
    freedom = [arm.max() * columns, (case.max() + rank - arm.max()) * columns]
    freedom.append((len(values) - 1 if residual_freedom is None else residual_freedom) - sum(freedom))
    parts = (part if part > _TINY * total else 0.0 for part in (of_arm, of_both - of_arm, total - of_both))
    return _Part(*parts, tuple(max(int(degrees), 0) for degrees in freedom))


def _means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Returns the mean of the rows (n, columns) of each group: (groups, columns)."""
    sums = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return sums / np.bincount(group)[:, None]


def _between(values: np.ndarray, group: np.ndarray) -> float:
    """Returns the sum of squares of the groups' means, each counted once for every row."""
    return float((np.bincount(group)[:, None] * _means(values, group) ** 2).sum())


class _Clusters:
    """Effective degrees of freedom of the sums of squares of images and residuals.

    Args:
        between: Image means (images, 1) of mean 0, times the root of the number of readers.
        residual: Residuals (images, readers) of the additive model.
        cases: Index of the case of each image.
        arms: Index of the arm of each image.
        residual_freedom: Degrees of freedom of the residuals.
    """

    def __init__(self, between, residual, cases, arms, residual_freedom):
        self.images, self.residuals = _split(between, cases, arms), _split(residual, cases, arms, residual_freedom)
        self.between, self.within = float((between**2).sum()), float((residual**2).sum())
        place = np.unique(cases, return_inverse=True)[1].ravel()
        by_case = (np.bincount(place, (values**2).sum(axis=1)) for values in (between, residual))
        between_of, within_of = by_case
        self.contributions = between_of / self.between - within_of / self.within

    def freedom(self) -> tuple[float, float]:
        """Returns the degrees of freedom of the mean square of images and of the residual mean square."""
        effect, of_residual = self._design_effect(), _satterthwaite(self.residuals, "arm", "case", "rest")
        variance = self._variance()
        # Arms that explain everything leave no variance to estimate from: as if images were independent.
        images = 2 * self.between**2 / variance if variance else float(sum(self.images.freedom))
        residual = self.within**2 / of_residual if of_residual else float(sum(self.residuals.freedom))
        # Below 1 a quantile of F tends to 0 in both tails.
        return max(images / effect, 1.0), max(residual / effect, 1.0)

    def _variance(self) -> float:
        """Variance of the images' sum of squares, with readers and cases as random and arms as fixed."""
        noise, freedom = self._noise_of_arms()
        fixed = self._fixed(noise)
        variance = 2 * _satterthwaite(self.images, "case", "rest") + 2 * noise**2 * self.images.freedom[0] + fixed
        if not fixed:
            return variance
        # The term of the fixed effects has an estimated variance: a t instead of a normal distribution.
        degrees = min(freedom * (variance / fixed) ** 2, 1e6)
        return variance * (scipy.special.stdtrit(degrees, 0.975) / scipy.special.ndtri(0.975)) ** 2

    def _fixed(self, noise: float) -> float:
        """Variance of the linear term of a noncentral chi-square: arms that differ, plus their noise."""
        return 4 * noise * max(self.images.arm - self.images.freedom[0] * noise, 0.0)

    def _noise_of_arms(self) -> tuple[float, float]:
        """Variance of the arms' means, as a mean square, and its degrees of freedom: of cases and of readers."""
        of_cases, of_readers = self.images.mean("rest", "case"), self.residuals.mean("arm")
        shared = self.residuals.mean("rest", "case")
        noise = max(of_cases + of_readers - shared, 0.0)
        used = self.images.freedom[2] or self.images.freedom[1], self.residuals.freedom[0]
        spread = of_cases**2 / max(used[0], 1) + of_readers**2 / max(used[1], 1)
        spread += shared**2 / max(self.residuals.freedom[2] or self.residuals.freedom[1], 1)
        return noise, max(noise**2 / spread, 1.0) if spread else 1.0

    def _design_effect(self) -> float:
        """Ratio, at least 1, of the variance of log(bms / ems) between cases to the one that the model predicts."""
        cases = len(self.contributions)
        found = cases**2 / (cases - 1) * float(self.contributions.var(ddof=1)) if cases > 1 else 0.0
        noise = self.images.mean("rest", "case")
        expected = 2 * _satterthwaite(self.images, "case", "rest") + 2 * noise**2 * self.images.freedom[0]
        # The readers' share of the noise of the arms is not one of cases.
        expected += 4 * noise * max(self.images.arm - self.images.freedom[0] * self._noise_of_arms()[0], 0.0)
        expected /= self.between**2
        expected += 2 * _satterthwaite(self.residuals, "case", "rest") / self.within**2
        return max(found / expected, 1.0) if expected > 0 else 1.0


def _satterthwaite(part: _Part, *terms: str) -> float:
    """Returns the sum of squared sums of squares over degrees of freedom: half the variance of their sum."""
    freedom = dict(zip(("arm", "case", "rest"), part.freedom, strict=True))
    return sum(getattr(part, term) ** 2 / freedom[term] for term in terms if freedom[term])
