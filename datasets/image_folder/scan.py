"""Finds the image files of a folder and reads their headers."""

import dataclasses
import hashlib
import os
import pathlib
import sys
from collections.abc import Iterable

import tqdm

from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import encode_name
from tfmisr.edge.folders import image_files

MIN_SIDE = 32  # below it a low resolution at x8 has under 4 pixels
_MOST_REASONS = 10  # lines on what is left out


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a folder.

    Attributes:
        path: Its path.
        name: Its path relative to the folder, with "/".
        size: Bytes.
        mtime_ns: Time of the last modification, in nanoseconds.
        header: Size, type and patient; `None` before it is read.
    """

    path: pathlib.Path
    name: str
    size: int
    mtime_ns: int
    header: images.Header | None = None


def files(folders: Iterable[pathlib.Path]) -> list[File]:
    """Returns the files of the folders that `image_files` recognizes, sorted and without duplicates (links).

    Raises:
        InputError: One of the folders does not exist.
    """
    result, seen = [], set()
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"expected a folder of images, found none at {folder}")
        for path, name in image_files(folder, _write):
            if not _seen(info := os.stat(path), seen):
                result.append(File(path, name, info.st_size, info.st_mtime_ns))
    return sorted(result, key=lambda file: (file.name, str(file.path)))


def _seen(info, seen):
    identity = (info.st_dev, info.st_ino)
    known = identity in seen
    seen.add(identity)
    return known


def fingerprint(files: Iterable[File], *more: str) -> str:
    """Returns 12 hexadecimal digits of a hash of the files' names, sizes and modification times, and of `more`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(encode_name(f"{file.name}\0{file.size}\0{file.mtime_ns}\n"))
    for text in more:
        digest.update(encode_name(f"{text}\0"))
    return digest.hexdigest()[:12]


def _write(line):
    tqdm.tqdm.write(line, file=sys.stderr)


class Tally:
    """Counts skipped files by reason, and raises an error when too many are broken.

    Attributes:
        total: Number of files that are or should be images; to be set before the first broken one is counted.
        broken: Number of broken files.
        small: Number of images smaller than `MIN_SIDE`.
    """

    def __init__(self):
        self.total = self.broken = self.small = 0
        self._reasons = {}

    def _skip(self, category, reason, path):
        self._reasons.setdefault((category, reason), []).append(path)

    def skip_broken(self, error: InputError, path: pathlib.Path | None = None) -> None:
        """Counts one broken file.

        Args:
            error: Why it is broken.
            path: Its path.

        Raises:
            InputError: More than one file, and more than 1 % of all, are broken.
        """
        self.broken += 1
        self._skip("broken", str(error).removeprefix(f"{path}: "), path)
        if self.broken > max(1, self.total // 100):
            self.report()
            raise InputError(
                f"at most 1 % of {self.total:,} images may be broken or unsupported; repair or remove "
                f"them. Received: {self.broken:,} so far; the last: {error}"
            )

    def skip_small(self, path: pathlib.Path) -> None:
        """Counts one image that is too small."""
        self.small += 1
        self._skip(f"smaller than {MIN_SIDE} pixels", "", path)

    def report(self) -> None:
        """Writes a line for each reason, with up to three files, and clears the reasons but not the counts."""
        for (category, reason), paths in list(self._reasons.items())[:_MOST_REASONS]:
            examples = [str(path) for path in paths[:3] if path]
            more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
            details = ": ".join(filter(None, [reason, ", ".join(examples)]))
            _write(f"skipped as {category} ({len(paths):,}): {details}{more}")
        if rest := list(self._reasons.values())[_MOST_REASONS:]:
            _write(f"skipped for {len(rest):,} other reasons: {sum(map(len, rest)):,} files")
        self._reasons = {}


def read_headers(found: list[File], tally: Tally) -> list[File]:
    """Returns the images among the files, with their headers; small and broken ones are left out.

    Args:
        found: Files of `files`.
        tally: Counts the files that are left out.

    Raises:
        InputError: Too many are broken.
    """
    headers, errors = [], []
    for file in tqdm.tqdm(found, "headers", unit=" files", leave=False, disable=len(found) < 1000):
        try:
            if header := images.read_header(file.path):
                headers.append(dataclasses.replace(file, header=header))
        except InputError as error:
            errors.append((file.path, error))
    tally.total = len(headers) + len(errors)
    for path, error in errors:
        tally.skip_broken(error, path)
    large = []
    for file in headers:
        if min(file.header.height, file.header.width) < MIN_SIDE:
            tally.skip_small(file.path)
        else:
            large.append(file)
    tally.report()
    return large


def stored_type(found: list[File]) -> tuple[int, int]:
    """Returns the number of channels, 1 or 3, and of bits, 8 or 16, that all images can be stored with.

    An image with three equal channels is gray; such images are decoded until one in color is found.

    Raises:
        InputError: Some images are in color and others are stored as gray.
    """
    bits = max(file.header.bits for file in found)
    gray = next((file for file in found if file.header.channels == 1), None)
    progress = tqdm.tqdm(found, "color check", unit=" files", leave=False, disable=len(found) < 1000)
    color = next((file for file in progress if _is_color(file)), None)
    progress.close()
    if gray and color:
        raise InputError(
            "the images of a folder must be all gray or all in color; separate them into two folders. "
            f"Received: {gray.path} is gray, {color.path} is in color"
        )
    return (3 if color else 1), bits


def _is_color(file):
    if file.header.channels == 1:
        return False
    try:
        return any(image.pixels.shape[2] == 3 for image in images.iter_images(file.path))
    except InputError:
        return False  # counted as broken when its pixels are read
