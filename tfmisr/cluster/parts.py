"""The ledger in an object store: Parquet parts, merged at the end of a command."""

import contextlib
import io
import pathlib
import secrets
import tempfile
import time
from collections.abc import Iterator

from tfmisr.cluster import stores
from tfmisr.cluster.ledger import FOLDER, KEPT, NAME, PAGE, Ledger, pages
from tfmisr.edge.errors import InputError

SECONDS_BETWEEN_PARTS = 30.0


@contextlib.contextmanager
def opened(folder: str) -> Iterator[tuple[Ledger, "Parts | None"]]:
    """Yields the ledger of an output folder, and for a URL its parts in the store."""
    if not stores.is_url(folder):
        with _removed_untouched(pathlib.Path(folder) / NAME), Ledger(pathlib.Path(folder) / NAME) as ledger:
            yield ledger, None
        return
    with _temporary() as path, Ledger(path) as ledger:
        parts = Parts(folder, ledger)
        try:
            yield ledger, parts
        finally:
            parts.write()
        parts.merge()


@contextlib.contextmanager
def _removed_untouched(path):
    """Removes a new ledger after a user's error, unless it says what became of an image."""
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    try:
        yield
    except InputError:
        if missing and path.is_file():
            with Ledger(path) as ledger:
                untouched = ledger.untouched
            if untouched:
                path.unlink()
                with contextlib.suppress(OSError):  # not empty
                    for folder in missing:
                        folder.rmdir()
        raise


@contextlib.contextmanager
def copy(folder: str) -> Iterator[pathlib.Path]:
    """Yields a local SQLite file with the ledger of a URL, to be read.

    Raises:
        InputError: There is none.
    """
    with _temporary() as path:
        with Ledger(path) as ledger:
            if not Parts(folder, ledger).restored:
                raise InputError(f"expected the ledger of a run at {folder}/{FOLDER}, found none")
        yield path


@contextlib.contextmanager
def _temporary():
    with tempfile.TemporaryDirectory(prefix="tfmisr-") as folder:
        yield pathlib.Path(folder) / "ledger.sqlite"


class Parts:
    """Parts of a ledger in a store. Rows that are not in a part yet are made again after a crash, to the same file.

    Args:
        folder: URL of the output folder.
        ledger: Local ledger, to which the rows of the store are added.

    Attributes:
        restored: Number of files that were found.
    """

    def __init__(self, folder: str, ledger: Ledger) -> None:
        self._folder, self._ledger = folder, ledger
        names = [f"{folder}/{FOLDER}/ledger.parquet", *self._parts()]
        contents = [(name, stores.read_bytes(name)) for name in names]
        self.restored = 0
        self._merged = []
        for name, content in contents:
            if content is not None:
                self.restored += 1
                self._merged.append(name)
                for rows in _rows(name, content):
                    ledger.restore(rows)
        self._written, self._since = time.monotonic(), time.time()

    def _parts(self) -> list[str]:
        system, path = stores.file_system(f"{self._folder}/{FOLDER}/parts")
        with stores.naming(self._folder):
            system.invalidate_cache(path)
            found = system.ls(path, detail=False) if system.exists(path) else []
        return [system.unstrip_protocol(name) for name in sorted(found) if name.endswith(".parquet")]

    def write_if_due(self) -> None:
        """Writes a part every half minute."""
        if time.monotonic() - self._written > SECONDS_BETWEEN_PARTS:
            self.write()

    def write(self) -> None:
        """Writes the rows that are finished since the last part."""
        self._ledger.commit()
        since, self._since, self._written = self._since, time.time(), time.monotonic()
        content = _parquet(self._ledger.rows("finished >= ?", since))
        if content:
            name = f"{self._folder}/{FOLDER}/parts/{time.time_ns():020d}-{secrets.token_hex(4)}.parquet"
            stores.write_bytes(name, content)
            self._merged.append(name)

    def merge(self) -> None:
        """Writes all rows to one file and removes the parts in it; those of another command stay."""
        merged = f"{self._folder}/{FOLDER}/ledger.parquet"
        content = _parquet(self._ledger.rows())
        if not content:
            return
        stores.write_bytes(merged, content)
        for name in self._merged:
            if name != merged:
                system, path = stores.file_system(name)
                with stores.naming(name), contextlib.suppress(FileNotFoundError):
                    system.rm_file(path)


def _parquet(rows) -> bytes:
    """Returns rows as a Parquet file, empty without rows."""
    import pyarrow
    from pyarrow import parquet

    texts = {"target", "source", "options", "status", "error", "identity", "stamp", "sha256", "series"}
    kinds = {"start": pyarrow.int64(), "size": pyarrow.int64(), "tries": pyarrow.int64()}
    schema = pyarrow.schema(
        [(name, pyarrow.string() if name in texts else kinds.get(name, pyarrow.float64())) for name in KEPT]
    )
    buffer, writer = io.BytesIO(), None
    for page in pages(rows, 10 * PAGE):
        writer = writer or parquet.ParquetWriter(buffer, schema)
        columns = [
            pyarrow.array(values, field.type) for values, field in zip(zip(*page, strict=True), schema, strict=True)
        ]
        writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
    if writer is None:
        return b""
    writer.close()
    return buffer.getvalue()


def _rows(name, content) -> Iterator[list[tuple]]:
    import pyarrow
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(io.BytesIO(content)).iter_batches(PAGE, columns=list(KEPT)):
            yield list(zip(*(batch.column(key).to_pylist() for key in KEPT), strict=True))
    except (pyarrow.ArrowException, KeyError) as error:
        raise InputError(f"{name} is no part of a ledger ({type(error).__name__}); remove it") from error
