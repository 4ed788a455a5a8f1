"""The model card inside a `.tflite` file: what the file is, how to run it, and a hash that ties it to the weights.

The card is JSON in the file's own metadata, where it survives copying, and other runtimes pass over it. Reading and
writing need neither TensorFlow nor flatbuffers. A card is put in by a new head before the file the converter wrote,
which stays as it is, and the card itself after it:

    head (16-byte aligned) | the converter's file | length and card
"""

import hashlib
import json
import os
import pathlib
import struct

from tfmisr.edge.errors import InputError

NAME = b"tfmisr_card"
VERSION = 2
_EARLIER = {1: {"magnified": 1}}  # what the cards of a version lack
_OPTIONAL = {"max_tile": None}  # what a reader of the same version that does not know it may pass over

# The fields of the tables `Model`, `Metadata` and `Buffer` by their place in TensorFlow Lite's schema.fbs.
_MODEL_FIELDS, _BUFFERS, _METADATA = 8, 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0

LARGEST_TILE = 2**12  # low-resolution pixels; a window of it takes gigabytes

# What the runtime reads, and what each must be.
_RUNTIME = {
    "scale": lambda v: _whole(v, 2) and v in (2, 3, 4, 8),
    "channels": lambda v: _whole(v, 1) and v in (1, 3),
    "tile": lambda v: v is None or (_whole(v, 1) and v <= LARGEST_TILE),
    "max_tile": lambda v: v is None or (_whole(v, 1) and v <= LARGEST_TILE),
    "overlap": lambda v: v is None or _whole(v, 0),
    "skip": lambda v: v in ("bicubic", "none"),
    "shuffle": lambda v: _whole(v, 1) and v <= 8,
    "magnified": lambda v: _whole(v, 1) and v <= 2**16,
    "gate": lambda v: v is None or (len(v) == 2 and 0 <= v[0] < v[1] < float("inf")),
    "weights_sha256": lambda v: len(v) == 64,
}


def _whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least


class _Tables:
    """Just enough of the FlatBuffers format to find a table's fields."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def number(self, at: int, kind: str = "I") -> int:
        if at < 0:
            raise struct.error("offset below 0")
        return struct.unpack_from("<" + kind, self.content, at)[0]

    def follow(self, at: int) -> int:
        return at + self.number(at)

    def field(self, table: int, index: int) -> int | None:
        """Returns where the field's value or offset stands, `None` where it is left out."""
        layout = table - self.number(table, "i")
        entry = 4 + 2 * index
        offset = self.number(layout + entry, "H") if entry < self.number(layout, "H") else 0
        return table + offset if offset else None

    def vector(self, table: int, index: int) -> tuple[int, int]:
        """Returns where the elements of a vector or string start, and how many there are."""
        at = self.field(table, index)
        if at is None:
            return 0, 0
        start = self.follow(at)
        return start + 4, self.number(start)

    def children(self, table: int, index: int) -> list[int]:
        start, count = self.vector(table, index)
        return [self.follow(start + 4 * i) for i in range(count)]


def _find(content: bytes) -> tuple[int, int] | None:
    """Returns where the card's bytes start and end."""
    tables = _Tables(content)
    model = tables.follow(0)
    for entry in tables.children(model, _METADATA):
        start, length = tables.vector(entry, _METADATA_NAME)
        if length == len(NAME) and bytes(content[start : start + length]) == NAME:
            at = tables.field(entry, _METADATA_BUFFER)
            buffer = tables.children(model, _BUFFERS)[tables.number(at) if at else 0]
            start, length = tables.vector(buffer, _BUFFER_DATA)
            return start, start + length
    return None


def attach(content: bytes, card: dict) -> bytes:
    """Returns a `.tflite` file with a card in it.

    Args:
        content: The file as the converter wrote it, without a card.
        card: What to say; `weights_sha256` and `card_version` are filled in.
    """
    head = _head(content, len(content) + -len(content) % 16)
    body = head + content + bytes(-len(content) % 16) + bytes(12)
    filled = {"card_version": VERSION, **card, "weights_sha256": hashlib.sha256(body).hexdigest()}
    text = json.dumps(filled, indent=2, allow_nan=False).encode()
    return body + struct.pack("<I", len(text)) + text


