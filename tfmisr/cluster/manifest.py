"""Manifests: CSV or Parquet files with a row per image, read a part at a time."""

import contextlib
import csv
import io
import json
import os
import posixpath
import typing
from collections.abc import Iterator

from tfmisr.cluster import stores
from tfmisr.edge.errors import InputError, hint

SUFFIXES = (".csv", ".parquet")
_ROWS = 10_000


class Row(typing.NamedTuple):
    """One image: `source` as absolute path or URL, `target` relative with "/", `options` as a JSON object."""

    source: str
    target: str
    options: str = "{}"


def read(path: str, option_names: tuple[str, ...] = ()) -> Iterator[Row]:
    """Yields the rows of a manifest in its order.

    Args:
        path: `.csv` (UTF-8, with a header) or `.parquet`, local or URL. Columns: `source`, absolute, a URL or relative
            to the manifest's folder; `target`, relative to the output folder; `options`, optional, a JSON object.
        option_names: Keys that `options` may have.

    Raises:
        InputError: A column is missing, or a row is not usable; it is named by its number, the first row being 1.
    """
    folder = stores.local(path).replace(os.sep, "/").rpartition("/")[0]
    reader = _parquet if path.lower().endswith(".parquet") else _csv
    for number, (source, target, options) in enumerate(reader(path), 1):
        try:
            yield Row(_source(source, folder), check_target(target), _options(options, option_names))
        except InputError as error:
            raise InputError(f"{path}, row {number}: {error}") from None


def _source(source, folder) -> str:
    if not source:
        raise InputError("source is empty")
    if stores.is_url(source) or os.path.isabs(source):
        return stores.local(source)
    return posixpath.join(folder, source) if stores.is_url(folder) else os.path.normpath(os.path.join(folder, source))


def check_target(target: str) -> str:
    """Returns a path that is relative and stays in its folder.

    Raises:
        InputError: It is not; the message does not quote it, for names may identify patients.
    """
    text = (target or "").replace("\\", "/") if os.name == "nt" else target or ""
    parts = text.split("/")
    outside = text.startswith("/") or stores.is_url(text) or ".." in parts or (os.name == "nt" and ":" in text)
    if outside or "\0" in text:
        raise InputError("target must be relative and stay in the output folder, without ..")
    clean = posixpath.normpath(text) if text else "."
    if clean == "." or text.endswith("/") or any(part.startswith(".") for part in clean.split("/")):
        raise InputError("target must be the name of a file, in no hidden folder")
    return clean


def _options(text, names) -> str:
    if not text:
        return "{}"
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise InputError('options must be a JSON object such as {"color": "luma"}')
    for key in options:
        if key not in names:
            raise InputError(f"options may have {', '.join(names)}. Received: {key}{hint(key, names)}")
    return json.dumps(options, sort_keys=True)


def _require(path, columns) -> None:
    for name in ("source", "target"):
        if name not in columns:
            raise InputError(f"{path} needs a column {name}. Received: {', '.join(map(str, columns))}")


def _csv(path):
    with _opened(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
        try:
            rows = csv.DictReader(text, strict=True)
            _require(path, rows.fieldnames or ())
            for row in rows:
                yield row["source"], row["target"], row.get("options")
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path} is no CSV file in UTF-8 ({error})") from error


def _parquet(path):
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise InputError(f"{path} needs pyarrow. Run: pip install 'tfmisr[cluster]'") from error
    with _opened(path) as binary:
        try:
            table = parquet.ParquetFile(binary)
            names = table.schema_arrow.names
            _require(path, names)
            columns = [name for name in Row._fields if name in names]
            for batch in table.iter_batches(_ROWS, columns=columns):
                values = [[None if v is None else str(v) for v in batch.column(name).to_pylist()] for name in columns]
                yield from zip(*values, *[[None] * len(values[0])] * (3 - len(columns)), strict=True)
        except pyarrow.ArrowException as error:
            raise InputError(f"{path} is no Parquet file ({type(error).__name__})") from error


@contextlib.contextmanager
def _opened(path):
    if stores.is_url(path) and not path.startswith("file://"):
        system, inside = stores.file_system(path)
        with stores.naming(path), system.open(inside, "rb") as file:
            yield file
        return
    try:
        file = open(stores.local(path), "rb")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    with file:
        yield file
