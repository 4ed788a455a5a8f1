"""Cluster bootstrap: means over images with confidence intervals over patients, whose images are not independent."""

import numpy as np

# Draws in memory at once; 2^22 draws of 8 bytes are 32 MiB.
_CHUNK = 2**22


def bootstrap_mean(
    values: np.ndarray,
    groups: np.ndarray,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Returns the mean over images and its percentile interval from a cluster bootstrap.

    Patients, not images, are drawn with replacement, each with all of their images. With fewer than about
    20 patients such an interval is too narrow; with one patient it is undefined, nan.

    Args:
        values: One value per image. An inf (the PSNR of an identical image) makes the mean inf; the ends
            of the interval are order statistics and stay finite where enough resamples are finite. A nan
            (a metric not defined for an image) makes everything nan.
        groups: The patient of each image: numbers or strings, of the same length.
        confidence: Coverage of the interval.
        resamples: Number of bootstrap samples.
        seed: Seed of the draws; the same seed gives the same interval.

    Returns:
        Mean, lower end and upper end.

    Raises:
        ValueError: The lists are empty or differ in length.

    Reference:
        Field and Welsh, Bootstrapping Clustered Data, JRSS B 2007,
        https://doi.org/10.1111/j.1467-9868.2007.00593.x
    """
    values = np.asarray(values, np.float64)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if values.ndim != 1 or not values.size or values.shape != index.shape:
        raise ValueError(
            "`values` and `groups` must be two lists of the same length, not empty. "
            f"Received: shapes {values.shape} and {index.shape}"
        )
    nan = float("nan")
    # Infinities of both signs have no mean either.
    if np.isnan(values).any() or {-np.inf, np.inf} <= set(values):
        return nan, nan, nan
    mean = float(values.mean())
    if len(names) == 1:
        return mean, nan, nan
    sums, counts = np.bincount(index, values), np.bincount(index)
    tail = (1 - confidence) / 2
    means = _resampled_means(sums, counts, resamples, np.random.default_rng(seed))
    # Interpolation between two infinities would be inf - inf.
    low = np.quantile(means, tail, method="lower")
    high = np.quantile(means, 1 - tail, method="higher")
    return mean, float(low), float(high)


def paired_difference(
    values: np.ndarray,
    reference: np.ndarray,
    groups: np.ndarray,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Returns the mean of the paired differences `values - reference` and its interval.

    Args:
        values: One value per image, of one system.
        reference: The values of the system it is compared with, on the same images in the same
            order. Two equal infinities (both reproduce the image) differ by 0.
        groups: The patient of each image.
        confidence: Coverage of the interval.
        resamples: Number of bootstrap samples.
        seed: Seed of the draws.

    Returns:
        Mean difference, lower end and upper end, as in `bootstrap_mean`.

    Raises:
        ValueError: The lists are empty or differ in length.
    """
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if values.shape != reference.shape:
        raise ValueError(
            "`values` and `reference` must be measured on the same images. "
            f"Received: shapes {values.shape} and {reference.shape}"
        )
    difference = np.zeros_like(values)
    np.subtract(values, reference, out=difference, where=values != reference)
    return bootstrap_mean(difference, groups, confidence, resamples, seed)


def _resampled_means(sums, counts, resamples, rng):
    chunk = max(1, _CHUNK // len(sums))
    parts = []
    for start in range(0, resamples, chunk):
        drawn = rng.integers(len(sums), size=(min(chunk, resamples - start), len(sums)))
        parts.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(parts)


def limits_of_agreement(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Returns the limits of agreement: mean -+ 1.96 standard deviations of the patients' mean differences.

    Args:
        values: One difference per image, finite.
        groups: The patient of each image.

    Returns:
        Lower and upper limit; nan with one patient.

    Reference:
        Bland and Altman, Statistical methods for assessing agreement between two methods of clinical measurement,
        Lancet 1986, https://doi.org/10.1016/S0140-6736(86)90837-8
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    means = np.bincount(index, np.asarray(values, np.float64)) / np.bincount(index)
    if len(means) < 2:
        return float("nan"), float("nan")
    mean, spread = means.mean(), 1.96 * means.std(ddof=1)
    return float(mean - spread), float(mean + spread)
