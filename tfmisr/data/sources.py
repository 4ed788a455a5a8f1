"""Datasets by name or folder: their builders, and `Source`, a uniform interface to any prepared dataset."""

import argparse
import importlib
import itertools
import os
import pathlib
import pkgutil
import re
import typing
from collections.abc import Iterable, Iterator

import numpy as np

from tfmisr import cli
from tfmisr.data import cached_source, pixel_cache
from tfmisr.data.splits import SPLIT_PERCENT, SPLITS, folders, split_of
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.folders import all_files, image_files
from tfmisr.edge.volumes.nifti import is_nifti

if typing.TYPE_CHECKING:
    import tensorflow_datasets as tfds

    from tfmisr.data import parts
    from tfmisr.data.dataset_builder import DatasetBuilder

DEFAULT = "chest_phantom"


class Source:
    """A prepared dataset: images with the same number of channels and the same bit depth.

    Args:
        builder: Builder of the prepared dataset.

    Attributes:
        name: The dataset's name with its configuration.
        channels: 1 or 3.
        dtype: `np.uint8` or `np.uint16`.
        folder: Folder of the prepared dataset; another one for other images.
        splits: Names of the splits that hold images.
        full_scale: `series` if images of more than 8 bits may share the full scale of their series, otherwise empty.
        prepared: Fingerprint of the source files where the dataset has one, otherwise the dataset's name.
        pixels: Folder of the cache of decoded images; see `tfmisr.data.pixel_cache`.

    Raises:
        InputError: The dataset has no image feature, or images of another type.
    """

    def __init__(self, builder: "tfds.core.DatasetBuilder"):
        self.builder = builder
        config = builder.builder_config
        self.name = f"{builder.name}/{config.name}" if config else builder.name
        self.key = _image_feature(builder)
        feature = builder.info.features[self.key]
        self.channels = feature.shape[-1]
        self.dtype = np.dtype(feature.np_dtype)
        if self.channels not in (1, 3) or self.dtype not in (np.uint8, np.uint16):
            raise InputError(
                "a dataset must hold gray or RGB images of 8 or 16 bits. "
                f"Received: {self.name} with shape {feature.shape} and {self.dtype}"
            )
        self.folder = pathlib.Path(builder.data_path)
        by_series = getattr(builder, "full_scale", "") == "series" and self.dtype == np.uint16
        self.full_scale = "series" if by_series else ""
        self.prepared = self.folder.parent.name
        self.pixels = self.folder / pixel_cache.FOLDER
        self._has_patients = "patient" in builder.info.features
        self._stored_splits = [s for s in builder.info.splits if builder.info.splits[s].num_examples]
        self.splits = [s for s in SPLITS if not self._has_patients or s in self._stored_splits]

    @property
    def counts(self) -> dict[str, int]:
        """The number of images in each split that TFDS has stored."""
        return {split: info.num_examples for split, info in self.builder.info.splits.items()}

    def examples(self, split: str) -> Iterator[dict]:
        """Yields `{"hr": (height, width, channels) array, "max_val": int, "id": str, "patient": int}`.

        Raises:
            InputError: There is no such split, or it holds no images.
        """
        if split not in self.splits:
            raise InputError(
                f"split must be one of {', '.join(self.splits)}, the ones that hold images in "
                f"{self.name}. Received: split={split}"
            )
        import tensorflow_datasets as tfds

        if self._has_patients:
            yield from (_example(e) for e in tfds.as_numpy(self._read(split)))
        else:
            yield from self._examples_without_patients(split)

    def _read(self, split):
        import tensorflow_datasets as tfds

        read_config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        return self.builder.as_dataset(split=split, shuffle_files=False, read_config=read_config)

    def _examples_without_patients(self, split):
        import tensorflow_datasets as tfds

        # A TFDS dataset without the three splits is split by the index of the example.
        has_splits = set(SPLITS) <= set(self._stored_splits)
        sizes = [self.builder.info.splits[stored].num_examples for stored in self._stored_splits]
        first = dict(zip(self._stored_splits, itertools.accumulate(sizes, initial=0), strict=False))
        for stored in [split] if has_splits else self._stored_splits:
            for index, example in enumerate(tfds.as_numpy(self._read(stored))):
                if not has_splits and split_of(f"{stored}:{index}", SPLIT_PERCENT) != split:
                    continue
                yield {
                    "hr": example[self.key],
                    "max_val": int(np.iinfo(self.dtype).max),
                    "id": f"{stored}_{index:06d}",
                    "patient": first[stored] + index,
                }