def _head(content: bytes, length: int) -> bytes:
    """Returns a new `Model` table whose fields are the old one's, with one buffer and one metadata entry more.

    Args:
        content: The old file.
        length: Its length with padding; the card stands 12 bytes after it.
    """
    tables = _Tables(content)
    old = tables.follow(0)
    buffers, entries = tables.children(old, _BUFFERS), tables.children(old, _METADATA)
    vectors = 64
    new_buffer = vectors + 4 * (len(buffers) + 2) + 4 * (len(entries) + 2)
    new_entry = new_buffer + 16
    size = new_entry + 20 + 4 + len(NAME) + 1
    size += -size % 16

    def offsets(at: int, targets: list[int]) -> bytes:
        own = [target - (at + 4 + 4 * i) for i, target in enumerate(targets)]
        return struct.pack(f"<{1 + len(own)}I", len(own), *own)

    second = vectors + 4 * (len(buffers) + 2)
    parts = [
        struct.pack("<I4s", 28, b"TFL3"),
        _model_table(tables, old, size, {_BUFFERS: vectors, _METADATA: second}),
        offsets(vectors, [size + b for b in buffers] + [new_buffer + 8]),
        offsets(second, [size + e for e in entries] + [new_entry + 8]),
        # Buffer: a layout of 8 bytes with one field, then the table.
        struct.pack("<HHHH", 6, 8, 4, 0) + struct.pack("<iI", 8, size + length + 12 - (new_buffer + 12)),
        # Metadata: a layout of 8 bytes with two fields, then the table, then the name.
        struct.pack("<HHHH", 8, 12, 4, 8) + struct.pack("<iII", 8, 8, len(buffers)),
        struct.pack("<I", len(NAME)) + NAME,
    ]
    return b"".join(parts).ljust(size, b"\0")


def _model_table(tables: _Tables, old: int, size: int, replaced: dict[int, int]) -> bytes:
    """Returns layout and table of `Model` at byte 8: 20 bytes and 36."""
    layout, values = [], []
    for index in range(_MODEL_FIELDS):
        at, place = tables.field(old, index), 32 + 4 * index
        target = replaced.get(index)
        if index == 0:
            value = tables.number(at) if at else 0
        elif target is None and at is not None:
            value = size + tables.follow(at) - place
        else:
            value = 0 if target is None else target - place
        values.append(value)
        layout.append(4 + 4 * index if value else 0)
    return struct.pack("<HH8H", 20, 36, *layout) + struct.pack("<i8I", 20, *values)


def read(path: str | os.PathLike) -> dict:
    """Returns the card of a `.tflite` file, once it is known to belong to these weights; see `check`."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"expected a .tflite file, found none at {path}")
    return check(path.read_bytes(), path)


def check(content: bytes, where: str | os.PathLike) -> dict:
    """Returns the card in a file's content.

    Args:
        content: The whole file.
        where: Its name, for the error. A card beside it, `NAME.card.json`, must be of the same weights.

    Raises:
        InputError: No `.tflite`, no card, one that is not of these weights, or one that this version cannot follow.
    """
    start, end = _located(content, where)
    try:
        card = json.loads(bytes(content[start:end]))
        version = card["card_version"]
        if version != VERSION and version not in _EARLIER:
            raise InputError(f"{where} has a card of version {version}, this tfmisr reads {VERSION}; install another")
        card = {**_OPTIONAL, **_EARLIER.get(version, {}), **card}
        wrong = [key for key, fits in _RUNTIME.items() if not fits(card[key])]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} has a broken model card ({error!r}); export the model again") from error
    if wrong:
        raise InputError(f"{where} has a model card with {wrong[0]}={card[wrong[0]]!r}; export the model again")
    if end != len(content) or card["weights_sha256"] != hashlib.sha256(content[: start - 4]).hexdigest():
        raise InputError(f"{where} and its model card do not belong together: the sha256 differs; copy the file again")
    _check_beside(pathlib.Path(where), card)
    return card


def _located(content: bytes, where: str | os.PathLike) -> tuple[int, int]:
    if bytes(content[4:8]) != b"TFL3":
        raise InputError(f"{where} is no .tflite file")
    try:
        found = _find(content)
    except (struct.error, IndexError) as error:
        raise InputError(f"{where} is a broken .tflite file ({error}); copy it again") from error
    if found is None:
        raise InputError(f"{where} has no model card; make it with python -m tfmisr.export")
    return found


def beside(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the card that a reader without this package opens: `NAME.card.json`."""
    return pathlib.Path(path).with_suffix(".card.json")


def _check_beside(path: pathlib.Path, card: dict) -> None:
    other = beside(path)
    if not other.is_file():
        return
    try:
        found = json.loads(other.read_text(encoding="utf-8"))["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{other} is no model card ({error!r}); delete it or export again") from error
    if found != card["weights_sha256"]:
        raise InputError(f"{other} belongs to another file than {path}: the sha256 differs; copy both again")
