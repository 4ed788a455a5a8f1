"""What in a folder is an image: one rule for the folders that are trained on and those that are enlarged."""

import os
import pathlib
from collections.abc import Callable, Iterator

from tfmisr.edge import images
from tfmisr.edge.errors import InputError

# Of archives made on a Mac: companions without pixels, named as the images are.
_NO_IMAGES = ("__MACOSX",)


def image_files(folder: pathlib.Path, unreadable: Callable[[str], None] = lambda message: None) -> Iterator[tuple]:
    """Yields the path and the name in the folder, with "/", of each file that is an image, sorted in each folder.

    It is one by its name's end or by its first bytes; a file that cannot be read counts as one. Hidden files and
    folders, whose names begin with a dot, are left out, as is `__MACOSX`. Links are followed, a folder only once.

    Args:
        folder: Where to look.
        unreadable: Called with a line on each folder that cannot be read.
    """
    yield from _walk(pathlib.Path(folder), "", set(), unreadable)


def _walk(
    folder: pathlib.Path, prefix: str, seen: set[tuple[int, int]], unreadable: Callable[[str], None]
) -> Iterator[tuple[pathlib.Path, str]]:
    try:
        info = os.stat(folder)
        if (info.st_dev, info.st_ino) in seen:
            return
        seen.add((info.st_dev, info.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        unreadable(f"skipped the folder {folder}: {error.strerror}")
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NO_IMAGES:
            continue
        path, name = pathlib.Path(entry.path), prefix + entry.name
        if entry.is_dir():
            yield from _walk(path, name + "/", seen, unreadable)
        elif entry.is_file() and _is_image(path):
            yield path, name


def _is_image(path: pathlib.Path) -> bool:
    # DICOM files often have no extension. Other files may come and go, as a prepared dataset or a log does.
    try:
        return path.suffix.lower() in images.EXTENSIONS or images.file_kind(path) is not None
    except InputError:
        return True  # it cannot be read, which is told when its turn comes
