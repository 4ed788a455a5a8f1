"""A table of the report: words for the page, plain numbers for its CSV file."""

import csv
import dataclasses
import io
from collections.abc import Iterable

from tfmisr.reader_study.statistics.ratings import SIMULATED


@dataclasses.dataclass(frozen=True)
class Table:
    """A table in both forms.

    Attributes:
        name: Of the CSV file.
        caption: What it shows, and what its numbers mean.
        header: Titles of the columns.
        rows: Texts; the first of a row is its title.
        records: The same with plain numbers and more of them: column to value.
        note: Sentences below it.
    """

    name: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    records: list[dict]
    note: str = ""


def as_csv(table: Table, simulated: bool) -> str:
    """Returns the file's text; of simulated readers every row says so."""
    records = [{"warning": SIMULATED, **record} if simulated else record for record in table.records]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for r in records for key in r)), lineterminator="\n")
    writer.writeheader()
    # A spreadsheet would take such a name for a formula.
    writer.writerows({key: _harmless(value) for key, value in record.items()} for record in records)
    return text.getvalue()


def notes(sentences: Iterable[str]) -> str:
    """Returns the different ones of them, each from a capital to a full stop."""
    found = list(dict.fromkeys(filter(None, sentences)))
    return " ".join(f"{note[0].upper()}{note[1:]}." for note in found)


def _harmless(value):
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
