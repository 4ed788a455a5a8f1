"""What a reader's page sends for one trial, and the rules that it must keep."""

import dataclasses

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.rules import CATEGORIES, PREFERENCE

CHOICES = ("left", "right", "none")


class Refused(Exception):
    """An answer that is not taken: it is there already, it is not its turn, or the study is closed."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a reader says of one trial.

    Attributes:
        values: Question to score, 1 to 5; or `preference` to `left`, `right` or `none`.
        submission: Text of the sender's own; the same answer sent twice has the same.
        elapsed_ms: From showing the images to sending.
        first_input_ms: From showing the images to the first key or click.
        idle_ms: Of `elapsed_ms`, while the page was hidden or nobody moved.
        window_center: At the end.
        window_width: At the end.
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
            raise InputError("times must lie between 0 and the whole time")
        if not isinstance(self.submission, str) or not 8 <= len(self.submission) <= 64:
            raise InputError("submission must be a text of 8 to 64 letters")


def check_values(values, questions: list[str], preference: bool) -> None:
    """Checks that every question is answered, and nothing else.

    Args:
        values: Of an `Answer`.
        questions: Keys of the questions that are asked of one image.
        preference: Two images were compared instead.

    Raises:
        InputError: An answer is missing or impossible.
    """
    keys = {PREFERENCE} if preference else set(questions)
    if not isinstance(values, dict) or set(values) != keys:
        raise InputError(f"expected answers to {', '.join(sorted(keys))}")
    allowed = CHOICES if preference else range(1, CATEGORIES + 1)
    if not all(type(v) is (str if preference else int) and v in allowed for v in values.values()):
        raise InputError(f"answers must be one of {', '.join(map(str, allowed))}")
