"""Finds and reads the images of a copy of the ChestX-ray14 archive, in any of its common layouts."""

import collections
import gzip
import hashlib
import io
import os
import pathlib
import re
import struct
import tarfile
import zlib
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tqdm
from PIL import Image

from tfmisr.datasets.chest_xray14 import sampling
from tfmisr.datasets.chest_xray14.gray import BrokenImage, gray, halve
from tfmisr.edge.errors import InputError

__all__ = ["Archive", "BrokenImage", "decode", "halve", "read_tarball"]

IMAGE = re.compile(r"(?:.*/)?(\d{8}_\d{3})\.png", re.ASCII)
TARBALL = re.compile(r"images_0?(?:0[1-9]|1[0-2])\.(?:tar|tar\.gz|tgz)", re.ASCII)
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
# sha256 of the sorted ids of both lists, one a line: NIH's lists whatever their line ends.
OFFICIAL = "611f888ddba00c816512d206bd66bc5996c7f7b6c6da852214300adf3865a148"
HOME = "https://nihcc.app.box.com/v/ChestXray-NIHCC"

MAX_BYTES = 16 << 20  # of one PNG; 1024x1024 RGBA pixels are 4 MiB before compression
MAX_DEPTH = 4  # folders under a given one; links are followed, so a loop of links ends here
# Images of a part. To read one in the middle of a tarball, what is before it is unpacked too: larger groups.
GROUP, TARBALL_GROUP = 256, 1024
WORKERS = min(8, os.cpu_count() or 1)


