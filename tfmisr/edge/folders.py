"""Finds the image files of a folder, by one rule for training and for upscaling."""

import os
import pathlib
from collections.abc import Callable, Iterator

from tfmisr.edge import images
from tfmisr.edge.errors import InputError

# In archives made on macOS: resource forks with the names of the images.
_EXCLUDED = ("__MACOSX",)


def image_files(
    folder: pathlib.Path, unreadable: Callable[[str], None] = lambda message: None
) -> Iterator[tuple[pathlib.Path, str]]:
    """Returns an iterator of (path, name relative to the folder, with "/") of image files, sorted within each folder.

    A file is an image by its extension or by its first bytes; an unreadable file counts as one. Hidden files and
    folders (names that start with a dot) and `__MACOSX` are skipped. Links are followed; each folder is visited once.

    Args:
        folder: The root folder.
        unreadable: Called with a message for each folder that cannot be read.
    """
    return ((path, name) for path, name in all_files(folder, unreadable) if _is_image(path))


def all_files(
    folder: pathlib.Path, unreadable: Callable[[str], None] = lambda message: None
) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields each regular file of a folder as `image_files` does, images or not."""
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
        if entry.name.startswith(".") or entry.name in _EXCLUDED:
            continue
        path, name = pathlib.Path(entry.path), prefix + entry.name
        if entry.is_dir():
            yield from _walk(path, name + "/", seen, unreadable)
        elif entry.is_file():
            yield path, name


def _is_image(path: pathlib.Path) -> bool:
    # DICOM files often have no extension. Other files, such as logs, may appear or disappear during the walk.
    try:
        return path.suffix.lower() in images.EXTENSIONS or images.detect_format(path) is not None
    except InputError:
        return True  # unreadable: the error is raised when the file is opened
