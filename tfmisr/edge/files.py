"""Files that appear whole or not at all."""

import contextlib
import errno
import hashlib
import os
import pathlib
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator

from tfmisr.edge.deprecation import renamed

DAY = 86_400  # seconds
FULL = (errno.ENOSPC, errno.EDQUOT)

# A number of a process says nothing on another machine that shares the folder.
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:4]
# Earlier the file's own name came after the number. Nothing else is ours: iCloud (`.1.png.icloud`), rsync
# (`.1.png.Xy12Zq`) and vim (`.1.txt.swp`) have hidden files of such names too.
_TEMPORARY = re.compile(
    r"\.(\d+)\.(?:([0-9a-f]{4})-[0-9a-f]{8}(?:\.[^.]{1,9})?|.+\.(?:npz|keras|json|csv|md|png|tiff?|dcm|tflite))"
)


def name_bytes(name: str) -> bytes:
    """Returns the bytes of a name to hash: UTF-8, and the bytes of the disk where the name is no valid UTF-8."""
    return name.encode("utf-8", "surrogatepass" if os.name == "nt" else "surrogateescape")


def printable(name: str) -> str:
    """Returns a file's name as text for tables, pictures and JSON: what is no valid UTF-8 is escaped, as `\\udcfc`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def temporary_name(path: str | os.PathLike, process: int | str | None = None) -> pathlib.Path:
    """Returns a path beside `path` for this process alone, with its extension and a short name.

    Args:
        path: File or folder whose own name may be as long as the file system allows.
        process: Its number, or "*" for a pattern of any; this process by default.
    """
    path = pathlib.Path(path)
    digest = hashlib.sha256(name_bytes(path.name)).hexdigest()[:8]
    suffix = path.suffix if len(path.suffix) <= 10 else ""
    return path.with_name(f".{process or os.getpid()}.{_MACHINE}-{digest}{suffix}")


@contextlib.contextmanager
def named(path: str | os.PathLike) -> Iterator[None]:
    """Gives an error of a full disk, or of a file too large, the name of what was to be written, where it has none."""
    try:
        yield
    except OSError as error:
        if error.errno in (*FULL, errno.EFBIG) and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path beside `path` to write to, and `path`'s name to what was written there.

    The data is on the disk before the name changes. After an error nothing is left.
    """
    path = pathlib.Path(path)
    temporary = temporary_name(path)
    try:
        with named(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all; what of a file's name is no UTF-8 is escaped."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def remove_stale_temporaries(folders: Iterable[pathlib.Path]) -> None:
    """Removes the folders, left by processes that were killed, that nobody has changed for a day."""
    for folder in folders:
        if time.time() - folder.stat().st_mtime > DAY:
            shutil.rmtree(folder, ignore_errors=True)


def remove_orphaned_temporaries(*folders: pathlib.Path) -> None:
    """Removes the temporary files in these folders whose process is gone, or that are older than a day.

    Those of this process count as left by an earlier one of the same number: call it before anything is written.
    """
    for folder in filter(pathlib.Path.is_dir, map(pathlib.Path, folders)):
        for path in folder.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match and path.is_file():
                gone = match[2] in (None, _MACHINE) and _is_gone(int(match[1]))
                if gone or time.time() - path.stat().st_mtime > DAY:
                    path.unlink(missing_ok=True)


def _is_gone(process: int) -> bool:
    if process == os.getpid():
        return True
    if os.name == "nt":  # signal 0 would interrupt it there
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


__getattr__ = renamed(
    __name__, whole="atomic_write", drop_old="remove_stale_temporaries", drop_dead="remove_orphaned_temporaries"
)
