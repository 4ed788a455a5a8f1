"""The base class of the package's TFDS builders, the features of its datasets, and the split by patient."""

import hashlib
import inspect
import os
import pathlib
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from tfmisr.data import parts
from tfmisr.edge.files import encode_name

SPLITS = ("train", "validation", "test")
SPLIT_PERCENT = {"train": 80, "validation": 10, "test": 10}


def features(channels: int, dtype: np.dtype | type) -> tfds.features.FeaturesDict:
    """Returns the features that all datasets of this package have.

    Args:
        channels: 1 (gray) or 3 (RGB).
        dtype: `np.uint8` or `np.uint16`, the type of the pixels of `hr`.

    Returns:
        `hr`, the image, (height, width, channels); `max_val`, the full-scale pixel value, which is 1.0 to a network;
        `id`, unique in the dataset; `patient`, equal for images of one patient. No attributes of a DICOM header.
    """
    return tfds.features.FeaturesDict(
        {
            "hr": tfds.features.Image(shape=(None, None, channels), dtype=dtype),
            "max_val": np.int32,
            "id": tfds.features.Text(),
            "patient": np.int64,
        }
    )


def folders(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> tuple[pathlib.Path, ...]:
    """Returns the folders of a sequence, or of one string in which `os.pathsep` separates them."""
    if isinstance(paths, (str, os.PathLike)):
        paths = os.fspath(paths).split(os.pathsep)
    return tuple(pathlib.Path(folder).expanduser() for folder in paths)


def split_of(key: str, percent: dict[str, int]) -> str:
    """Returns the split of a patient, a pure function of `key`.

    Args:
        key: Name of the patient.
        percent: Split name to percentage of the patients, 100 in total, in a fixed order.

    Raises:
        ValueError: The percentages do not add up to 100.
    """
    if sum(percent.values()) != 100:
        raise ValueError(f"`percent` must add up to 100. Received: percent={percent}")
    point = int(hashlib.sha256(encode_name(key)).hexdigest()[:12], 16) % 10_000
    for name, share in percent.items():
        point -= share * 100
        if point < 0:
            return name
    raise AssertionError


def parts_folder(prepared: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the parts of a dataset that is being prepared.

    Args:
        prepared: Folder of the prepared dataset, which need not exist yet.
    """
    return prepared.with_name(f"parts.{prepared.name}")


class DatasetBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder whose README, checksums and dummy data are in the folder of its module.

    TFDS derives that folder from the module's name and the top package's folder, which fails for datasets/, a folder
    that setup.cfg maps into the package.

    A builder that reads a user's folders defines `fingerprint()`, which is part of the path of the prepared dataset:
    changed source files are prepared again.

    Args:
        manual_dirs: Folders to read, in order of precedence.
        **kwargs: `data_dir`, `config`, ... of `tfds.core.DatasetBuilder`.

    Attributes:
        in_parts: Whether the dataset is prepared in `tfmisr.data.parts`.
        part_runner: Makes the parts elsewhere; `None`: in this process.
    """

    in_parts = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.code_path = epath.Path(inspect.getfile(cls))
        cls.pkg_dir_path = cls.code_path.parent

    def __init__(self, *, manual_dirs: Iterable[str | os.PathLike] = (), **kwargs):
        self.manual_dirs = folders(manual_dirs)
        self.part_runner: parts.Runner | None = None
        super().__init__(**kwargs)

    def _staged(self, found: list[parts.Part]) -> parts.Staging:
        """Returns the parts of this dataset in the folder where they wait for the others."""
        return parts.Staging(parts_folder(pathlib.Path(self._build_data_dir(self.data_dir_root)[1])), found)

    def fingerprint(self) -> str | None:
        """Returns 12 hexadecimal digits that identify the source files, or `None`."""
        return None

    def _build_data_dir(self, given_data_dir):
        root, folder = super()._build_data_dir(given_data_dir)
        if fingerprint := self.fingerprint():
            version = os.path.basename(folder)
            folder = os.path.join(os.path.dirname(folder), fingerprint, version)
        return root, folder
