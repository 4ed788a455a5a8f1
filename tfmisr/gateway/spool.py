"""The folder of the node: received objects, results, files that are arriving, and the database of the queue.

incoming/    data sets that are arriving (*.part), derived series that are being made; removed at the start
objects/     received objects
results/     derived images
quarantine/  objects that came with the UID of another one
queue.db     the queue (see queue.py)
lock         locked while a node runs
"""

import contextlib
import hashlib
import io
import os
import pathlib
import shutil
import typing
import uuid
from collections.abc import Collection, Iterator

from tfmisr.edge.errors import InputError
from tfmisr.gateway.incoming import IncomingFile

FOLDERS = ("incoming", "objects", "results", "quarantine")


class Spool:
    """The folder of one node.

    Args:
        folder: Created if it does not exist.
        reserve: Free bytes that must remain.
    """

    def __init__(self, folder: pathlib.Path, reserve: float = 0) -> None:
        self.folder = folder
        self.reserve = reserve
        self.incoming, self.objects, self.results, self.quarantine = (folder / name for name in FOLDERS)
        self.database = folder / "queue.db"

    def create(self) -> None:
        """Creates the folders."""
        for folder in (self.folder, *(self.folder / name for name in FOLDERS)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # images and UIDs of patients
        sync_folder(self.folder)

    def check_complete(self) -> None:
        """Checks before a queue is created that there are no objects of a lost one, which would be removed.

        Raises:
            InputError: There are.
        """
        if not self.database.is_file() and any(self.objects.iterdir()):
            raise InputError(
                f"{self.objects} holds objects and {self.database} is missing: restore it, or move the objects away"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the folder.

        Raises:
            InputError: Another node uses the folder, or the system has no such locks.
        """
        try:
            import fcntl
        except ModuleNotFoundError as error:
            raise InputError("the gateway needs Linux or macOS: it locks its spool with flock") from error
        with open(self.folder / "lock", "w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(f"another gateway uses the spool {self.folder}; stop it, or name another") from error
            yield

    @property
    def free(self) -> int:
        """Free bytes of the disk."""
        return shutil.disk_usage(self.folder).free

    @property
    def has_space(self) -> bool:
        """Whether more than the reserve is free."""
        return self.free > self.reserve

    @property
    def quarantined(self) -> int:
        """Bytes that files in quarantine take on the disk: also the smallest takes a block."""
        total = 0
        with os.scandir(self.quarantine) as files:
            for entry in files:
                with contextlib.suppress(FileNotFoundError):  # discarded meanwhile
                    status = entry.stat()
                    total += max(status.st_size, getattr(status, "st_blocks", 0) * 512)
        return total

    def keep(self, file: IncomingFile, folder: pathlib.Path) -> pathlib.Path:
        """Moves a data set that has arrived into a folder: on the disk, with its name, when this returns.

        Raises:
            OSError: The disk is full or broken.
        """
        file.sync()
        target = folder / f"{uuid.uuid4().hex}.dcm"
        os.rename(file.path, target)
        try:
            sync_folder(folder)
        except OSError:
            target.unlink(missing_ok=True)
            raise
        return target

    def sweep(self, known: Collection[str]) -> int:
        """Removes what an interrupted process left behind, and returns the number of files.

        Args:
            known: Names of the files that the queue has; others were never acknowledged.
        """
        names = set(known)
        left = list(self.incoming.iterdir())
        left += [
            path
            for folder in (self.objects, self.results, self.quarantine)
            for path in folder.iterdir()
            if f"{folder.name}/{path.name}" not in names
        ]
        for path in left:
            if path.is_dir():  # of a series that was being processed
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        return len(left)

    def relative(self, path: pathlib.Path) -> str:
        """Returns the name of a file as the queue has it."""
        return path.relative_to(self.folder).as_posix()


def make_private(database: pathlib.Path) -> None:
    """Creates a database, or takes others their rights to it: SQLite's own files get its permissions.

    Args:
        database: Holds UIDs or names of patients, in a folder that may have been created open to all.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            os.chmod(f"{database}{suffix}", 0o600)


def sync_folder(folder: pathlib.Path) -> None:
    """Flushes the names in a folder to the disk.

    Raises:
        OSError: The disk is full or broken.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(file: typing.BinaryIO) -> str:
    """Returns the SHA-256 of the rest of a file in hexadecimal digits."""
    state = hashlib.sha256()
    while block := file.read(io.DEFAULT_BUFFER_SIZE * 32):
        state.update(block)
    return state.hexdigest()
