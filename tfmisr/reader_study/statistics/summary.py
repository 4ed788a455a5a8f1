"""All results of a study in one dictionary, results.json: numbers, and sentences where there are none."""

import dataclasses
import itertools
import math
import platform

import numpy as np
import scipy

import tfmisr
from tfmisr.reader_study.statistics import (
    agreement,
    comparisons,
    intervals,
    noninferiority,
    preferences,
    primary,
    selection,
)
from tfmisr.reader_study.statistics.icc import Coefficient, intraclass
from tfmisr.reader_study.statistics.ratings import SIMULATED, Preferences, Ratings, Study

FORMAT = 1


def summarise(study: Study, ratings: Ratings, compared: Preferences | None = None) -> dict:
    """Returns the content of results.json.

    No value is nan or infinite: what is not defined is None, with a sentence beside it.

    Args:
        study: From study.json.
        ratings: From ratings.csv.
        compared: From preferences.csv, or None.
    """
    chosen = [selection.select(study, ratings, i) for i in range(len(study.questions))]
    questions = {
        question.name: _question(study, ratings, question, part)
        for question, part in zip(study.questions, chosen, strict=True)
    }
    _adjust(questions)
    result = {
        **({"warning": SIMULATED} if study.simulated else {}),
        "format": FORMAT,
        "study": _study(study, ratings),
        "flow": selection.flow(study, ratings),
        "questions": questions,
        "times": _times(study, ratings),
        "preferences": _preferences(study, compared),
        "versions": _versions(ratings),
    }
    return _finite(result)


def _study(study, ratings):
    return {
        "title": study.title,
        "hash": study.hash,
        "simulated": study.simulated,
        "arms": list(study.arms),
        "reference": None if study.reference is None else study.arms[study.reference],
        "primary": study.primary,
        "readers": list(ratings.readers),
        "cases": len(study.cases),
        "seed": study.seed,
        "cautions": list(study.cautions),
        "plan": study.plan,
    }


def _versions(ratings):
    return {
        "tfmisr": tfmisr.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "answers taken by": list(ratings.versions),
    }


def _question(study, ratings, question, chosen):
    tested = primary.test_pairs(chosen.scores)
    used = chosen.scores[~np.isnan(chosen.scores)].astype(np.int64)
    return {
        "text": question.text,
        "scale": question.scale,
        "margin": question.margin,
        "anchors": list(question.anchors),
        "arms": {name: _arm(chosen.scores[i], question.scale, study.seed) for i, name in enumerate(study.arms)},
        "readers": _readers(study, ratings, chosen.scores),
        "model": _model(study, tested, chosen.scores),
        "pairs": [_pair(study, chosen.scores, pair) for pair in tested.pairs],
        "noninferiority": _noninferiority(study, question, chosen.scores),
        "agreement": _agreement(study, ratings, question.scale, chosen),
        "warnings": list(filter(None, [agreement.few_categories(np.bincount(used, minlength=question.scale + 1)[1:])])),
    }


def _arm(scores, scale, seed):
    """One arm's answers: counts, moments, and the mean with its interval, which ends where the scale does."""
    answers = scores[~np.isnan(scores)]
    low, high = intervals.bootstrap(scores, seed=seed)
    return {
        **dataclasses.asdict(intervals.over_readers_and_cases(scores).within(1, scale)),
        "sd": float(answers.std(ddof=1)) if len(answers) > 1 else None,
        "median": float(np.median(answers)) if len(answers) else None,
        "counts": np.bincount(answers.astype(np.int64), minlength=scale + 1)[1:].tolist(),
        "bootstrap_low": low,
        "bootstrap_high": high,
    }


def _readers(study, ratings, scores):
    return {
        reader: {name: _mean(scores[i, j]) for i, name in enumerate(study.arms)}
        for j, reader in enumerate(ratings.readers)
    }


def _mean(values):
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _model(study, tested, scores):
    if tested.fit is None:
        return {"fitted": False, "note": tested.note}
    names = [study.arms[i] for i in tested.arms]
    within = primary.within_arms(scores, tested.arms)
    return {
        "fitted": True,
        "note": tested.note,
        **_fit(names, tested.fit),
        "within_arms": within and _fit(names, within),
    }


def _fit(names, fit):
    return {
        "thresholds": fit.thresholds.tolist(),
        "log_odds": dict(zip(names, fit.effects.tolist(), strict=True)),
        "deviations": fit.deviations,
        "log_likelihood": fit.log_likelihood,
        "answers": len(fit.levels),
    }


def _pair(study, scores, pair):
    differences = scores[pair.first] - scores[pair.second]
    low, high = intervals.bootstrap(differences, seed=study.seed)
    names = {"first": study.arms[pair.first], "second": study.arms[pair.second]}
    return {
        **dataclasses.asdict(pair),
        **names,
        "difference": {
            **dataclasses.asdict(intervals.over_readers_and_cases(differences)),
            "bootstrap_low": low,
            "bootstrap_high": high,
        },
        "wilcoxon": dataclasses.asdict(comparisons.case_averaged_wilcoxon(differences)),
        "common_language": dataclasses.asdict(comparisons.common_language(differences)),
    }


