"""Atomic writes, temporary file names and their removal."""

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

SECONDS_PER_DAY = 86_400
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

# A process id is only meaningful on the machine it was assigned on; the folder may be shared between machines.
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:4]
# In earlier versions the file name followed the process id. The pattern excludes hidden files of other programs:
# iCloud (`.1.png.icloud`), rsync (`.1.png.Xy12Zq`) and vim (`.1.txt.swp`).
_TEMPORARY = re.compile(
    r"\.(\d+)\.(?:([0-9a-f]{4})-[0-9a-f]{8}(?:\.[^.]{1,9})?|.+\.(?:npz|keras|json|csv|md|png|tiff?|dcm|tflite))"
)


def encode_name(name: str) -> bytes:
    """Returns the bytes of a file name, for hashing: UTF-8, or the raw bytes of a name that is not valid UTF-8."""
    return name.encode("utf-8", "surrogatepass" if os.name == "nt" else "surrogateescape")


def printable(name: str) -> str:
    """Returns a file name as text for tables and JSON; bytes that are not valid UTF-8 are escaped: `\\udcfc`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def temporary_name(path: str | os.PathLike, process: int | str | None = None) -> pathlib.Path:
    """Returns a path in the folder of `path` that is unique to this process, with the same extension and a short name.

    Args:
        path: File or folder, whose name may be as long as the file system allows.
        process: Process id, or "*" for a glob pattern of any process; by default the id of this process.
    """
    path = pathlib.Path(path)
    digest = hashlib.sha256(encode_name(path.name)).hexdigest()[:8]
    suffix = path.suffix if len(path.suffix) <= 10 else ""
    return path.with_name(f".{process or os.getpid()}.{_MACHINE}-{digest}{suffix}")


@contextlib.contextmanager
def add_path_to_errors(path: str | os.PathLike) -> Iterator[None]:
    """Sets the file name of an `OSError` about a full disk or a file that is too large, if it has none."""
    try:
        yield
    except OSError as error:
        if error.errno in (*DISK_FULL, errno.EFBIG) and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to, then renames it to `path`: the file appears complete or not at all.

    The data is flushed to disk (fsync) before the rename. After an error the temporary file is removed.
    """
    path = pathlib.Path(path)
    temporary = temporary_name(path)
    try:
        with add_path_to_errors(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 text file atomically; characters that cannot be encoded, as in file names, are escaped."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def remove_stale_temporaries(folders: Iterable[pathlib.Path]) -> None:
    """Removes those of the folders that have not been modified for a day, left by killed processes."""
    for folder in folders:
        if time.time() - folder.stat().st_mtime > SECONDS_PER_DAY:
            shutil.rmtree(folder, ignore_errors=True)


def remove_orphaned_temporaries(*folders: pathlib.Path) -> None:
    """Removes temporary files in these folders whose process has ended, or that are older than a day.

    Files with this process's id count as orphaned too (ids are reused): call it before anything is written.
    """
    for folder in filter(pathlib.Path.is_dir, map(pathlib.Path, folders)):
        for path in folder.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match and path.is_file():
                is_orphaned = match[2] in (None, _MACHINE) and _has_ended(int(match[1]))
                if is_orphaned or time.time() - path.stat().st_mtime > SECONDS_PER_DAY:
                    path.unlink(missing_ok=True)


def _has_ended(process: int) -> bool:
    if process == os.getpid():
        return True
    if os.name == "nt":  # there signal 0 would interrupt the process
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Whether a process has ended and its parent has not asked how: in a container, often for ever."""
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):  # not Linux, or just gone
        return False
    return state in (b"Z", b"X")


__getattr__ = renamed(
    __name__,
    DAY="SECONDS_PER_DAY",
    FULL="DISK_FULL",
    drop_dead="remove_orphaned_temporaries",
    drop_old="remove_stale_temporaries",
    name_bytes="encode_name",
    named="add_path_to_errors",
    whole="atomic_write",
)
