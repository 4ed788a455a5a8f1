"""What each reader and each case contributes to the arms' effects in the ordinal model, and the error that follows.

The model's own standard error takes all answers for independent, given one effect a reader and one a case. Readers and
cases also differ in how they take to an arm, and with few readers that cannot be estimated well enough to be put into
the model. So the error comes from the spread of the contributions over readers and cases, as with a mean difference: it
is Dorfman, Berbaum and Metz' analysis of pseudo-values, with the model's one-step pseudo-values.

Reference:
    Dorfman, Berbaum and Metz, Receiver Operating Characteristic Rating Analysis, Investigative Radiology 1992,
    https://pubmed.ncbi.nlm.nih.gov/1399456/
    Hillis, Berbaum and Metz, Recent Developments in the Dorfman-Berbaum-Metz Procedure, Academic Radiology 2008,
    https://doi.org/10.1016/j.acra.2007.12.015
"""

import numpy as np
from scipy.sparse import csr_matrix, diags, hstack
from scipy.special import expit

from tfmisr.reader_study.statistics.ordinal import Fit


def contributions(fit: Fit, arms, readers, cases) -> np.ndarray:
    """Returns one-step pseudo-values of the arms' effects, less their mean.

    Args:
        fit: The model without effects within arms.
        arms: Index of the arm of each answer, as the model was fitted to.
        readers: Index of the reader.
        cases: Index of the case.

    Returns:
        Array (arms, readers, cases); the first arm's are 0; nan where the reader has no answer to the case. The
        variance of the effects is that of the means of these.
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


def _columns(fit, arms, readers, cases):
    """Returns the design of `eta` by answer and column, and each parameter's prior precision, 0 for fixed ones."""
    parts = [_ones(arms)[:, 1:]]
    precision = [np.zeros(len(fit.thresholds) + parts[0].shape[1])]
    for term, index in (("reader", readers), ("case", cases)):
        if fit.deviations.get(term):
            parts.append(_ones(index))
            precision.append(np.full(parts[-1].shape[1], fit.deviations[term] ** -2))
    return hstack(parts, format="csr"), np.concatenate(precision)


def _rows(fit, columns):
    """Returns the gradient of each answer's log likelihood, and minus the sum of its second derivatives."""
    padded = np.concatenate([[-np.inf], fit.thresholds, [np.inf]])
    upper, lower = padded[fit.levels + 1], padded[fit.levels]
    above, below = expit(upper - fit.linear), expit(lower - fit.linear)
    gap = np.exp(lower - upper)
    odds = gap / -np.expm1(lower - upper)
    bend = odds * (1 + odds)
    place = _ones(fit.levels, len(padded) - 1)
    by_upper, by_lower = hstack([place[:, :-1], -columns], "csr"), hstack([place[:, 1:], -columns], "csr")
    gradient = diags(1 - above + odds) @ by_upper - diags(below + odds) @ by_lower
    step = by_upper - by_lower
    information = (
        by_upper.T @ diags(above * (1 - above)) @ by_upper + by_lower.T @ diags(below * (1 - below)) @ by_lower
    )
    return gradient.tocsr(), information + step.T @ diags(bend) @ step


def _ones(index, count=None):
    rows = np.arange(len(index))
    shape = len(index), int(index.max()) + 1 if count is None else count
    return csr_matrix((np.ones(len(index)), (rows, index)), shape=shape)
