"""A table of the report: formatted text for the page, unrounded numbers for its CSV file."""

import dataclasses
import typing
from collections.abc import Iterable

from tfmisr.reader_study.csv_export import csv_text
from tfmisr.reader_study.statistics.ratings import SIMULATED


@dataclasses.dataclass(frozen=True)
class Table:
    """A table in both forms.

    Attributes:
        name: Name of the CSV file, without suffix.
        caption: What the table shows and what its numbers mean.
        header: Titles of the page's columns.
        rows: Formatted texts of the page; the first one of a row is its header.
        records: Rows of the CSV file, with more columns: column to value.
        note: Sentences below the table.
    """

    name: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    records: list[dict]
    note: str = ""


def as_csv(table: Table, simulated: bool) -> str:
    """Returns the text of the CSV file.

    Args:
        table: The table.
        simulated: Whether to mark every row as one of simulated readers.
    """
    records = [{"warning": SIMULATED, **record} if simulated else record for record in table.records]
    columns = list(dict.fromkeys(key for record in records for key in record))
    return csv_text(columns, ({key: _escaped(value) for key, value in record.items()} for record in records))


def notes(sentences: Iterable[str]) -> str:
    """Returns the distinct non-empty notes as sentences, each with a capital and a period."""
    distinct = list(dict.fromkeys(filter(None, sentences)))
    return " ".join(f"{note[0].upper()}{note[1:]}." for note in distinct)


def _escaped(value: typing.Any) -> typing.Any:
    # CSV injection: a spreadsheet evaluates text that begins like a formula.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
