"""`CachedSource`: a dataset that is read from the cache of its decoded images, without TFDS and TensorFlow.

Its name, images and full-scale values are those of the dataset that the cache was made of: runs, and scores under the
same protocol hash, continue from one to the other.
"""

import contextlib
import importlib.util
import os
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from tfmisr.data import pixel_cache, pixel_description, pixel_index
from tfmisr.data.splits import SPLITS
from tfmisr.edge.errors import InputError

_TFDS_NAME = re.compile(r"[A-Za-z_]\w*(/[\w.+-]+)?")


class CachedSource:
    """The images of a dataset in a folder of decoded images; the same interface as `tfmisr.data.Source`.

    Args:
        pixels: Folder that holds `source.json` and a folder for each split.

    Attributes:
        name: The dataset's name with its configuration.
        channels: 1 or 3.
        dtype: `np.uint8` or `np.uint16`.
        folder: Folder of the prepared dataset where the cache belongs to one, otherwise the cache's own.
        pixels: Folder of the cache.
        prepared: Fingerprint of the source files where the dataset has one, otherwise the dataset's name.
        counts: The number of images in each split that was prepared, or packed where some were left out.
        splits: Names of the splits that hold images.
        full_scale: As of `tfmisr.data.Source`.

    Raises:
        InputError: The description is missing or damaged, or the folder of a split is missing.
    """

    def __init__(self, pixels: pathlib.Path):
        description = pixel_description.read(pixels)
        if description is None:
            raise InputError(f"expected {pixel_description.FILE} of a pixel cache in {pixels}, found none")
        self.description, self.pixels = description, pixels
        self.folder = pixels.parent if pixels.name == pixel_cache.FOLDER else pixels
        self.name, self.channels, self.prepared = (description[key] for key in ("name", "channels", "prepared"))
        self.dtype, self.full_scale = np.dtype(description["dtype"]), description["full_scale"]
        self.counts = description["images"]
        self.splits = [split for split in SPLITS if split in description["all_splits"]]
        for split in self.splits:
            if split not in description["splits"] or not (pixels / split).is_dir():
                raise InputError(
                    f"expected the pixels of the {split} split in {pixels}, found none; copy the whole folder, or make "
                    f"it with python -m tfmisr.prepare {self.name} --pixel_cache FOLDER"
                )

    def sha256(self, split: str) -> str | None:
        """Returns the hash of a split's pixels; `None` in a cache that was not packed."""
        return self.description["splits"][split].get("sha256")

    def examples(self, split: str) -> Iterator[dict]:
        """Yields `{"hr": (height, width, channels) array, "max_val": int, "id": str, "patient": int}`.

        Raises:
            InputError: There is no such split, or its files are damaged.
        """
        cache = pixel_cache.cache_of(self, split)
        for i, name in enumerate(cache.ids):
            yield {"hr": cache[i], "max_val": int(cache.max_vals[i]), "id": name, "patient": int(cache.patients[i])}


def is_packed(folder: str | os.PathLike) -> bool:
    """Returns whether a folder is a pixel cache, such as `python -m tfmisr.prepare --pixel_cache` makes.

    Raises:
        InputError: It is one of another version, or its description is damaged.
    """
    return pixel_description.read(pathlib.Path(folder).expanduser()) is not None


def find(dataset: str, is_folder: bool, data_dir: str | os.PathLike | None, given: dict) -> CachedSource | None:
    """Returns the cached images of a dataset, or `None` where TFDS has to read it.

    Args:
        dataset: A folder with a pixel cache, or a dataset's name. A name is looked up in `data_dir` where that is a
            pixel cache and, with another backend than TensorFlow, among the prepared datasets in `data_dir`.
        is_folder: Whether `dataset` is a folder, not a name.
        data_dir: Folder of prepared datasets; that of TFDS by default.
        given: `manual_dir` and `patient_pattern`, which change what TFDS would prepare.

    Raises:
        InputError: A cache is damaged or incomplete, or there are several.
    """
    if is_folder and is_packed(dataset):
        if refused := [name for name, value in given.items() if value]:
            raise InputError(f"--{refused[0]} is for source files; {dataset} holds decoded images: leave it out")
        return CachedSource(pathlib.Path(dataset).expanduser())
    if is_folder and any(pathlib.Path(dataset).expanduser().glob(f"*/{pixel_index.FILE}")):
        raise InputError(
            f"{dataset} holds decoded images, but its {pixel_description.FILE} is missing or damaged: "
            "copy or make the pixel cache again"
        )
    if is_folder or not _TFDS_NAME.fullmatch(dataset):
        return None
    packed = pixel_description.read(pathlib.Path(data_dir).expanduser()) if data_dir else None
    if packed and _is_of(packed, dataset):
        return CachedSource(pathlib.Path(data_dir).expanduser())
    return None if _has_tensorflow_backend() else _prepared(dataset, data_dir, given)


def _is_of(description: dict, dataset: str) -> bool:
    name = description["name"]
    return name == dataset or (description["default_configuration"] and name.partition("/")[0] == dataset)


def _prepared(dataset, data_dir, given):
    """Returns the one cache that a prepared dataset of this name has; `None` where TFDS can say more."""
    root = pathlib.Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    paths = [
        path.parent
        for depth in (1, 2, 3)  # version, with a configuration, a fingerprint or both before it
        for path in sorted((root / dataset.partition("/")[0]).glob("*/" * depth + f"{pixel_cache.FOLDER}/*.json"))
        if path.name == pixel_description.FILE
    ]
    found = [path for path in paths if _is_of(pixel_description.read(path) or {"name": "", **_NO_DEFAULT}, dataset)]
    has_tfds = importlib.util.find_spec("tensorflow_datasets") is not None
    if not found or (has_tfds and (len(found) > 1 or any(given.values()))):
        return None
    if len(found) > 1:
        raise InputError(
            f"expected one pixel cache of {dataset}, found {', '.join(map(str, found))}; choose one with --dataset"
        )
    return _complete(found[0], has_tfds, given)


_NO_DEFAULT = {"default_configuration": False}


def _complete(pixels, has_tfds, given):
    try:
        source = CachedSource(pixels)
    except InputError:
        if has_tfds:
            return None  # which decodes the missing split
        raise
    unread = [f"--{name}" for name, value in given.items() if value]
    note = f"; {' and '.join(unread)} not read" if unread else ""
    print(f"data: decoded images of {source.name} in {pixels}{note}")
    return source


def _has_tensorflow_backend() -> bool:
    try:
        import keras
    except ModuleNotFoundError:
        return False
    return keras.config.backend() == "tensorflow"


@contextlib.contextmanager
def naming_pixel_cache(dataset: str) -> Iterator[None]:
    """Says in the error of a `with` block that lacks TFDS how a dataset gets to a machine without TensorFlow."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("tensorflow", "tensorflow_datasets", "etils") or _has_tensorflow_backend():
            raise
        if importlib.util.find_spec("keras") is None:
            raise  # the base install, where the missing extra is named
        raise InputError(
            f"{dataset} is not among the decoded images here, and {missing} is not installed to prepare it; where it "
            f"is, run python -m tfmisr.prepare {dataset} --pixel_cache FOLDER, and give that folder as --dataset here"
        ) from error