class Archive:
    """The images of ChestX-ray14 in some folders.

    Layouts: NIH's tarballs (`images_001.tar.gz` or `images_01.tar.gz`), the Kaggle layout (`images_001/images/`), one
    `images/` folder, or any part of them; an image in several folders is read from the first.

    Args:
        folders: Folders to search, in order of precedence. The official lists are looked for in them and
            beside them.

    Attributes:
        listed: `train_val` and `test`, each to the ids of the official list, in its order.

    Raises:
        InputError: A folder or a list is missing, or no image of the archive is found.
    """

    def __init__(self, folders: Iterable[pathlib.Path]):
        self.folders = [pathlib.Path(folder).expanduser() for folder in folders]
        self._files: dict[str, tuple[str, int]] = {}  # id to path and size in bytes
        self._tarballs: dict[str, int] = {}  # path to size in bytes
        self._lists: dict[str, str] = {}  # file name to path
        self._in_tarballs: dict[str, str] | None = None  # id to path of the tarball
        self._repeated = 0
        for folder in self.folders:
            self._search(folder)
        if not self._files and not self._tarballs:
            raise InputError(
                f"found no image of ChestX-ray14 in {self._where()}: expected images/00000001_000.png ..., "
                "images_001/images/ ... or images_001.tar.gz ...; check --manual_dir"
            )
        self.listed = {name: self._read_list(file) for name, file in LISTS.items()}
        self._check_lists()

    def _where(self) -> str:
        return ", ".join(map(str, self.folders))

    def _search(self, folder):
        if not folder.is_dir():
            raise InputError(f"expected a folder with ChestX-ray14, found none at {folder}; check --manual_dir")
        for entry in _walk(folder, MAX_DEPTH):
            if match := IMAGE.fullmatch(entry.name):
                self._repeated += match[1] in self._files
                self._files.setdefault(match[1], (entry.path, entry.stat().st_size))
            elif TARBALL.fullmatch(entry.name):
                self._tarballs[entry.path] = entry.stat().st_size
            elif entry.name in LISTS.values():
                self._lists.setdefault(entry.name, entry.path)

    def _read_list(self, file: str) -> list[str]:
        beside = (str(folder.resolve().parent / file) for folder in self.folders)
        path = self._lists.get(file) or next(filter(os.path.isfile, beside), None)
        if path is None:
            raise InputError(
                f"found {len(self._files):,} images and {len(self._tarballs)} tarballs of ChestX-ray14 in "
                f"{self._where()}, but not the official {file}, which defines the test split; get it from "
                f"{HOME} and put it there"
            )
        with open(path, encoding="utf-8-sig", errors="replace") as lines:
            return [_listed_id(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]

    def _check_lists(self):
        train_val, test = ({i[:8] for i in self.listed[name]} for name in ("train_val", "test"))
        if both := sorted(train_val & test):
            raise InputError(
                f"{LISTS['train_val']} and {LISTS['test']} must not share patients, and share "
                f"{len(both):,} ({both[0]} ...); get the official lists from {HOME}"
            )

    def fingerprint(self) -> str:
        """Returns 12 hexadecimal digits of a hash of the lists, names, sizes and samples of the contents."""
        digest = self._hash_of_names()
        images = [path for _, (path, _) in sorted(self._files.items())]
        for sample in sampling.samples(images, sorted(self._tarballs, key=os.path.basename)):
            digest.update(sample)
        return digest.hexdigest()[:12]

    def earlier_fingerprint(self) -> str:
        """Returns the fingerprint of release 0.1, a hash of the lists, names and sizes."""
        return self._hash_of_names().hexdigest()[:12]

    def _hash_of_names(self):
        digest = hashlib.sha256(self._digest_of_lists().encode())
        for name, (_, size) in sorted(self._files.items()):
            digest.update(f"{name} {size}\n".encode())
        for name, size in sorted((os.path.basename(p), size) for p, size in self._tarballs.items()):
            digest.update(f"{name} {size}\n".encode())
        return digest

    def _digest_of_lists(self) -> str:
        parts = (f"{name}\n" + "\n".join(sorted(ids)) for name, ids in sorted(self.listed.items()))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def found(self, name: str) -> list[str]:
        """Returns the ids of the list `name`, `train_val` or `test`, whose images were found, sorted.

        The first call reads all tarballs: 600 MB a second on one core, if the disk is fast enough.
        """
        present = self._files.keys() | self._index().keys()
        return sorted(present.intersection(self.listed[name]))

    def _index(self) -> dict[str, str]:
        if self._in_tarballs is None:
            self._in_tarballs = {}
            with ThreadPoolExecutor(WORKERS) as pool:
                contents = zip(self._tarballs, pool.map(_ids, self._tarballs), strict=True)
                # `None`: no bar where stderr is not a terminal.
                hide = None if self._tarballs else True
                title = "listing the tarballs"
                for tarball, ids in tqdm.tqdm(contents, title, len(self._tarballs), disable=hide):
                    self._take(tarball, ids)
        return self._in_tarballs

    def _take(self, tarball, ids):
        for i in ids:
            if i in self._files or i in self._in_tarballs:
                self._repeated += 1
            else:
                self._in_tarballs[i] = tarball

    def report(self) -> str:
        """Returns in one line how much of the archive was found."""
        train_val, test = len(self.found("train_val")), len(self.found("test"))
        unlisted = len(self._files) + len(self._index()) - train_val - test
        remarks = [
            f"found {train_val:,} of {len(self.listed['train_val']):,} listed train_val images and "
            f"{test:,} of {len(self.listed['test']):,} test images"
        ]
        if self._repeated:
            remarks.append(f"in more than one folder, read from the first: {self._repeated:,}")
        if unlisted:
            remarks.append(f"in neither list, left out: {unlisted:,}")
        if self._digest_of_lists() != OFFICIAL:
            remarks.append("the lists are not NIH's 86,524 and 25,596 names; the splits follow them")
        return "; ".join(remarks)

    def groups(self, ids: Iterable[str]) -> Iterator[tuple[str, bool, list[tuple[str, str]]]]:
        """Yields the images that were found in groups that are read together.

        Yields:
            Path of the tarball, or empty; whether it is its first group; and id and path (of a tarball: empty) of each
            image, in the order of the names or of the tarball.
        """
        requested = set(ids)
        loose = [(i, os.path.abspath(self._files[i][0])) for i in sorted(requested & self._files.keys())]
        for start in range(0, len(loose), GROUP):
            yield "", True, loose[start : start + GROUP]
        by_tarball = collections.defaultdict(list)
        for i, tarball in self._index().items():
            if i in requested:
                by_tarball[tarball].append((i, ""))
        for tarball, inside in sorted(by_tarball.items()):
            for start in range(0, len(inside), TARBALL_GROUP):
                yield os.path.abspath(tarball), not start, inside[start : start + TARBALL_GROUP]


def _walk(folder, depth: int) -> Iterator[os.DirEntry]:
    with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            yield entry
        elif depth and entry.is_dir():
            yield from _walk(entry.path, depth - 1)


def _listed_id(line: str, number: int, path) -> str:
    if not (match := IMAGE.fullmatch(line.strip())):
        raise InputError(
            f"line {number} of {path} must be a name like 00000001_000.png. Received: {line.strip()[:40]!r}; "
            f"get the official list from {HOME}"
        )
    return match[1]


def _members(tarball: str, wanted: Container[str] = ()) -> Iterator[tuple[str, str, bytes | None]]:
    # Nothing is extracted by path: regular files whose name is an image's are read where they are.
    seen = 0
    try:
        # Read as a stream: each byte is unpacked once, whatever the order of the members.
        with _unpacked(tarball) as stream, tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as tar:
            for member in tar:
                if member.isreg() and (match := IMAGE.fullmatch(member.name)):
                    inside = tar.extractfile(member) if match[1] in wanted else None
                    yield match[1], member.name, inside and inside.read(MAX_BYTES + 1)
                    seen += 1
    except (EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{tarball} is broken or incomplete after {seen:,} images ({error}); download it again"
        ) from error


def _unpacked(tarball: str):
    return open(tarball, "rb") if tarball.endswith(".tar") else gzip.open(tarball, "rb")


def _ids(tarball: str) -> list[str]:
    return [i for i, _, _ in _members(tarball)]


def read_tarball(tarball: str, wanted: Iterable[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yields id, location as text and content of some images of a tarball, in its order.

    Args:
        tarball: Its path.
        wanted: Ids of the images.

    Raises:
        InputError: It is missing, broken or incomplete.
    """
    left = set(wanted)
    if not os.path.isfile(tarball):
        raise InputError(f"found no {tarball}: --manual_dir must be a folder that all machines share")
    for i, name, data in _members(tarball, left):
        if data is not None:
            left.remove(i)
            yield i, f"{tarball}:{name}", data
        if not left:
            return


def decode(source: str | bytes, sizes: tuple[int, ...]) -> np.ndarray:
    """Returns the pixels of one PNG.

    Args:
        source: Path of the file, or its content.
        sizes: Sides in pixels that the image, a square, may have.

    Returns:
        uint8 array of shape (side, side). An RGBA or RGB image, of which the archive has some (0.6 %), must
        have equal channels and be opaque.

    Raises:
        BrokenImage: The file is truncated or damaged, or not an image of the archive.
    """
    data = source if isinstance(source, bytes) else _read_bounded(source)
    if len(data) > MAX_BYTES:
        raise BrokenImage(f"larger than {MAX_BYTES >> 20} MiB")
    if len(data) < 33 or data[:8] != b"\x89PNG\r\n\x1a\n":
        raise BrokenImage(f"not a PNG ({len(data)} bytes)")
    # Before Pillow allocates memory: a header may declare any number of pixels.
    width, height = struct.unpack(">II", data[16:24])
    if width != height or width not in sizes:
        raise BrokenImage(f"{width}x{height} pixels, not {' or '.join(f'{s}x{s}' for s in sizes)}")
    try:
        # `verify` checks the sums of all chunks, which decoding alone does not, and ends at the end mark.
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()
        image = Image.open(io.BytesIO(data), formats=["PNG"])
        pixels = np.asarray(image)
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, zlib.error
        raise BrokenImage(str(error) or type(error).__name__) from error
    return gray(pixels, image.mode)


def _read_bounded(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)
