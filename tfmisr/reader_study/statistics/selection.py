"""Which answers count for what: training for nothing, repeats for agreement within a reader."""

import dataclasses

import numpy as np

from tfmisr.reader_study.statistics.ratings import Ratings, Study


@dataclasses.dataclass(frozen=True)
class Selection:
    """The answers to one question, ordered by what they are for.

    Attributes:
        scores: Array (arms, readers, cases) of first readings, nan where there is none.
        first: First readings (n,) of images that were judged again.
        again: The other readings of the same images by the same readers.
        reader: Reader of each of these.
        case: Case of each of these.
    """

    scores: np.ndarray
    first: np.ndarray
    again: np.ndarray
    reader: np.ndarray
    case: np.ndarray


def select(study: Study, ratings: Ratings, question: int) -> Selection:
    """Returns the answers to a question; a reading after the first is a repeat, flagged or not."""
    shape = len(study.arms), len(ratings.readers), len(study.cases)
    rows = _ordered(ratings, np.flatnonzero((ratings.question == question) & ~ratings.training))
    places = np.ravel_multi_index((ratings.arm[rows], ratings.reader[rows], ratings.case[rows]), shape)
    _, first_rows = np.unique(places, return_index=True)
    is_first = np.zeros(len(rows), bool)
    is_first[first_rows] = True
    # A repeat whose first reading is missing stays a repeat.
    is_first &= ~ratings.repeat[rows]
    scores = np.full(shape, np.nan)
    scores.flat[places[is_first]] = ratings.score[rows[is_first]]
    later = ~is_first & ~np.isnan(scores.flat[places])
    return Selection(
        scores,
        scores.flat[places[later]].astype(np.int64),
        ratings.score[rows[later]],
        ratings.reader[rows[later]],
        ratings.case[rows[later]],
    )


def flow(study: Study, ratings: Ratings) -> list[dict]:
    """Returns how many answers there are and what becomes of them, one dictionary a question."""
    result = []
    for i, question in enumerate(study.questions):
        asked = ratings.question == i
        chosen = select(study, ratings, i)
        answers, training = int(asked.sum()), int((asked & ratings.training).sum())
        first = int((~np.isnan(chosen.scores)).sum())
        result.append(
            {
                "question": question.name,
                "answers": answers,
                "training": training,
                "repeats": int((asked & ~ratings.training).sum()) - first,
                "repeats_with_a_first_reading": len(chosen.first),
                "analysed": first,
                "possible": chosen.scores.size,
                "missing": chosen.scores.size - first,
                "too_fast": int((asked & ratings.too_fast & ~ratings.training).sum()),
            }
        )
    return result


def reading_times(study: Study, ratings: Ratings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the seconds spent on each image of the study proper, repeats included, and its arm and reader.

    All questions on an image share its time; it is counted once.
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


def _ordered(ratings, rows):
    return rows[np.lexsort((ratings.position[rows], ratings.session[rows], ratings.repeat[rows]))]
