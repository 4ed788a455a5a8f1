"""Datasets by name or folder: the base class of all builders, and one view on any of them."""

import hashlib
import importlib
import inspect
import itertools
import os
import pathlib
import pkgutil
import re
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from tfmisr import cli
from tfmisr.data import preparation
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.files import encode_name

DEFAULT = "chest_phantom"
SPLITS = ("train", "validation", "test")
SPLIT_PERCENT = {"train": 80, "validation": 10, "test": 10}


def features(channels: int, dtype) -> tfds.features.FeaturesDict:
    """Returns the features of every dataset of this package.

    Args:
        channels: 1 (gray) or 3 (RGB).
        dtype: `np.uint8` or `np.uint16`, the type of the pixels of `hr`.

    Returns:
        `hr`, the image, (height, width, channels); `max_val`, the pixel value that is 1.0 to a network;
        `id`, unique in the dataset; `patient`, equal for images of one patient. Nothing of a DICOM header.
    """
    return tfds.features.FeaturesDict(
        {
            "hr": tfds.features.Image(shape=(None, None, channels), dtype=dtype),
            "max_val": np.int32,
            "id": tfds.features.Text(),
            "patient": np.int64,
        }
    )


def folders(given) -> tuple[pathlib.Path, ...]:
    """Returns folders given as a sequence, or as one string with the system's path separator between them."""
    if isinstance(given, (str, os.PathLike)):
        given = os.fspath(given).split(os.pathsep)
    return tuple(pathlib.Path(folder).expanduser() for folder in given)


def split_of(key: str, percent: dict[str, int]) -> str:
    """Returns the split that `key`, a patient, belongs to: a pure function of the key alone.

    Args:
        key: Name of the patient.
        percent: Split name to per cent of patients, 100 in all, in a fixed order.
    """
    if sum(percent.values()) != 100:
        raise ValueError(f"`percent` must add up to 100. Received: percent={percent}")
    point = int(hashlib.sha256(encode_name(key)).hexdigest()[:12], 16) % 10_000
    for name, share in percent.items():
        point -= share * 100
        if point < 0:
            return name
    raise AssertionError


class DatasetBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder whose README, checksums and dummy data lie beside its own file.

    TFDS looks for them by joining the module's name onto the top package's folder, which fails for
    datasets/, a folder that setup.cfg maps into the package.

    A builder that reads a user's folders defines `fingerprint()`; what is prepared from them then has a
    folder of its own, so that other or more images are never mistaken for these.

    Args:
        manual_dirs: Folders to read, in order of precedence.
        **kwargs: `data_dir`, `config`, ... of `tfds.core.DatasetBuilder`.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.code_path = epath.Path(inspect.getfile(cls))
        cls.pkg_dir_path = cls.code_path.parent

    def __init__(self, *, manual_dirs=(), **kwargs):
        self.manual_dirs = folders(manual_dirs)
        super().__init__(**kwargs)

    def fingerprint(self) -> str | None:
        """Returns 12 hexadecimal digits that tell these source files from others, or `None`."""
        return None

    def _build_data_dir(self, given_data_dir):
        root, folder = super()._build_data_dir(given_data_dir)
        if fingerprint := self.fingerprint():
            version = os.path.basename(folder)
            folder = os.path.join(os.path.dirname(folder), fingerprint, version)
        return root, folder


