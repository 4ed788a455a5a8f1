"""Selects answers by their use: first readings for the analysis, repeats for intra-reader agreement, no training."""

import dataclasses

import numpy as np

from tfmisr.reader_study.statistics.ratings import Ratings, Study


@dataclasses.dataclass(frozen=True)
class Selection:
    """The answers to one question by their use.

    Attributes:
        scores: Array (arms, readers, cases) of first readings, nan without an answer.
        first: First readings (n,) of images that were rated again.
        again: Repeated readings (n,) of the same images by the same readers.
        reader: Reader of each of these (n,).
        case: Case of each of these (n,).
    """

    scores: np.ndarray
    first: np.ndarray
    again: np.ndarray
    reader: np.ndarray
    case: np.ndarray


def select(study: Study, ratings: Ratings, question: int) -> Selection:
    """Selects the answers to a question; a reading after the first one is a repeat, flagged or not.

    Args:
        study: The study.
        ratings: Its ratings.
        question: Index of the question.
    """
    shape = len(study.arms), len(ratings.readers), len(study.cases)
    rows = _ordered(ratings, np.flatnonzero((ratings.question == question) & ~ratings.training))
    cells = np.ravel_multi_index((ratings.arm[rows], ratings.reader[rows], ratings.case[rows]), shape)
    _, first_rows = np.unique(cells, return_index=True)
    is_first = np.zeros(len(rows), bool)
    is_first[first_rows] = True
    # A repeat whose first reading is missing stays a repeat.
    is_first &= ~ratings.repeat[rows]
    scores = np.full(shape, np.nan)
    scores.flat[cells[is_first]] = ratings.score[rows[is_first]]
    later = ~is_first & ~np.isnan(scores.flat[cells])
    return Selection(
        scores,
        scores.flat[cells[later]].astype(np.int64),
        ratings.score[rows[later]],
        ratings.reader[rows[later]],
        ratings.case[rows[later]],
    )


def flow(study: Study, ratings: Ratings) -> list[dict]:
    """Returns the flow of answers (as in a CONSORT diagram): numbers by use, one dictionary for each question."""
    result = []
    for i, question in enumerate(study.questions):
        of_question = ratings.question == i
        selected = select(study, ratings, i)
        answers, training = int(of_question.sum()), int((of_question & ratings.training).sum())
        first = int((~np.isnan(selected.scores)).sum())
        result.append(
            {
                "question": question.name,
                "answers": answers,
                "training": training,
                "repeats": int((of_question & ~ratings.training).sum()) - first,
                "repeats_with_a_first_reading": len(selected.first),
                "analysed": first,
                "possible": selected.scores.size,
                "missing": selected.scores.size - first,
                "too_fast": int((of_question & ratings.too_fast & ~ratings.training).sum()),
            }
        )
    return result


def reading_times(study: Study, ratings: Ratings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the reading time of each rated image, repeats included, training excluded.

    All questions about an image share its time, which is counted once.

    Returns:
        Seconds, index of the arm and index of the reader, each (trials,).
    """
    rows = np.flatnonzero(~ratings.training & ~np.isnan(ratings.active_ms))
    keys = np.stack([ratings.reader[rows], ratings.session[rows], ratings.position[rows]], axis=1)
    _, trials = np.unique(keys, axis=0, return_inverse=True)
    trials = trials.ravel()
    seconds = np.zeros(trials.max(initial=-1) + 1)
    np.maximum.at(seconds, trials, ratings.active_ms[rows] / 1000)
    last = np.zeros(len(seconds), np.int64)
    last[trials] = rows
    return seconds, ratings.arm[last], ratings.reader[last]


def _ordered(ratings: Ratings, rows: np.ndarray) -> np.ndarray:
    """Sorts rows so that first readings come before repeats."""
    return rows[np.lexsort((ratings.position[rows], ratings.session[rows], ratings.repeat[rows]))]
