"""The CSV files of an export: their columns, which other software reads, and their text."""

import csv
import io
import typing
from collections.abc import Iterable, Sequence

_WHERE = ("study_hash", "reader", "session", "position", "case")
_WHEN = (
    *("repeat", "training", "shown_at", "first_input_at", "committed_at", "idle_ms", "active_ms", "too_fast"),
    *("window_center", "window_width", "software_version", "zoom", "interpolation"),
)
RATING_COLUMNS = (*_WHERE, "arm", "question", "score", *_WHEN)
PREFERENCE_COLUMNS = (*_WHERE, "arm_left", "arm_right", "question", "choice", *_WHEN)


def csv_text(columns: Sequence[str], rows: Iterable[dict[str, typing.Any]]) -> str:
    """Returns the text of a CSV file with a header.

    Args:
        columns: Names of the columns in order.
        rows: Column to value; missing columns are left empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
