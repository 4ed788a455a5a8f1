"""The datasets of a run: HR images, and LR images for unpaired training with a dataset of them."""

import os
from collections.abc import Iterable

from tfmisr import data
from tfmisr.config import Config


def load(config: Config, resumable: Iterable[str | os.PathLike]) -> tuple["data.Source", "data.Source | None"]:
    """Prepares and returns the dataset of a run, and its LR dataset or `None`.

    Args:
        config: The run.
        resumable: Directories of runs that may be resumed; see `tfmisr.data.load`.

    Raises:
        InputError: No such dataset or folder, or it cannot be prepared.
    """
    directories = tuple(resumable)
    source = data.load(config.dataset, config.data_dir, config.manual_dir, config.patient_pattern, directories)
    if not config.lr_dataset:
        return source, None
    lr_manual_dir = config.lr_manual_dir
    return source, data.load(config.lr_dataset, config.data_dir, lr_manual_dir, config.patient_pattern, directories)
