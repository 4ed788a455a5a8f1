"""The image files of a folder: which there are, and what their headers say."""

import dataclasses
import hashlib
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator

import tqdm

from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import name_bytes

MIN_SIDE = 32  # below it a low resolution at x8 has under 4 pixels


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a folder.

    Attributes:
        path: Where it is.
        name: Its path in the folder, with "/".
        size: Bytes.
        mtime_ns: Time of the last change.
        header: Size, type and patient, once they are read.
    """

    path: pathlib.Path
    name: str
    size: int
    mtime_ns: int
    header: images.Header | None = None


def files(folders: Iterable[pathlib.Path]) -> list[File]:
    """Returns the files of the folders that are images by their names or their first bytes, sorted.

    Hidden ones are left out. Links are followed. A file or folder that is reached twice counts once.

    Raises:
        InputError: One of the folders is none.
    """
    found, seen = [], set()
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"expected a folder of images, found none at {folder}")
        found += _walk(folder, "", seen)
    return sorted(found, key=lambda file: (file.name, str(file.path)))


def _walk(folder, prefix, seen) -> Iterator[File]:
    try:
        if _seen(os.stat(folder), seen):
            return
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        tqdm.tqdm.write(f"skipped the folder {folder}: {error.strerror}", file=sys.stderr)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path, name = pathlib.Path(entry.path), prefix + entry.name
        if entry.is_dir():
            yield from _walk(path, name + "/", seen)
        elif entry.is_file() and _is_candidate(path) and not _seen(info := os.stat(path), seen):
            yield File(path, name, info.st_size, info.st_mtime_ns)


def _is_candidate(path):
    # Other files may come and go, as a prepared dataset or a log inside the folder does.
    try:
        return path.suffix.lower() in images.EXTENSIONS or images.file_kind(path) is not None
    except InputError:
        return True  # cannot be read: counted as broken later


def _seen(info, seen):
    identity = (info.st_dev, info.st_ino)
    known = identity in seen
    seen.add(identity)
    return known


def fingerprint(found: Iterable[File], *more: str) -> str:
    """Returns 12 hexadecimal digits that change with the files' names, sizes, times, or with `more`."""
    digest = hashlib.sha256()
    for file in found:
        digest.update(name_bytes(f"{file.name}\0{file.size}\0{file.mtime_ns}\n"))
    for text in more:
        digest.update(name_bytes(f"{text}\0"))
    return digest.hexdigest()[:12]


class Tally:
    """Names and counts what is left out, and stops where too much is broken.

    Attributes:
        total: Number of files that are or should be images; set it before the first is broken.
        broken: Number of broken ones.
        small: Number of images below `MIN_SIDE`.
    """

    def __init__(self):
        self.total = self.broken = self.small = 0

    def skip_broken(self, error: InputError) -> None:
        """Counts one broken file.

        Raises:
            InputError: More than one, and more than 1 % of all, are broken.
        """
        self.broken += 1
        tqdm.tqdm.write(f"skipped as broken ({self.broken}): {error}", file=sys.stderr)
        if self.broken > max(1, self.total // 100):
            raise InputError(
                f"at most 1 % of {self.total:,} images may be broken or unsupported, mend or remove "
                f"them. Received: {self.broken:,} so far; the last: {error}"
            )

    def skip_small(self, path: pathlib.Path) -> None:
        """Counts one image that is too small."""
        self.small += 1
        if self.small <= 10:
            tqdm.tqdm.write(f"skipped as smaller than {MIN_SIDE} pixels: {path}", file=sys.stderr)


def read_headers(found: list[File], tally: Tally) -> list[File]:
    """Returns the images among the files, with their headers.

    Raises:
        InputError: Too many are broken, or there are none.
    """
    headers, errors = [], []
    for file in tqdm.tqdm(found, "headers", unit=" files", leave=False, disable=len(found) < 1000):
        try:
            if header := images.read_header(file.path):
                headers.append(dataclasses.replace(file, header=header))
        except InputError as error:
            errors.append(error)
    tally.total = len(headers) + len(errors)
    for error in errors:
        tally.skip_broken(error)
    large = []
    for file in headers:
        if min(file.header.height, file.header.width) < MIN_SIDE:
            tally.skip_small(file.path)
        else:
            large.append(file)
    return large


def stored_type(found: list[File]) -> tuple[int, int]:
    """Returns the channels, 1 or 3, and the bits, 8 or 16, that hold all images.

    Three channels that are stored but equal everywhere make no colour; that costs decoding such images
    until one in colour is found.

    Raises:
        InputError: Some are in colour and others stored as gray.
    """
    bits = max(file.header.bits for file in found)
    gray = next((file for file in found if file.header.channels == 1), None)
    progress = tqdm.tqdm(found, "colours", unit=" files", leave=False, disable=len(found) < 1000)
    coloured = next((file for file in progress if _is_coloured(file)), None)
    progress.close()
    if gray and coloured:
        raise InputError(
            "the images of a folder must be all gray or all in colour; put them into two. "
            f"Received: {gray.path} is gray, {coloured.path} is in colour"
        )
    return (3 if coloured else 1), bits


def _is_coloured(file):
    if file.header.channels == 1:
        return False
    try:
        return any(image.pixels.shape[2] == 3 for image in images.iter_images(file.path))
    except InputError:
        return False  # counted when its pixels are wanted
