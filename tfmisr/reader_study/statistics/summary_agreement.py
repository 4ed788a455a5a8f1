"""The agreement section of results.json: between readers, for pairs of readers, and within readers."""

import dataclasses
import itertools

import numpy as np

from tfmisr.reader_study.statistics import agreement
from tfmisr.reader_study.statistics.icc import Coefficient, intraclass
from tfmisr.reader_study.statistics.ratings import Ratings, Study
from tfmisr.reader_study.statistics.selection import Selection


def agreement_results(study: Study, ratings: Ratings, scale: int, selected: Selection) -> dict:
    """Returns all measures of agreement for one question.

    Args:
        study: The study.
        ratings: Its ratings.
        scale: Number of categories.
        selected: The answers to the question by their use.

    Returns:
        Measures over all images, by arm, by pair of readers, and of repeats within each reader.
    """
    arms, readers, cases = selected.scores.shape
    images = selected.scores.transpose(0, 2, 1).reshape(arms * cases, readers)
    case, arm = np.tile(np.arange(cases), arms), np.repeat(np.arange(arms), cases)
    by_arm = {
        name: _measures(images[arm == i], scale, case[arm == i], arm[arm == i], study.seed)
        for i, name in enumerate(study.arms)
    }
    pairs = itertools.combinations(range(readers), 2)
    return {
        "all images": _measures(images, scale, case, arm, study.seed),
        "by arm": by_arm,
        "reader pairs": [
            {
                "first": ratings.readers[i],
                "second": ratings.readers[j],
                **_pair_measures(images[:, [i, j]], scale, case, study.seed),
            }
            for i, j in pairs
        ],
        "within reader": _within_reader(ratings, scale, selected, study.seed),
    }


def _measures(images: np.ndarray, scale: int, case: np.ndarray, arm: np.ndarray, seed: int) -> dict:
    coefficients = {
        **intraclass(images, cases=case, arms=arm),
        "alpha": agreement.krippendorff_alpha(images, scale, case, arms=arm),
        "AC2": agreement.gwet_ac2(images, scale, case, seed=seed),
        "exact": agreement.raw_agreement(images, scale, case, seed=seed),
        "within 1": agreement.raw_agreement(images, scale, case, within=1, seed=seed),
    }
    return {name: dataclasses.asdict(coefficient) for name, coefficient in coefficients.items()}


def _pair_measures(images: np.ndarray, scale: int, case: np.ndarray, seed: int) -> dict:
    """Returns the measures of two columns of answers, (n, 2)."""
    both = ~np.isnan(images).any(axis=1)
    if not both.any():
        empty = dataclasses.asdict(Coefficient(None, None, None, 0, "no image that both rated"))
        return {"images": 0, "kappa": empty, "exact": empty, "within 1": empty}
    images, case = images[both], case[both]
    coefficients = {
        "kappa": agreement.weighted_kappa(images[:, 0], images[:, 1], scale, case, seed),
        "exact": agreement.raw_agreement(images, scale, case, seed=seed),
        "within 1": agreement.raw_agreement(images, scale, case, within=1, seed=seed),
    }
    return {"images": int(both.sum()), **{name: dataclasses.asdict(value) for name, value in coefficients.items()}}


def _within_reader(ratings: Ratings, scale: int, selected: Selection, seed: int) -> list[dict]:
    result = []
    for i, reader in enumerate(ratings.readers):
        of_reader = selected.reader == i
        pairs = np.stack([selected.first[of_reader], selected.again[of_reader]], axis=1).astype(np.float64)
        result.append({"reader": reader, **_pair_measures(pairs, scale, selected.case[of_reader], seed)})
    return result
