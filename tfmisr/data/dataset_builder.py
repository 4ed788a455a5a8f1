"""The base class of the package's TFDS builders, and the features of its datasets."""

import inspect
import os
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from tfmisr.data.splits import SPLIT_PERCENT, SPLITS, folders, split_of

__all__ = ["SPLITS", "SPLIT_PERCENT", "DatasetBuilder", "features", "folders", "split_of"]


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


class DatasetBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder whose README, checksums and dummy data are in the folder of its module.

    TFDS derives that folder from the module's name and the top package's folder, which fails for datasets/, a folder
    that setup.cfg maps into the package.

    A builder that reads a user's folders defines `fingerprint()`, which is part of the path of the prepared dataset:
    changed source files are prepared again.

    Args:
        manual_dirs: Folders to read, in order of precedence.
        **kwargs: `data_dir`, `config`, ... of `tfds.core.DatasetBuilder`.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.code_path = epath.Path(inspect.getfile(cls))
        cls.pkg_dir_path = cls.code_path.parent

    def __init__(self, *, manual_dirs: Iterable[str | os.PathLike] = (), **kwargs):
        self.manual_dirs = folders(manual_dirs)
        super().__init__(**kwargs)

    def fingerprint(self) -> str | None:
        """Returns 12 hexadecimal digits that identify the source files, or `None`."""
        return None

    def _build_data_dir(self, given_data_dir):
        root, folder = super()._build_data_dir(given_data_dir)
        if fingerprint := self.fingerprint():
            version = os.path.basename(folder)
            folder = os.path.join(os.path.dirname(folder), fingerprint, version)
        return root, folder
