"""All results of a study as one dictionary, results.json: numbers, or a sentence for why there is no number."""

import dataclasses
import itertools
import math
import platform
import typing

import numpy as np
import scipy

import tfmisr
from tfmisr.edge.deprecation import renamed
from tfmisr.reader_study.statistics import (
    agreement,
    comparisons,
    intervals,
    noninferiority,
    preferences,
    primary,
    selection,
)
from tfmisr.reader_study.statistics.ordinal import Fit
from tfmisr.reader_study.statistics.preferences import Strengths
from tfmisr.reader_study.statistics.ratings import SIMULATED, Preferences, Question, Ratings, Study
from tfmisr.reader_study.statistics.selection import Selection
from tfmisr.reader_study.statistics.summary_agreement import agreement_results

FORMAT = 1


def summarize(study: Study, ratings: Ratings, compared: Preferences | None = None) -> dict:
    """Returns the content of results.json.

    No value is nan or infinite: an undefined one is `None`, and a note gives the reason.

    Args:
        study: Content of study.json.
        ratings: Content of ratings.csv.
        compared: Content of preferences.csv, or `None`.
    """
    selections = [selection.select(study, ratings, i) for i in range(len(study.questions))]
    questions = {
        question.name: _question(study, ratings, question, selected)
        for question, selected in zip(study.questions, selections, strict=True)
    }
    _adjust_p_values(questions)
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
    return _to_json(result)


def _study(study: Study, ratings: Ratings) -> dict:
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


def _versions(ratings: Ratings) -> dict:
    return {
        "tfmisr": tfmisr.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "answers taken by": list(ratings.versions),
    }


def _question(study: Study, ratings: Ratings, question: Question, selected: Selection) -> dict:
    scores = selected.scores
    tested = primary.test_pairs(scores)
    answers = scores[~np.isnan(scores)].astype(np.int64)
    return {
        "text": question.text,
        "scale": question.scale,
        "margin": question.margin,
        "anchors": list(question.anchors),
        "arms": {name: _arm(scores[i], question.scale, study.seed) for i, name in enumerate(study.arms)},
        "readers": _readers(study, ratings, scores),
        "model": _model(study, tested, scores),
        "pairs": [_pair(study, scores, pair) for pair in tested.pairs],
        "noninferiority": _noninferiority(study, question, scores),
        "agreement": agreement_results(study, ratings, question.scale, selected),
        "warnings": list(filter(None, [agreement.few_categories(_counts(answers, question.scale))])),
    }


def _counts(answers: np.ndarray, scale: int) -> np.ndarray:
    return np.bincount(answers.astype(np.int64), minlength=scale + 1)[1:]


def _arm(scores: np.ndarray, scale: int, seed: int) -> dict:
    """Returns one arm's counts, moments, and mean with its interval, clipped to the scale."""
    answers = scores[~np.isnan(scores)]
    low, high = intervals.bootstrap(scores, seed=seed)
    return {
        **dataclasses.asdict(intervals.over_readers_and_cases(scores).within(1, scale)),
        "sd": float(answers.std(ddof=1)) if len(answers) > 1 else None,
        "median": float(np.median(answers)) if len(answers) else None,
        "counts": _counts(answers, scale).tolist(),
        "bootstrap_low": low,
        "bootstrap_high": high,
    }


def _readers(study: Study, ratings: Ratings, scores: np.ndarray) -> dict:
    return {
        reader: {name: _mean(scores[i, j]) for i, name in enumerate(study.arms)}
        for j, reader in enumerate(ratings.readers)
    }


def _mean(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _model(study: Study, tested: primary.Primary, scores: np.ndarray) -> dict:
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


def _fit(names: list[str], fit: Fit) -> dict:
    return {
        "thresholds": fit.thresholds.tolist(),
        "log_odds": dict(zip(names, fit.effects.tolist(), strict=True)),
        "deviations": fit.deviations,
        "log_likelihood": fit.log_likelihood,
        "answers": len(fit.levels),
    }


def _pair(study: Study, scores: np.ndarray, pair: primary.PairTest) -> dict:
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


def _adjust_p_values(questions: dict[str, dict]) -> None:
    """Adds Holm-adjusted p values; all pairs of all questions are one family of tests."""
    pairs = [pair for question in questions.values() for pair in question["pairs"]]
    for pair, adjusted in zip(pairs, comparisons.holm([pair["p_value"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    for pair, adjusted in zip(pairs, comparisons.holm([p["wilcoxon"]["p_value"] for p in pairs]), strict=True):
        pair["wilcoxon"]["p_holm"] = adjusted


def _noninferiority(study: Study, question: Question, scores: np.ndarray) -> list[dict]:
    if study.reference is None or question.margin is None:
        return []
    result = []
    for i, name in enumerate(study.arms):
        if i == study.reference:
            continue
        difference = intervals.over_readers_and_cases(scores[i] - scores[study.reference])
        verdict = noninferiority.evaluate(difference, question.margin)
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


def _times(study: Study, ratings: Ratings) -> dict:
    seconds, arm, reader = selection.reading_times(study, ratings)
    by_arm = {name: _quartiles(seconds[arm == i]) for i, name in enumerate(study.arms)}
    by_reader = {name: _quartiles(seconds[reader == i]) for i, name in enumerate(ratings.readers)}
    return {"all": _quartiles(seconds), "by arm": by_arm, "by reader": by_reader}


def _quartiles(seconds: np.ndarray) -> dict:
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


def _preferences(study: Study, compared: Preferences | None) -> dict | None:
    if compared is None:
        return None
    # Arms without paired comparisons have no strength.
    used = np.unique([compared.left, compared.right])
    first, second = (np.searchsorted(used, side) for side in (compared.left, compared.right))
    fit = preferences.strengths(first, second, compared.choice, len(used), compared.reader, compared.case)
    left, right = int((compared.choice > 0).sum()), int((compared.choice < 0).sum())
    names = [study.arms[i] for i in used]
    return {
        "comparisons": len(compared.choice),
        "excluded": compared.excluded,
        "left": left,
        "right": right,
        "none": len(compared.choice) - left - right,
        "ties": fit.ties,
        "note": fit.note,
        "arms": {name: _strength(fit, i) for i, name in enumerate(names)},
        "pairs": [_paired_counts(fit, names, i, j) for i, j in itertools.combinations(range(len(names)), 2)],
    }


def _paired_counts(fit: Strengths, names: list[str], i: int, j: int) -> dict:
    return {
        "first": names[j],
        "second": names[i],
        "first_preferred": int(fit.wins[j, i]),
        "second_preferred": int(fit.wins[i, j]),
        "none": int(fit.tied[i, j]),
    }


def _strength(fit: Strengths, arm: int) -> dict:
    parts = {"log_strength": fit.log_strength, "low": fit.low, "high": fit.high}
    return {name: None if values is None else float(values[arm]) for name, values in parts.items()}


def _to_json(value: typing.Any) -> typing.Any:
    """Returns plain Python numbers, `None` for those that are not finite: JSON has neither nan nor infinity."""
    if isinstance(value, dict):
        return {key: _to_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


__getattr__ = renamed(__name__, summarise="summarize")