class Source:
    """Any prepared dataset, seen as images of one channel count and one bit depth.

    Attributes:
        name: The dataset's name with its configuration.
        channels: 1 or 3.
        dtype: `np.uint8` or `np.uint16`.
        folder: Where the prepared dataset lies; it changes when the images do.
        splits: Names of the splits that hold images.
        full_scale: `series` where images of more than 8 bits may have it from their series, otherwise empty.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder):
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
        self._ours = "patient" in builder.info.features
        self._own_splits = [s for s in builder.info.splits if builder.info.splits[s].num_examples]
        self.splits = [s for s in SPLITS if self._ours is False or s in self._own_splits]

    def examples(self, split: str) -> Iterator[dict]:
        """Yields `{"hr": (height, width, channels) array, "max_val": int, "id": str, "patient": int}`."""
        if split not in self.splits:
            raise InputError(
                f"split must be one of {', '.join(self.splits)}, the ones that hold images in "
                f"{self.name}. Received: split={split}"
            )
        if self._ours:
            yield from (_own_example(e) for e in tfds.as_numpy(self._read(split)))
        else:
            yield from self._foreign_examples(split)

    def _read(self, split):
        read_config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        return self.builder.as_dataset(split=split, shuffle_files=False, read_config=read_config)

    def _foreign_examples(self, split):
        # A dataset of somebody else's without these three splits is cut by the position of the example.
        whole = set(SPLITS) <= set(self._own_splits)
        sizes = [self.builder.info.splits[own].num_examples for own in self._own_splits]
        first = dict(zip(self._own_splits, itertools.accumulate(sizes, initial=0), strict=False))
        for own in [split] if whole else self._own_splits:
            for position, example in enumerate(tfds.as_numpy(self._read(own))):
                if not whole and split_of(f"{own}:{position}", SPLIT_PERCENT) != split:
                    continue
                yield {
                    "hr": example[self.key],
                    "max_val": int(np.iinfo(self.dtype).max),
                    "id": f"{own}_{position:06d}",
                    "patient": first[own] + position,
                }


def _own_example(example: dict) -> dict:
    return {
        "hr": example["hr"],
        "max_val": int(example["max_val"]),
        "id": example["id"].decode(),
        "patient": int(example["patient"]),
    }


def _image_feature(builder) -> str:
    kinds = builder.info.features
    images = [k for k in kinds if isinstance(kinds[k], tfds.features.Image)]
    images = [k for k in images if not isinstance(kinds[k], tfds.features.LabeledImage)]
    if not images:
        raise InputError(f"a dataset must have an image feature. Received: {builder.name}")
    return "hr" if "hr" in images else images[0]


def names() -> list[str]:
    """Returns the names of the datasets of this package, from the folders' names alone."""
    import tfmisr.datasets

    return sorted(m.name for m in pkgutil.iter_modules(tfmisr.datasets.__path__) if m.ispkg)


def builder(
    dataset: str | None = None,
    data_dir: str | None = None,
    manual_dirs=(),
    patient_pattern: str | None = None,
    full_scale: str = "series",
) -> tfds.core.DatasetBuilder:
    """Returns the builder that `dataset` names; nothing is read or prepared yet.

    Args:
        dataset: `name` or `name/config` of a dataset of this package or of one registered with TFDS, or a
            folder of images. A folder with ChestX-ray14's official lists is that archive. `None`: the
            built-in phantom.
        data_dir: Where prepared datasets are kept; TFDS's default otherwise.
        manual_dirs: Folders that hold the source files, for the datasets that need some.
        patient_pattern: For a folder of images: regular expression with one group, the patient's part of
            a file's name.
        full_scale: For a folder of images: `series`, or `file` as in its version 1.0.0.

    Raises:
        InputError: No such dataset or folder.
    """
    dataset = dataset or DEFAULT
    if _is_folder(dataset):
        return _folder_builder(pathlib.Path(dataset).expanduser(), data_dir, manual_dirs, patient_pattern, full_scale)
    name, _, config = dataset.partition("/")
    if name in names():
        kwargs = {"patient_pattern": patient_pattern, "full_scale": full_scale} if name == "image_folder" else {}
        return _own_builder(name)(data_dir=data_dir, config=_config(name, config), manual_dirs=manual_dirs, **kwargs)
    return _registered_builder(dataset, data_dir)


def _is_folder(dataset: str) -> bool:
    if pathlib.Path(dataset).expanduser().is_dir() and dataset.partition("/")[0] not in names():
        return True
    return bool(re.match(r"[./~\\]|[A-Za-z]:\\", dataset))


def _folder_builder(folder, data_dir, manual_dirs, patient_pattern, full_scale):
    if not folder.is_dir():
        raise InputError(f"expected a folder of images, found none at {folder}; check --dataset")
    if any((folder / name).is_file() for name in ("train_val_list.txt", "test_list.txt")):
        return _own_builder("chest_xray14")(data_dir=data_dir, manual_dirs=(folder, *folders(manual_dirs)))
    return _own_builder("image_folder")(
        data_dir=data_dir,
        manual_dirs=(folder, *folders(manual_dirs)),
        patient_pattern=patient_pattern,
        full_scale=full_scale,
    )


def _own_builder(name: str):
    module = f"tfmisr.datasets.{name}.{name}_dataset_builder"
    return importlib.import_module(module).Builder


def _config(name: str, config: str) -> str | None:
    known = list(_own_builder(name).builder_configs)
    if config and config not in known:
        raise InputError(
            f"{name} has the configurations {', '.join(known) or 'none'}. "
            f"Received: {name}/{config}{hint(config, known)}"
        )
    return config or None


def _registered_builder(dataset: str, data_dir: str | None):
    try:
        return tfds.builder(dataset, data_dir=data_dir)
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        close = hint(dataset, names() + tfds.list_builders(), 0.5)
        raise InputError(
            f"dataset must be one of {', '.join(names())}, another one registered with TFDS, or a folder. "
            f"Received: {dataset}{close}"
        ) from error


