"""`index.npz`: names, sizes, full-scale values and patients of the images of a split, checked when it is read."""

import pathlib
import zipfile
import zlib

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import MAX_PIXELS

FILE = "index.npz"
_COLUMNS = ("shapes", "max_vals", "patients")
PACKED_COLUMNS = ("starts", "sizes")  # of an image's compressed bytes
_BYTES_PER_IMAGE = 4096  # more than any name and its numbers take


def write(folder: pathlib.Path, columns: dict[str, list]) -> None:
    """Writes the index of a split: `ids` as text, everything else as 64-bit integers."""
    arrays = {key: np.array(values, None if key == "ids" else np.int64) for key, values in columns.items()}
    np.savez(folder / FILE, **arrays)


def read(folder: pathlib.Path, channels: int, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Returns the columns of an index, each an array with one row per image.

    Args:
        folder: Folder of a split.
        channels: Channels of every image.
        dtype: Type of the pixels, uint8 or uint16.

    Raises:
        InputError: The file is missing, damaged, or impossible for such images.
    """
    path = folder / FILE
    try:
        columns = _load(path)
    # What a damaged zip file raises; a flipped bit may also select an unknown compression method or a password.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is missing or damaged ({error}); copy or make the pixel cache again") from error
    if broken := next((key for key, valid in _checks(columns, channels, dtype).items() if not valid), None):
        raise InputError(f"{path} is damaged: its {broken} are impossible; copy or make the pixel cache again")
    return columns


def _load(path):
    with zipfile.ZipFile(path) as file:
        unpacked = sum(member.file_size for member in file.infolist())
    with np.load(path, allow_pickle=False) as index:
        columns = {key: index[key] for key in _COLUMNS}  # small: 8 bytes a number, before the names are read
        if unpacked > 2**20 + len(columns["shapes"]) * _BYTES_PER_IMAGE:
            raise ValueError("too large for its images")
        return columns | {key: index[key] for key in ("ids", *PACKED_COLUMNS) if key in index.files}


def _checks(columns, channels, dtype) -> dict[str, bool]:
    """Returns column to whether its values are possible."""
    shapes, max_vals, ids = columns["shapes"], columns["max_vals"], columns.get("ids", np.zeros(0))
    count = len(shapes)
    numbers = all(columns[key].dtype == np.int64 for key in columns if key != "ids")
    if not numbers or shapes.shape != (count, 2) or not count:
        return {"shapes": False}
    packed = [columns[key] for key in PACKED_COLUMNS if key in columns]
    return {
        "shapes": bool((shapes > 0).all() and (shapes < 2**16).all() and (shapes.prod(1) <= MAX_PIXELS).all()),
        "max_vals": max_vals.shape == (count,) and bool(((max_vals > 0) & (max_vals <= np.iinfo(dtype).max)).all()),
        "patients": columns["patients"].shape == (count,),
        "ids": ids.shape == (count,) and ids.dtype.kind == "U" and len(set(ids.tolist())) == count,
        "compressed sizes": not packed or _can_be_packed(packed, shapes.prod(1) * channels * dtype.itemsize),
    }


def _can_be_packed(packed, raw_sizes) -> bool:
    if len(packed) != len(PACKED_COLUMNS) or any(column.shape != raw_sizes.shape for column in packed):
        return False
    starts, sizes = packed
    return bool((starts >= 0).all() and (starts < 2**62).all() and (sizes > 0).all() and (sizes <= raw_sizes).all())