def _adjust(questions):
    """Holm over all pairs of all questions: they are one family of tests."""
    pairs = [pair for question in questions.values() for pair in question["pairs"]]
    for pair, adjusted in zip(pairs, comparisons.holm([pair["p_value"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    for pair, adjusted in zip(pairs, comparisons.holm([p["wilcoxon"]["p_value"] for p in pairs]), strict=True):
        pair["wilcoxon"]["p_holm"] = adjusted


def _noninferiority(study, question, scores):
    if study.reference is None or question.margin is None:
        return []
    result = []
    for i, name in enumerate(study.arms):
        if i == study.reference:
            continue
        difference = intervals.over_readers_and_cases(scores[i] - scores[study.reference])
        verdict = noninferiority.judge(difference, question.margin)
        result.append(
            {
                "arm": name,
                "reference": study.arms[study.reference],
                "margin": question.margin,
                "difference": dataclasses.asdict(difference),
                **dataclasses.asdict(verdict),
            }
        )
    return result


def _agreement(study, ratings, scale, chosen):
    arms, readers, cases = chosen.scores.shape
    images = chosen.scores.transpose(0, 2, 1).reshape(arms * cases, readers)
    case = np.tile(np.arange(cases), arms)
    by_arm = {
        name: _measures(chosen.scores[i].T, scale, np.arange(cases), study.seed) for i, name in enumerate(study.arms)
    }
    pairs = itertools.combinations(range(readers), 2)
    return {
        "all images": _measures(images, scale, case, study.seed),
        "by arm": by_arm,
        "reader pairs": [
            {
                "first": ratings.readers[i],
                "second": ratings.readers[j],
                **_two(images[:, [i, j]], scale, case, study.seed),
            }
            for i, j in pairs
        ],
        "within reader": _within(ratings, scale, chosen, study.seed),
    }


def _measures(images, scale, case, seed):
    found = {
        **intraclass(images),
        "alpha": agreement.krippendorff_alpha(images, scale, case, seed=seed),
        "AC2": agreement.gwet_ac2(images, scale, case, seed=seed),
        "exact": agreement.raw_agreement(images, scale, case, seed=seed),
        "within 1": agreement.raw_agreement(images, scale, case, within=1, seed=seed),
    }
    return {name: dataclasses.asdict(value) for name, value in found.items()}


def _two(images, scale, case, seed):
    both = ~np.isnan(images).any(axis=1)
    if not both.any():
        empty = dataclasses.asdict(Coefficient(None, None, None, 0, "no image that both judged"))
        return {"images": 0, "kappa": empty, "exact": empty, "within 1": empty}
    images, case = images[both], case[both]
    found = {
        "kappa": agreement.weighted_kappa(images[:, 0], images[:, 1], scale, case, seed),
        "exact": agreement.raw_agreement(images, scale, case, seed=seed),
        "within 1": agreement.raw_agreement(images, scale, case, within=1, seed=seed),
    }
    return {"images": int(both.sum()), **{name: dataclasses.asdict(value) for name, value in found.items()}}


def _within(ratings, scale, chosen, seed):
    result = []
    for i, reader in enumerate(ratings.readers):
        own = chosen.reader == i
        pairs = np.stack([chosen.first[own], chosen.again[own]], axis=1).astype(np.float64)
        result.append({"reader": reader, **_two(pairs, scale, chosen.case[own], seed)})
    return result


def _times(study, ratings):
    seconds, arm, reader = selection.reading_times(study, ratings)
    by_arm = {name: _spread(seconds[arm == i]) for i, name in enumerate(study.arms)}
    by_reader = {name: _spread(seconds[reader == i]) for i, name in enumerate(ratings.readers)}
    return {"all": _spread(seconds), "by arm": by_arm, "by reader": by_reader}


def _spread(seconds):
    if not len(seconds):
        return {"images": 0, "median": None, "quarter": None, "three_quarters": None, "total": 0.0}
    quarter, median, three_quarters = np.quantile(seconds, (0.25, 0.5, 0.75))
    return {
        "images": len(seconds),
        "median": float(median),
        "quarter": float(quarter),
        "three_quarters": float(three_quarters),
        "total": float(seconds.sum()),
    }


def _preferences(study, compared):
    if compared is None:
        return None
    # Where only some arms were put side by side, the others have no strength.
    used = np.unique([compared.left, compared.right])
    first, second = (np.searchsorted(used, side) for side in (compared.left, compared.right))
    found = preferences.strengths(first, second, compared.choice, len(used), compared.reader, compared.case)
    left, right = int((compared.choice > 0).sum()), int((compared.choice < 0).sum())
    names = [study.arms[i] for i in used]
    return {
        "comparisons": len(compared.choice),
        "excluded": compared.excluded,
        "left": left,
        "right": right,
        "none": len(compared.choice) - left - right,
        "ties": found.ties,
        "note": found.note,
        "arms": {name: _strength(found, i) for i, name in enumerate(names)},
        "pairs": [_duel(found, names, i, j) for i, j in itertools.combinations(range(len(names)), 2)],
    }


def _duel(found, names, i, j):
    return {
        "first": names[j],
        "second": names[i],
        "first_preferred": int(found.wins[j, i]),
        "second_preferred": int(found.wins[i, j]),
        "none": int(found.tied[i, j]),
    }


def _strength(found, arm):
    parts = {"log_strength": found.log_strength, "low": found.low, "high": found.high}
    return {name: None if values is None else float(values[arm]) for name, values in parts.items()}


def _finite(value):
    """Returns the same with plain numbers, and None for what is not finite; JSON knows neither nan nor infinity."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
