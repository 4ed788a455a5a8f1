"""Pseudo-values of the arms' effects in the ordinal model, for standard errors over readers and cases.

The model-based standard error assumes that answers are independent given one random effect per reader and one per case.
In fact there are reader-by-arm and case-by-arm interactions, and few readers do not suffice to estimate their variances
in the model. So the standard error is computed from the variation of pseudo-values over readers and cases, as for a
mean difference: the analysis of Dorfman, Berbaum and Metz, with one-step (influence function) pseudo-values.

Reference:
    Dorfman, Berbaum and Metz, Receiver Operating Characteristic Rating Analysis, Investigative Radiology 1992,
    https://pubmed.ncbi.nlm.nih.gov/1399456/
    Hillis, Berbaum and Metz, Recent Developments in the Dorfman-Berbaum-Metz Procedure, Academic Radiology 2008,
    https://doi.org/10.1016/j.acra.2007.12.015
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags, hstack
from scipy.special import expit

from tfmisr.edge.deprecation import renamed
from tfmisr.reader_study.statistics.ordinal import Fit


def pseudovalues(fit: Fit, arms: npt.ArrayLike, readers: npt.ArrayLike, cases: npt.ArrayLike) -> np.ndarray:
    """Returns one-step pseudo-values of the arms' effects, relative to the estimates.

    Args:
        fit: The model without reader:arm and case:arm terms.
        arms: Index of the arm of each answer (n,), as the model was fitted to.
        readers: Index of the reader of each answer (n,).
        cases: Index of the case of each answer (n,).

    Returns:
        Array (arms, readers, cases); 0 for the first arm, nan if the reader has no answer to the case. The variance of
        an effect is that of the mean of its pseudo-values.
    """
    arms, readers, cases = (np.asarray(v) for v in (arms, readers, cases))
    columns, precision = _columns(fit, arms, readers, cases)
    gradient, information = _rows(fit, columns)
    cuts, slopes = len(fit.thresholds), len(fit.effects) - 1
    inverse = np.linalg.inv(information.toarray() + np.diag(precision))
    by_answer = gradient @ inverse[:, cuts : cuts + slopes]
    shape = int(readers.max()) + 1, int(cases.max()) + 1
    cells = readers * shape[1] + cases
    counts = np.bincount(cells, minlength=shape[0] * shape[1])
    sums = [np.bincount(cells, by_answer[:, i], len(counts)) for i in range(slopes)]
    values = np.stack([np.zeros(len(counts)), *sums]) * (counts > 0).sum()
    values[:, counts == 0] = np.nan
    return values.reshape(-1, *shape)


def _columns(fit: Fit, arms: np.ndarray, readers: np.ndarray, cases: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
    """Returns the design matrix of the linear predictor, and each parameter's prior precision, 0 for fixed effects."""
    parts = [_indicator(arms)[:, 1:]]
    precision = [np.zeros(len(fit.thresholds) + parts[0].shape[1])]
    for term, index in (("reader", readers), ("case", cases)):
        if fit.deviations.get(term):
            parts.append(_indicator(index))
            precision.append(np.full(parts[-1].shape[1], fit.deviations[term] ** -2))
    return hstack(parts, format="csr"), np.concatenate(precision)


def _rows(fit: Fit, columns: csr_matrix) -> tuple[csr_matrix, csr_matrix]:
    """Returns the gradient of each answer's log likelihood, and the observed information of all answers."""
    padded = np.concatenate([[-np.inf], fit.thresholds, [np.inf]])
    upper, lower = padded[fit.levels + 1], padded[fit.levels]
    above, below = expit(upper - fit.linear), expit(lower - fit.linear)
    gap = np.exp(lower - upper)
    odds = gap / -np.expm1(lower - upper)
    curvature = odds * (1 + odds)
    category = _indicator(fit.levels, len(padded) - 1)
    by_upper, by_lower = hstack([category[:, :-1], -columns], "csr"), hstack([category[:, 1:], -columns], "csr")
    gradient = diags(1 - above + odds) @ by_upper - diags(below + odds) @ by_lower
    step = by_upper - by_lower
    information = (
        by_upper.T @ diags(above * (1 - above)) @ by_upper + by_lower.T @ diags(below * (1 - below)) @ by_lower
    )
    return gradient.tocsr(), information + step.T @ diags(curvature) @ step


def _indicator(index: np.ndarray, count: int | None = None) -> csr_matrix:
    """Returns the indicator (dummy) matrix of an index: (len(index), count)."""
    rows = np.arange(len(index))
    shape = len(index), int(index.max()) + 1 if count is None else count
    return csr_matrix((np.ones(len(index)), (rows, index)), shape=shape)


__getattr__ = renamed(__name__, contributions="pseudovalues")
