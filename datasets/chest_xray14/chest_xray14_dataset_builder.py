"""TFDS builder of ChestX-ray14: chest X-rays of the NIH Clinical Center, 8-bit gray."""

import collections
import concurrent.futures
import dataclasses
import functools
import io
import os
import sys
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from PIL import Image

from tfmisr import data
from tfmisr.data.download import require_free_space
from tfmisr.datasets.chest_xray14 import archive, downloads
from tfmisr.edge.errors import InputError
from tfmisr.progress import bar

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

    def download(self, mirror: str | None = None) -> None:
        """Downloads the archive to the folder that a builder without `manual_dirs` reads.

        Args:
            mirror: Address of a folder with NIH's files, instead of NIH's server.

        Raises:
            InputError: No space, no network, or a file that is not the published one.
        """
        reserve = 112_120 * PREPARED_BYTES[self.builder_config.side]
        downloads.fetch(self.download_folder, mirror, reserve)

    def _split_generators(self, dl_manager):
        ids = self._ids()
        total = sum(map(len, ids.values()))
        tqdm.tqdm.write(f"{self.name}: {self.archive.report()}", file=sys.stderr)
        if not total:
            raise InputError(f"{self.name}: no listed image was found; check --manual_dir")
        require_free_space(self.data_dir_root, total * PREPARED_BYTES[self.builder_config.side])
        tally = Tally(total)
        # TFDS does not support empty splits: they are left out for a partial copy.
        return {split: self._generate_examples(ids[split], tally) for split in ids if ids[split]}

    def _ids(self) -> dict[str, list[str]]:
        splits = {"train": [], "validation": [], "test": self.archive.found("test")}
        for name in self.archive.found("train_val"):
            splits[data.split_of(name[:8], VALIDATION_PERCENT)].append(name)
        return splits

    def _generate_examples(self, ids, tally):
        return Examples(self.archive, ids, self.builder_config.side, tally)


class Examples:
    """The keys and examples of one split.

    Args:
        source: The archive.
        ids: The images.
        side: Width and height of an example in pixels.
        tally: Counts the images that are broken.
    """

    def __init__(self, source: archive.Archive, ids: list[str], side: int, tally: "Tally"):
        self.source, self.ids, self.side, self.tally = source, ids, side, tally

    def __len__(self):
        return len(self.ids)

    def __iter__(self):
        written = 0
        for (name, place, _), future in bar(
            self._decoded(), total=len(self), desc="preparing", unit=" images", leave=False
        ):
            try:
                png = future.result()
            except archive.BrokenImage as error:
                self.tally.skip(place, error)
            else:
                written += 1
                # `id` and `patient` are NIH's public numbers; nothing else but pixels is stored.
                yield name, {"hr": png, "max_val": 255, "id": name, "patient": int(name[:8])}
            self.tally.done()
        if not written:
            raise InputError(f"all {len(self.ids)} images of a split are broken; get them again")

    def _decoded(self):
        # Pillow releases the GIL; the order is that of the source.
        waiting = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(archive.WORKERS) as pool:
            for item in self.source.read(self.ids):
                waiting.append((item, pool.submit(encoded, item[1], item[2], self.side)))
                if len(waiting) > 4 * archive.WORKERS:
                    yield waiting.popleft()
            yield from waiting


class Tally:
    """Reports and counts broken images, and raises an error when there are too many.

    Args:
        total: Number of images to read.
    """

    def __init__(self, total: int):
        self.total, self.read, self.broken = total, 0, []

    def skip(self, place: str, reason: Exception) -> None:
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

    def done(self) -> None:
        """Counts one image that was read, and prints the number of broken ones after the last."""
        self.read += 1
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