def load(dataset=None, data_dir=None, manual_dirs=(), patient_pattern=None, begun=()) -> Source:
    """Prepares the dataset where that is not done yet, and returns it.

    Args:
        dataset: This and the next three as in `builder`.
        data_dir: See there.
        manual_dirs: See there.
        patient_pattern: See there.
        begun: Folders of runs that may go on. One that began when each file had a full scale of its own sees the
            same pixels again.
    """
    chosen = builder(dataset, data_dir, manual_dirs, patient_pattern)
    earlier = getattr(chosen, "earlier_fingerprint", None)
    if earlier and (names := preparation.prepared_for(begun)) and earlier() in names:
        chosen = builder(dataset, data_dir, manual_dirs, patient_pattern, "file")
    cli.check_text(chosen.data_path, "--data_dir")
    preparation.drop_leftovers(pathlib.Path(chosen.data_path))
    preparation.prepare(chosen, quiet=isinstance(chosen, DatasetBuilder))
    return Source(chosen)


def pairs(
    dataset: str | os.PathLike | None = None,
    split: str = "train",
    scale: int = 4,
    *,
    batch_size: int = 16,
    patch_size: int | None = 24,
    steps: int | None = None,
    degradation="bicubic",
    augment: bool = True,
    hard_patches: float = 0.0,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    manual_dir=(),
    patient_pattern: str | None = None,
):
    """Returns pairs of LR and HR images for a training loop of one's own; the dataset is prepared on the first call.

    Args:
        dataset: Name or folder of images; see `builder`. `None`: the built-in phantom.
        split: `train`, `validation` or `test`; these are disjoint by patient.
        scale: Upsampling factor.
        batch_size: Patches of a batch; of whole images one always.
        patch_size: Side of an LR patch in pixels. `None`: whole images, each once, in a batch of its own.
        steps: Number of batches of patches. `None`: without end, for `fit(..., steps_per_epoch=...)`; Keras goes on
            with new patches in each epoch then, whereas it sees the same `steps` batches again in each.
        degradation: How LR is made: a text as `--degradation` of `python -m tfmisr.fit` takes it, or what
            `tfmisr.degradations.make` returns for this scale.
        augment: Flip and rotate each patch at random, in one of the eight ways of the square.
        hard_patches: Share of the patches that are drawn where bicubic interpolation loses most.
        seed: Start of all random draws: the batches are the same for the same seed.
        data_dir: Where prepared datasets are kept; TFDS's default otherwise.
        manual_dir: Folders with the dataset's source files.
        patient_pattern: For a folder of images: regular expression whose group is the patient's part of a file name.

    Returns:
        `tf.data.Dataset` of float32 tensors `(batch, height, width, channels)` in [0, 1], HR `scale` times as large.

    Raises:
        InputError: No such dataset, split or degradation, or an image is smaller than a patch.
    """
    from tfmisr import degradations
    from tfmisr.data import pipeline

    for name, value in (("scale", scale), ("batch_size", batch_size), ("patch_size", patch_size), ("steps", steps)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
            raise InputError(f"{name} must be a whole number, 1 or more. Received: {value!r}")
    if isinstance(degradation, str):
        degradation = degradations.make(degradation, scale=scale)
    elif (own := next((step.scale for step in degradation.steps if hasattr(step, "scale")), scale)) != scale:
        raise InputError(f"the degradation reduces {own} times. Received: scale={scale}")
    source = load(None if dataset is None else os.fspath(dataset), data_dir, manual_dir, patient_pattern)
    cache = pipeline.cache_of(source, split)
    if patch_size is None:
        if steps is not None:
            raise InputError(f"steps counts batches of patches, whole images come once each. Received: {steps}")
        return pipeline.whole_images(cache, scale, degradation, seed)
    sampler = pipeline.PatchSampler(
        cache, scale, degradation, patch_size, batch_size, seed, augment=augment, hard_patches=hard_patches
    )
    return pipeline.training_data(sampler, 0, steps)


def load_for(arguments, fields: dict) -> Source:
    """Returns the dataset that a command line names, or else the one that a run was trained on.

    Args:
        arguments: Has `dataset`, `data_dir`, `manual_dir` and `patient_pattern`, each `None` where not given.
        fields: Fields of the run. Its folders and pattern go with its own dataset alone.
    """
    own = arguments.dataset is None
    manual_dirs = arguments.manual_dir or (fields.get("manual_dir", ()) if own else ())
    pattern = arguments.patient_pattern or (fields.get("patient_pattern") if own else None)
    data_dir = arguments.data_dir or fields.get("data_dir")
    return load(arguments.dataset or fields.get("dataset"), data_dir, manual_dirs, pattern)
