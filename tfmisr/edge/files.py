"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import time
from collections.abc import Iterable, Iterator

DAY = 86_400  # seconds


@contextlib.contextmanager
def whole(path) -> Iterator[pathlib.Path]:
    """Gives a temporary path beside `path` to write to, and `path`'s name to what was written there.

    The data is on the disk before the name changes. After an error nothing is left.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def drop_old(folders: Iterable[pathlib.Path]) -> None:
    """Removes the folders, left by processes that were killed, that nobody has changed for a day."""
    for folder in folders:
        if time.time() - folder.stat().st_mtime > DAY:
            shutil.rmtree(folder, ignore_errors=True)
