"""`source.json`: what the decoded images beside it are, so that they can be read without TFDS and TensorFlow.

It has the names and numbers that identify a run's data and an evaluation's protocol, and no paths.
"""

import contextlib
import json
import pathlib
import re
import typing

from tfmisr.data.splits import SPLITS
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

if typing.TYPE_CHECKING:
    from tfmisr.data.cached_source import CachedSource
    from tfmisr.data.sources import Source

FILE = "source.json"
FORMAT, VERSION = "tfmisr pixel cache", 1
_MAX_BYTES, _MAX_IMAGES = 2**20, 10_000_000
_NAME = re.compile(r"[\w.:+-]{1,255}(/[\w.:+-]{1,255})?")


def of(source: "Source | CachedSource", splits: dict[str, dict]) -> dict:
    """Returns the description of a source's images.

    Args:
        source: A `tfmisr.data.Source` or `CachedSource`.
        splits: Split to its number of `images` in the cache and, in a packed one, the `sha256` of their pixels.
    """
    if known := getattr(source, "description", None):
        return {**known, "splits": splits}
    builder = source.builder
    chosen = getattr(builder, "builder_config", None)
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": source.name,
        "default_configuration": not chosen or chosen.name == next(iter(builder.builder_configs), None),
        "prepared": source.prepared,
        "dataset_version": source.folder.name,
        "images": source.counts,
        "channels": source.channels,
        "dtype": source.dtype.name,
        "full_scale": getattr(source, "full_scale", ""),
        "license": str(getattr(builder.info, "license", None) or ""),
        "all_splits": list(source.splits),
        "splits": splits,
    }


def write(folder: pathlib.Path, description: dict) -> None:
    """Writes the description of the splits in a folder."""
    write_text(folder / FILE, json.dumps(description, indent=2) + "\n")


def record(source: "Source", split: str, images: int) -> None:
    """Adds a split that has been decoded to the description in a source's cache; does nothing where it is there.

    A folder that cannot be written is left as it is: the source itself does not need the description.
    """
    try:
        current = read(source.pixels)
    except InputError:
        current = None
    splits = current["splits"] if current else {}
    if splits.get(split) != {"images": images}:
        with contextlib.suppress(OSError):
            write(source.pixels, of(source, {**splits, split: {"images": images}}))


def read(folder: pathlib.Path) -> dict | None:
    """Returns the description of the splits in a folder; `None` where there is none, or another program's file.

    Raises:
        InputError: It is of another version, or not as `of` makes it.
    """
    path = folder / FILE
    try:
        with open(path, "rb") as file:
            description = json.loads(file.read(_MAX_BYTES + 1)[:_MAX_BYTES].decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        return None
    if description.get("version") != VERSION:
        raise InputError(
            f"expected version {VERSION} of a pixel cache in {path}, found {str(description.get('version'))[:20]}; "
            "make it again with python -m tfmisr.prepare --pixel_cache of this release"
        )
    if broken := next((key for key, valid in _checks(description).items() if not valid), None):
        raise InputError(f"{path} is damaged: its {broken} is not that of a pixel cache; copy or make it again")
    return description


def _checks(description: dict) -> dict[str, bool]:
    """Returns key to whether its value is possible."""
    get = description.get
    splits, names = get("splits"), get("all_splits")
    return {
        "name": isinstance(get("name"), str) and bool(_NAME.fullmatch(get("name"))),
        "prepared": isinstance(get("prepared"), str) and get("prepared").isprintable(),
        "default_configuration": isinstance(get("default_configuration"), bool),
        "channels": get("channels") in (1, 3),
        "dtype": get("dtype") in ("uint8", "uint16"),
        "full_scale": get("full_scale") in ("", "series"),
        "images": isinstance(get("images"), dict) and all(map(_is_count, get("images").values())),
        "all_splits": isinstance(names, list) and all(name in SPLITS for name in names),
        "splits": isinstance(splits, dict)
        and all(name in SPLITS and isinstance(split, dict) for name, split in splits.items())
        and all(_is_count(split.get("images")) for split in splits.values()),
    }


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_IMAGES