def _example(example: dict) -> dict:
    return {
        "hr": example["hr"],
        "max_val": int(example["max_val"]),
        "id": example["id"].decode(),
        "patient": int(example["patient"]),
    }


def _image_feature(builder) -> str:
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [k for k in features if isinstance(features[k], tfds.features.Image)]
    images = [k for k in images if not isinstance(features[k], tfds.features.LabeledImage)]
    if not images:
        raise InputError(f"a dataset must have an image feature. Received: {builder.name}")
    return "hr" if "hr" in images else images[0]


def names() -> list[str]:
    """Returns the names of the datasets of this package, from folder names alone."""
    import tfmisr.datasets

    return sorted(m.name for m in pkgutil.iter_modules(tfmisr.datasets.__path__) if m.ispkg)


def builder(
    dataset: str | None = None,
    data_dir: str | os.PathLike | None = None,
    manual_dirs: Iterable[str | os.PathLike] = (),
    patient_pattern: str | None = None,
    full_scale: str = "series",
) -> "tfds.core.DatasetBuilder":
    """Returns the builder of a dataset; nothing is read or prepared yet.

    Args:
        dataset: `name` or `name/config` of a dataset of this package or of one registered with TFDS, or a folder of
            images. A folder with the official lists of ChestX-ray14 is taken for that archive, one with NIfTI files
            and no images for volumes. `None`: the built-in phantom.
        data_dir: Folder of prepared datasets; that of TFDS by default.
        manual_dirs: Folders with the source files, for datasets that need them.
        patient_pattern: For a folder of images: regular expression with one group, the patient identifier in a file
            name.
        full_scale: For a folder of images: `series`, or `file` as in version 1.0.0 of that dataset.

    Raises:
        InputError: No such dataset or folder.
    """
    dataset = dataset or DEFAULT
    if _is_folder(dataset):
        return _folder_builder(pathlib.Path(dataset).expanduser(), data_dir, manual_dirs, patient_pattern, full_scale)
    name, _, config = dataset.partition("/")
    if name in names():
        kwargs = {"patient_pattern": patient_pattern} if name in ("image_folder", "volume_folder") else {}
        kwargs |= {"full_scale": full_scale} if name == "image_folder" else {}
        config = _config(name, config)
        return _builder_class(name)(data_dir=data_dir, config=config, manual_dirs=manual_dirs, **kwargs)
    return _registered_builder(dataset, data_dir)


def _is_folder(dataset: str) -> bool:
    if pathlib.Path(dataset).expanduser().is_dir() and dataset.partition("/")[0] not in names():
        return True
    return bool(re.match(r"[./~\\]|[A-Za-z]:\\", dataset))


def _folder_builder(folder, data_dir, manual_dirs, patient_pattern, full_scale):
    if not folder.is_dir():
        raise InputError(f"expected a folder of images, found none at {folder}; check --dataset")
    if any((folder / name).is_file() for name in ("train_val_list.txt", "test_list.txt")):
        return _builder_class("chest_xray14")(data_dir=data_dir, manual_dirs=(folder, *folders(manual_dirs)))
    given = {"data_dir": data_dir, "manual_dirs": (folder, *folders(manual_dirs)), "patient_pattern": patient_pattern}
    # A folder with images as well was a folder of images before there were volumes, and runs on it resume.
    if any(is_nifti(path) for path, _ in all_files(folder)) and not any(image_files(folder)):
        return _builder_class("volume_folder")(**given)
    return _builder_class("image_folder")(**given, full_scale=full_scale)


