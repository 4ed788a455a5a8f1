"""A reader's answer to one trial, as the reading page sends it, and its validation."""

import dataclasses
from collections.abc import Sequence

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.rules import CATEGORIES, PREFERENCE

CHOICES = ("left", "right", "none")


class Refused(Exception):
    """The server refuses an answer: the trial is already answered or not the next one, or the study is closed."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A reader's answer to one trial.

    Attributes:
        values: Question key to score, 1 to 5; or `preference` to `left`, `right` or `none`.
        submission: Idempotency key of 8 to 64 characters, chosen by the page: a retransmission carries the same one.
        elapsed_ms: Milliseconds from image display to submission.
        first_input_ms: Milliseconds from image display to the first key press or click.
        idle_ms: Milliseconds of `elapsed_ms` in which the page was hidden or without input.
        window_center: Window Center at submission.
        window_width: Window Width at submission.

    Raises:
        InputError: A time, the window or the submission key is out of range.
    """

    values: dict[str, int | str]
    submission: str
    elapsed_ms: float
    first_input_ms: float
    idle_ms: float
    window_center: float
    window_width: float

    def __post_init__(self):
        times = (self.elapsed_ms, self.first_input_ms, self.idle_ms)
        numbers = (*times, self.window_center, self.window_width)
        if not all(type(n) in (int, float) and abs(n) < 1e10 for n in numbers):
            raise InputError("times and window must be numbers")
        if min(times) < 0 or max(times) != self.elapsed_ms:
            raise InputError("times must lie between 0 and the elapsed time")
        if not isinstance(self.submission, str) or not 8 <= len(self.submission) <= 64:
            raise InputError("submission must be text of 8 to 64 characters")


def check_values(values: object, questions: Sequence[str], preference: bool) -> None:
    """Checks that every question is answered, and nothing else.

    Args:
        values: `Answer.values`.
        questions: Keys of the rating questions.
        preference: Whether the trial is a paired comparison; then only the preference is expected.

    Raises:
        InputError: An answer is missing, unexpected or out of range.
    """
    keys = {PREFERENCE} if preference else set(questions)
    if not isinstance(values, dict) or set(values) != keys:
        raise InputError(f"expected answers to {', '.join(sorted(keys))}")
    allowed = CHOICES if preference else range(1, CATEGORIES + 1)
    if not all(type(v) is (str if preference else int) and v in allowed for v in values.values()):
        raise InputError(f"answers must be one of {', '.join(map(str, allowed))}")
