"""A reader's answer to one trial, as the reading page sends it, and its validation."""

import dataclasses
from collections.abc import Sequence

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.rules import CATEGORIES, INTERPOLATIONS, PREFERENCE

CHOICES = ("left", "right", "none")


class Refused(Exception):
    """The server refuses an answer: the trial is already answered or not the next one, or the study is closed.

    Args:
        reason: Why, for the reader.
        stored: What is stored for the trial, as `tfmisr.reader_study.store.Store.stored` returns it.

    Attributes:
        stored: The same.
    """

    def __init__(self, reason: str, stored: dict | None = None):
        super().__init__(reason)
        self.stored = stored


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
        window_width: Window Width at submission, above 0.
        zoom: Screen pixels per image pixel at submission, or `None` from a page of an earlier release.
        interpolation: `smooth` or `nearest`, as the page drew magnified pixels, or `None` as for `zoom`.

    Raises:
        InputError: A time, the window, the zoom, the interpolation or the submission key is out of range.
    """

    values: dict[str, int | str]
    submission: str
    elapsed_ms: float
    first_input_ms: float
    idle_ms: float
    window_center: float
    window_width: float
    zoom: float | None = None
    interpolation: str | None = None

    def __post_init__(self):
        times = (self.elapsed_ms, self.first_input_ms, self.idle_ms)
        numbers = (*times, self.window_center, self.window_width)
        if not all(type(n) in (int, float) and abs(n) < 1e10 for n in numbers):
            raise InputError("times and window must be numbers")
        if min(times) < 0 or max(times) != self.elapsed_ms:
            raise InputError("times must lie between 0 and the elapsed time")
        if self.window_width <= 0:
            raise InputError(f"window_width must be above 0. Received: {self.window_width}")
        if self.zoom is not None and not (type(self.zoom) in (int, float) and 0 < self.zoom < 1e4):
            raise InputError(f"zoom must be above 0, in screen pixels per image pixel. Received: {self.zoom!r}")
        if self.interpolation is not None and self.interpolation not in INTERPOLATIONS:
            raise InputError(f"interpolation must be {' or '.join(INTERPOLATIONS)}. Received: {self.interpolation!r}")
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