def _builder_class(name: str) -> "type[DatasetBuilder]":
    module = f"tfmisr.datasets.{name}.{name}_dataset_builder"
    return importlib.import_module(module).Builder


def _config(name: str, config: str) -> str | None:
    known = list(_builder_class(name).builder_configs)
    if config and config not in known:
        raise InputError(
            f"{name} has the configurations {', '.join(known) or 'none'}. "
            f"Received: {name}/{config}{hint(config, known)}"
        )
    return config or None


def _registered_builder(dataset: str, data_dir: str | None):
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(dataset, data_dir=data_dir)
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        close = hint(dataset, names() + tfds.list_builders(), 0.5)
        raise InputError(
            f"dataset must be one of {', '.join(names())}, another dataset registered with TFDS, or a folder. "
            f"Received: {dataset}{close}"
        ) from error


def load(
    dataset: str | None = None,
    data_dir: str | os.PathLike | None = None,
    manual_dirs: Iterable[str | os.PathLike] = (),
    patient_pattern: str | None = None,
    resumable: Iterable[str | os.PathLike] = (),
    part_runner: "parts.Runner | None" = None,
) -> "Source | cached_source.CachedSource":
    """Prepares a dataset, unless that is done already, and returns it.

    A folder that `python -m tfmisr.prepare --pixel_cache` made, or with another backend than TensorFlow the pixels of
    a prepared dataset, are read without TFDS and TensorFlow.

    Args:
        dataset: As in `builder`, or a folder that holds a packed pixel cache.
        data_dir: As in `builder`.
        manual_dirs: As in `builder`.
        patient_pattern: As in `builder`.
        resumable: Directories of runs that may be resumed. A run that started when each file had its own full scale
            gets the same pixels again.
        part_runner: Makes the parts of a dataset that is prepared in parts; `None`: this process.

    Raises:
        InputError: No such dataset or folder, or it cannot be prepared.
    """
    given = {"manual_dir": tuple(manual_dirs), "patient_pattern": patient_pattern}
    named = dataset or DEFAULT
    cached = cached_source.find(named, _is_folder(named), data_dir, given)
    if cached is not None:
        return cached
    with cached_source.naming_pixel_cache(named):
        return _prepared(dataset, data_dir, given["manual_dir"], patient_pattern, resumable, part_runner)


def _prepared(dataset, data_dir, manual_dirs, patient_pattern, resumable, part_runner) -> Source:
    from tfmisr.data import preparation
    from tfmisr.data.dataset_builder import DatasetBuilder

    found = builder(dataset, data_dir, manual_dirs, patient_pattern)
    earlier = getattr(found, "earlier_fingerprint", None)
    if earlier and (prepared := preparation.datasets_of(resumable)) and earlier() in prepared:
        found = builder(dataset, data_dir, manual_dirs, patient_pattern, "file")
    if part_runner:
        found.part_runner = part_runner
    cli.check_text(found.data_path, "--data_dir")
    preparation.remove_incomplete(pathlib.Path(found.data_path))
    preparation.prepare(found, quiet=isinstance(found, DatasetBuilder))
    return Source(found)


def load_for(arguments: argparse.Namespace, fields: dict) -> Source:
    """Returns the dataset that a command line names, or else the one that a run was trained on.

    Args:
        arguments: Has `dataset`, `data_dir`, `manual_dir` and `patient_pattern`, each `None` where not given.
        fields: Fields of the run. Its folders and pattern are used with its dataset only.

    Raises:
        InputError: No such dataset or folder, or it cannot be prepared.
    """
    of_run = arguments.dataset is None
    manual_dirs = arguments.manual_dir or (fields.get("manual_dir", ()) if of_run else ())
    pattern = arguments.patient_pattern or (fields.get("patient_pattern") if of_run else None)
    data_dir = arguments.data_dir or fields.get("data_dir")
    return load(arguments.dataset or fields.get("dataset"), data_dir, manual_dirs, pattern)
