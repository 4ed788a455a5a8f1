"""Files that data sets are written to while they arrive, in the spool, instead of pynetdicom's temporary files.

pynetdicom streams a data set to a file (`STORE_RECV_CHUNKED_DATASET`), so that memory does not grow with the object.
An error of the disk while it does so would end the association without a status. Here it is kept, the rest of the data
is read and dropped, and the handler answers with it.
"""

import contextlib
import itertools
import os
import pathlib
import threading
import typing

from pynetdicom import _config, dimse_messages

SUFFIX = ".part"

_folder = pathlib.Path()
_numbers = itertools.count()
_lock = threading.Lock()
_open: set["IncomingFile"] = set()


class IncomingFile:
    """A file with the interface that pynetdicom needs; it never raises an error of the disk.

    Attributes:
        path: The file.
        name: The same as text.
        error: The first error, or `None`.
    """

    def __init__(self, **_: typing.Any) -> None:
        self.path = _folder / f"{os.getpid()}-{next(_numbers)}{SUFFIX}"
        self.name = os.fspath(self.path)
        self.error: OSError | None = None
        self._writer = threading.current_thread()  # the association's; data stop when it ends
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            self.error = error
        with _lock:
            _open.add(self)

    @property
    def file(self) -> "IncomingFile":
        """The object that pynetdicom flushes."""
        return self

    def flush(self) -> None:
        """Does nothing: nothing is buffered."""

    def write(self, data: bytes) -> int:
        """Appends data; after an error it is dropped, and the space given back."""
        rest = memoryview(data)
        try:
            while rest and self.error is None:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self.error = error
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
        return len(data)

    def take(self) -> bool:
        """Keeps the file from `discard_abandoned`; false if it has been discarded."""
        with _lock:
            present = self in _open
            _open.discard(self)
        return present

    def sync(self) -> None:
        """Flushes the data to the disk.

        Raises:
            OSError: An error now, or while the data arrived.
        """
        if self.error:
            raise self.error
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Closes the file and removes it, unless it has been renamed."""
        with _lock:
            _open.discard(self)
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # some file systems report a full disk here; `sync` did before
                os.close(descriptor)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    @property
    def abandoned(self) -> bool:
        """Whether the connection has ended before the data set did."""
        return not self._writer.is_alive()


def install(folder: pathlib.Path) -> None:
    """Makes pynetdicom write data sets to files of a folder. It holds for the whole process.

    Args:
        folder: In the file system of the spool, so that files can be renamed into it.
    """
    global _folder
    _folder = folder
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.STORE_SEND_CHUNKED_DATASET = True
    dimse_messages.NamedTemporaryFile = IncomingFile


def receiving() -> int:
    """Returns the number of data sets that are arriving or wait for their handler."""
    with _lock:
        return sum(not each.abandoned for each in _open)


def discard_abandoned() -> int:
    """Removes the files of data sets whose connection has ended, and returns their number."""
    with _lock:
        abandoned = [each for each in _open if each.abandoned]
        _open.difference_update(abandoned)
    for each in abandoned:
        each.close()
    return len(abandoned)
