"""TFDS builder of ChestX-ray14: chest X-rays of the NIH Clinical Center, 8-bit gray."""

import collections
import concurrent.futures
import dataclasses
import functools
import io
import os
import sys
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from PIL import Image

from tfmisr import data
from tfmisr.data import parts
from tfmisr.data.download import require_free_space
from tfmisr.datasets.chest_xray14 import archive, downloads
from tfmisr.edge.errors import InputError

VALIDATION_PERCENT = {"train": 90, "validation": 10}
NATIVE = 1024
COMPRESS_LEVEL = 3  # three times as fast as Pillow's default 6, and 13 % larger
PREPARED_BYTES = {512: 115_000, NATIVE: 425_000}  # an image; 112 and 408 kB measured


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """A size of the images.

    Args:
        side: Width and height in pixels.
    """

    side: int = 512


class Builder(data.DatasetBuilder):
    """ChestX-ray14, from a copy of the archive in any of its layouts.

    Args:
        manual_dirs: Folders with the archive or parts of it; by default the folder of `download`.
        **kwargs: `data_dir` and `config` of `tfds.core.DatasetBuilder`.

    Attributes:
        downloads: Whether the archive is the one that `download` fetches.
    """

    in_parts = True
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        Config(name="512", side=512, description="512x512, the mean over 2x2 pixels of the archive's images."),
        Config(name="1024", side=NATIVE, description="1024x1024, the archive's own pixels."),
    ]

    def __init__(
        self,
        *,
        manual_dirs: Iterable[str | os.PathLike] = (),
        data_dir: str | os.PathLike | None = None,
        **kwargs,
    ):
        self.downloads = not manual_dirs
        self.download_folder = downloads.default_folder(data_dir)
        if self.downloads and self.download_folder.is_dir():
            manual_dirs = (self.download_folder,)
        super().__init__(manual_dirs=manual_dirs, data_dir=data_dir, **kwargs)

    def _info(self):
        return self.dataset_info_from_configs(
            features=data.features(1, np.uint8), homepage=archive.HOME, license="Free use with attribution"
        )

    @functools.cached_property
    def archive(self) -> archive.Archive:
        """The images of the archive that were found."""
        try:
            return archive.Archive(self.manual_dirs)
        except InputError as error:
            if not self.downloads:
                raise
            raise InputError(
                "chest_xray14 is prepared from a copy of the archive: give its folder with --manual_dir, or download "
                "it (45 GB) with python -m tfmisr.prepare chest_xray14, which also resumes a download"
            ) from error

    def fingerprint(self) -> str | None:
        """Returns 12 hexadecimal digits that identify the files; `None` if they are not downloaded yet."""
        try:
            return self.archive.fingerprint()
        except InputError:
            if not self.downloads:
                raise
            return None  # an error only when it is to be prepared

    def _build_data_dir(self, given_data_dir):
        """Returns the folder of a dataset that release 0.1 prepared, where there is one: 45 GB need hours."""
        root, folder = super()._build_data_dir(given_data_dir)
        if (current := self.fingerprint()) and not os.path.isdir(folder):
            earlier = folder.replace(current, self.archive.earlier_fingerprint())
            folder = earlier if os.path.isdir(earlier) else folder
        return root, folder

    def download(self, mirror: str | None = None) -> None:
        """Downloads the archive to the folder that a builder without `manual_dirs` reads.

        Args:
            mirror: Address of a folder with NIH's files, instead of NIH's server.

        Raises:
            InputError: No space, no network, or a file that is not the published one.
        """
        reserve = 2 * 112_120 * self._bytes  # parts, then the dataset made of them
        downloads.fetch(self.download_folder, mirror, reserve)

    def _split_generators(self, dl_manager):
        ids = self._ids()
        total = sum(map(len, ids.values()))
        tqdm.tqdm.write(f"{self.name}: {self.archive.report()}", file=sys.stderr)
        if not total:
            raise InputError(f"{self.name}: no listed image was found; check --manual_dir")
        staged = self._staged(self._parts(ids))
        missing = staged.missing()
        # Parts, then the dataset made of them.
        require_free_space(self.data_dir_root, (sum(map(len, missing)) + total) * self._bytes)
        parts.report(self.name, staged, missing)
        tally = Tally(total)
        for index in staged.complete(self.part_runner or functools.partial(parts.here, threads=archive.WORKERS)):
            tally.add(index)
        # TFDS does not support empty splits: they are left out for a partial copy.
        return {split: self._generate_examples(staged, split, ids[split]) for split in ids if ids[split]}

    @property
    def _bytes(self) -> int:
        return PREPARED_BYTES[self.builder_config.side]

    def _ids(self) -> dict[str, list[str]]:
        splits = {"train": [], "validation": [], "test": self.archive.found("test")}
        for name in self.archive.found("train_val"):
            splits[data.split_of(name[:8], VALIDATION_PERCENT)].append(name)
        return splits

    def _parts(self, ids) -> list[parts.Part]:
        side, split_of = self.builder_config.side, {name: split for split in ids for name in ids[split]}
        fingerprint = self.archive.fingerprint()
        return [
            parts.Part(
                f"{__name__}:make_part",
                {"side": side, "tarball": tarball, "images": [[name, split_of[name], path] for name, path in group]},
                [fingerprint, side, [name for name, _ in group]],
                not tarball or first,
            )
            for tarball, first, group in self.archive.groups(split_of)
        ]

    def _generate_examples(self, staged, split, ids):
        if not staged.count(split):
            raise InputError(f"all {len(ids)} images of a split are broken; get them again")
        return (
            (entry["key"], {"hr": png, "max_val": 255, "id": entry["key"], "patient": entry["patient"]})
            for entry, png in staged.examples(split)
        )


