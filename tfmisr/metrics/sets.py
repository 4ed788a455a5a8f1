"""Set-level metrics, distances of two sets of images by their features: FID (Fréchet) and KID (kernel distance)."""

import numpy as np

from tfmisr.metrics._metric import Metric

SUBSETS, SUBSET_SIZE = 100, 1000


def frechet_distance(true: np.ndarray, pred: np.ndarray) -> float:
    """Returns the Fréchet distance of the two Gaussians that have the means and covariances of two sets of features.

    `|m1 - m2|**2 + tr(C1 + C2 - 2 (C1 C2)**0.5)`, 0 and above. The trace of the square root is computed without
    the square root: with `C = A' A / (n - 1)`, A the centered features, it is the sum of the singular values of
    `A1 A2' / (n - 1)`, which are accurate to the last digits where there are fewer images than features.

    Args:
        true: Features of the reference images, `(images, features)`, of two images or more.
        pred: Features of the restored images.

    Reference:
        Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NIPS 2017, https://arxiv.org/abs/1706.08500
    """
    true, pred = _check(true, pred)
    roots = [(x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (true, pred)]
    spread = sum(np.sum(root**2) for root in roots)
    # The triangular factors have the same products, and at most as many rows as there are features.
    first, second = (np.linalg.qr(root, mode="r") for root in roots)
    common = np.sum(np.linalg.svd(first @ second.T, compute_uv=False))
    return float(max(np.sum((true.mean(axis=0) - pred.mean(axis=0)) ** 2) + spread - 2 * common, 0.0))


# With fewer than five images per feature the bias of FID exceeds most differences between models.
FID = Metric(
    "fid",
    frechet_distance,
    "FID of {features}",
    "FID",
    ".3f",
    "lower",
    per_set=True,
    ideal=0.0,
    images_per_feature=5,
    order=400,
)


def kernel_distance(
    true: np.ndarray, pred: np.ndarray, subsets: int = SUBSETS, size: int = SUBSET_SIZE, seed: int = 0
) -> tuple[float, float]:
    """Returns the squared maximum mean discrepancy of two sets of features, and its standard deviation over subsets.

    Unbiased, so it can be below 0; kernel `(x . y / features + 1)**3`. With no more images than a subset
    has, it is computed once over all of them, and the deviation is nan.

    Args:
        true: Features of the reference images, `(images, features)`, of two images or more.
        pred: Features of the restored images.
        subsets: Number of subsets, whose mean is returned.
        size: Images of a subset, drawn without replacement from each set.
        seed: Seed of the draws.

    Returns:
        Mean and standard deviation over the subsets.

    Reference:
        Binkowski et al., Demystifying MMD GANs, ICLR 2018, https://arxiv.org/abs/1801.01401
    """
    true, pred = _check(true, pred)
    if size >= min(len(true), len(pred)):
        return _discrepancy(true, pred), float("nan")
    rng = np.random.default_rng(seed)
    values = [_discrepancy(*(x[rng.choice(len(x), size, replace=False)] for x in (true, pred))) for _ in range(subsets)]
    return float(np.mean(values)), float(np.std(values))


KID = Metric(
    "kid",
    kernel_distance,
    "KID of {features}, cubic kernel, 100 subsets of at most 1000, seed 0",
    "KID",
    ".6f",
    "lower",
    per_set=True,
    order=410,
)


def _check(true, pred):
    true, pred = np.asarray(true, np.float64), np.asarray(pred, np.float64)
    if true.ndim != 2 or pred.ndim != 2 or true.shape[1] != pred.shape[1] or min(len(true), len(pred)) < 2:
        raise ValueError(
            "Features of two images or more, (images, features), are needed of both sets. "
            f"Received: shapes {true.shape} and {pred.shape}"
        )
    return true, pred


def _discrepancy(true, pred):
    within = 0.0
    for x in (true, pred):
        kernel = _kernel(x, x)
        within += (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))
    return float(within - 2 * _kernel(true, pred).mean())


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3
