"""The splits of a dataset, and which of them a patient is in; imports no TFDS."""

import hashlib
import os
import pathlib
from collections.abc import Iterable

from tfmisr.edge.files import encode_name

SPLITS = ("train", "validation", "test")
SPLIT_PERCENT = {"train": 80, "validation": 10, "test": 10}


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