def make_part(sources: dict, threads: int) -> Iterator[tuple[bytes | None, dict]]:
    """Yields the PNG of each image of a part with its entry, or `None` and why it is broken; see `parts.Part`.

    Args:
        sources: `side` in pixels; `tarball`, its path, or empty; `images`, of each the id, the split and the path.
        threads: Number of threads. Pillow releases the GIL; the order is that of the source.

    Raises:
        InputError: A file is missing, or of another size.
    """
    split_of = {name: split for name, split, _ in sources["images"]}
    if sources["tarball"]:
        items = archive.read_tarball(sources["tarball"], split_of)
    else:
        items = ((name, path, path) for name, _, path in sources["images"])
    for (name, place, _), future in _submitted(items, sources["side"], threads):
        try:
            # `id` and `patient` are NIH's public numbers; nothing else but pixels is stored.
            yield future.result(), {"split": split_of[name], "key": name, "patient": int(name[:8])}
        except archive.BrokenImage as error:
            yield None, {"broken": [place, str(error)]}
        except FileNotFoundError as error:
            raise InputError(f"no image at {place}: --manual_dir must be a folder that all machines share") from error


def _submitted(items, side, threads):
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append((item, pool.submit(encoded, item[1], item[2], side)))
            if len(waiting) > 4 * threads:
                yield waiting.popleft()
        yield from waiting


class Tally:
    """Reports and counts broken images, and raises an error when there are too many.

    Args:
        total: Number of images to read.
    """

    def __init__(self, total: int):
        self.total, self.read, self.broken = total, 0, []

    def skip(self, place: str, reason: str) -> None:
        """Counts one broken image.

        Raises:
            InputError: More than 1 % of all images are broken.
        """
        self.broken.append(place)
        if len(self.broken) <= 3:  # the count comes at the end
            tqdm.tqdm.write(f"skipped as broken ({len(self.broken)}): {place}: {reason}", file=sys.stderr)
        if len(self.broken) * 100 > self.total:
            raise InputError(
                f"at most 1 % of {self.total:,} images may be broken. Received: {len(self.broken):,} so far, the "
                f"last is {place}: {reason}; this copy of the archive is damaged, get it again"
            )

    def add(self, index: list[dict]) -> None:
        """Counts the images of a part, and prints the number of broken ones after the last part.

        Args:
            index: Entries of `make_part`.

        Raises:
            InputError: More than 1 % of all images are broken.
        """
        for entry in index:
            if "broken" in entry:
                self.skip(*entry["broken"])
        self.read += len(index)
        if self.read == self.total and self.broken:
            tqdm.tqdm.write(f"skipped {len(self.broken):,} of {self.total:,} images as broken", file=sys.stderr)


def encoded(place: str, source: str | bytes, side: int) -> bytes:
    """Returns one image as a gray PNG of `side` x `side` pixels.

    Args:
        place: Its location, for messages.
        source: Path or content of the archive's PNG.
        side: 1024 for the pixels as they are; 512 for their 2x2 mean, or for a copy of that size.

    Raises:
        BrokenImage: It cannot be read.
        InputError: A copy of 512x512 pixels for a side of 1024.
    """
    pixels = archive.decode(source, sizes=(512, NATIVE))
    if len(pixels) < side:
        raise InputError(
            f"chest_xray14/1024 is prepared from the archive's 1024x1024 images. Received: 512x512 in {place}; "
            "leave its folder out, or use chest_xray14/512"
        )
    if len(pixels) > side:
        pixels = archive.halve(pixels)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=COMPRESS_LEVEL)
    return file.getvalue()
