"""The model card embedded in a `.tflite` file: what the model is, how to run it, and a hash of its weights.

The card is JSON in the `Metadata` table of the TensorFlow Lite flatbuffer (schema.fbs): it is copied with the file, and
other runtimes ignore it. Reading and writing need neither TensorFlow nor flatbuffers. To attach a card, a new root
table is written before the converter's file, which stays unchanged, and the card is appended:

    root table (16-byte aligned) | the converter's file | length and card
"""

import hashlib
import json
import os
import pathlib
import struct

from tfmisr.edge import card_kinds, consistency, head_card
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

NAME = b"tfmisr_card"
VERSION = 3  # 2 has no `consistency`, which changes pixels, and the earlier names of `NAMES`; 1 no `fine_scale`
_EARLIER = {1: {"fine_scale": 1}, 2: {}}  # defaults of the fields that cards of earlier versions lack
_OPTIONAL = {"max_tile": None, "consistency": None, "uncertainty": None, "applicability": None}
# Names of fields, and those in cards of versions 1 and 2. Both are read in every version.
NAMES = {"fine_scale": "magnified", "flavor": "flavour", "gating_thresholds": "gate", "license": "licence"}

# Field indices of the tables `Model`, `Metadata` and `Buffer` in TensorFlow Lite's schema.fbs.
_MODEL_FIELDS, _BUFFERS, _METADATA = 8, 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0

LARGEST_TILE = 2**12  # low-resolution pixels; a tile of this side needs gigabytes of memory

# The fields that the runtime reads, each with its validity check.
_RUNTIME = {
    "scale": lambda v: _is_integer(v, 2) and v in (2, 3, 4, 8),
    "channels": lambda v: _is_integer(v, 1) and v in (1, 3),
    "tile": lambda v: v is None or (_is_integer(v, 1) and v <= LARGEST_TILE),
    "max_tile": lambda v: v is None or (_is_integer(v, 1) and v <= LARGEST_TILE),
    "overlap": lambda v: v is None or _is_integer(v, 0),
    "skip": lambda v: v in ("bicubic", "none"),
    "shuffle": lambda v: _is_integer(v, 1) and v <= 8,
    "fine_scale": lambda v: _is_integer(v, 1) and v <= 2**16,
    "gating_thresholds": lambda v: v is None or (len(v) == 2 and 0 <= v[0] < v[1] < float("inf")),
    "consistency": consistency.is_valid,
    "uncertainty": lambda v: v is None or len(v["head"]["weights_sha256"]) == 64,
    "applicability": lambda v: v is None or _is_applicability(v),
    "weights_sha256": lambda v: len(v) == 64,
}


def _is_integer(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _is_applicability(value: object) -> bool:
    from tfmisr.edge import applicability_field  # it imports pydicom, which a model without the field does not need

    return applicability_field.is_valid(value)


class _Tables:
    """A minimal FlatBuffers reader: finds the fields of a table."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def number(self, at: int, code: str = "I") -> int:
        """Returns the number at a position; `code` is a format character of `struct`."""
        if at < 0:
            raise struct.error("offset below 0")
        return struct.unpack_from("<" + code, self.content, at)[0]

    def follow(self, at: int) -> int:
        """Returns the position that the offset at a position points to."""
        return at + self.number(at)

    def field(self, table: int, index: int) -> int | None:
        """Returns the position of a field's value or offset, `None` if the field is absent."""
        layout = table - self.number(table, "i")
        entry = 4 + 2 * index
        offset = self.number(layout + entry, "H") if entry < self.number(layout, "H") else 0
        return table + offset if offset else None

    def vector(self, table: int, index: int) -> tuple[int, int]:
        """Returns the position of the first element of a vector or string, and the number of elements."""
        at = self.field(table, index)
        if at is None:
            return 0, 0
        start = self.follow(at)
        return start + 4, self.number(start)

    def children(self, table: int, index: int) -> list[int]:
        """Returns the positions of the tables of a vector."""
        start, count = self.vector(table, index)
        return [self.follow(start + 4 * i) for i in range(count)]


def _find(content: bytes) -> tuple[int, int] | None:
    """Returns the start and end position of the card, `None` if the file has none."""
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
    """Returns the content of a `.tflite` file with a card embedded.

    Args:
        content: The file as the converter wrote it, without a card.
        card: The fields; `weights_sha256` and `card_version` are filled in.
    """
    head = _head(content, len(content) + -len(content) % 16)
    body = head + content + bytes(-len(content) % 16) + bytes(12)
    return _with_card(body, {"card_version": VERSION, **card})


def replace(content: bytes, card: dict) -> bytes:
    """Returns a file with another card, of the present version; the rest, and so `weights_sha256`, does not change.

    Args:
        content: A file with a card.
        card: The fields, in any of the spellings of `NAMES`.
    """
    start, _ = _locate(content, "the file")
    return _with_card(content[: start - 4], latest(card))


def latest(card: dict) -> dict:
    """Returns a card's fields under the names of the present version, without the earlier ones."""
    current = {old: new for new, old in NAMES.items()}
    renamed_fields = {current.get(key, key): value for key, value in card.items()}
    return renamed_fields | {key: card[key] for key in NAMES if key in card} | {"card_version": VERSION}


def _with_card(body: bytes, card: dict) -> bytes:
    """Returns the file: all that comes before the length of the card, and the card."""
    filled = {**card, "weights_sha256": hashlib.sha256(body).hexdigest()}
    text = json.dumps(filled, indent=2, allow_nan=False).encode()
    return body + struct.pack("<I", len(text)) + text


def _head(content: bytes, length: int) -> bytes:
    """Returns a new `Model` table with the fields of the old one, one more buffer and one more metadata entry.

    Args:
        content: The converter's file.
        length: Its length with padding; the card starts 12 bytes after it.
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
        relative = [target - (at + 4 + 4 * i) for i, target in enumerate(targets)]
        return struct.pack(f"<{1 + len(relative)}I", len(relative), *relative)

    second = vectors + 4 * (len(buffers) + 2)
    parts = [
        struct.pack("<I4s", 28, b"TFL3"),
        _model_table(tables, old, size, {_BUFFERS: vectors, _METADATA: second}),
        offsets(vectors, [size + b for b in buffers] + [new_buffer + 8]),
        offsets(second, [size + e for e in entries] + [new_entry + 8]),
        # Buffer: a vtable of 8 bytes with one field, then the table.
        struct.pack("<HHHH", 6, 8, 4, 0) + struct.pack("<iI", 8, size + length + 12 - (new_buffer + 12)),
        # Metadata: a vtable of 8 bytes with two fields, then the table, then the name.
        struct.pack("<HHHH", 8, 12, 4, 8) + struct.pack("<iII", 8, 8, len(buffers)),
        struct.pack("<I", len(NAME)) + NAME,
    ]
    return b"".join(parts).ljust(size, b"\0")


def _model_table(tables: _Tables, old: int, size: int, replaced: dict[int, int]) -> bytes:
    """Returns the vtable (20 bytes) and the table (36 bytes) of `Model`, which start at byte 8."""
    layout, values = [], []
    for index in range(_MODEL_FIELDS):
        at, position = tables.field(old, index), 32 + 4 * index
        target = replaced.get(index)
        if index == 0:
            value = tables.number(at) if at else 0
        elif target is None and at is not None:
            value = size + tables.follow(at) - position
        else:
            value = 0 if target is None else target - position
        values.append(value)
        layout.append(4 + 4 * index if value else 0)
    return struct.pack("<HH8H", 20, 36, *layout) + struct.pack("<i8I", 20, *values)


def read(path: str | os.PathLike, kind: str | None = None) -> dict:
    """Returns the card of a `.tflite` file after verifying that it belongs to the weights; see `check`."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"expected a .tflite file, found none at {path}")
    return check(path.read_bytes(), path, kind)


def check(content: bytes, where: str | os.PathLike, kind: str | None = None) -> dict:
    """Returns the card embedded in a file's content.

    Args:
        content: The complete file.
        where: Its path, for error messages. A sidecar `NAME.card.json` beside it must have the same weights hash.
        kind: `head_card.KIND` for an uncertainty head, `plane_card.KIND` for a network that refines planes of a volume;
            `None` for a model that upscales.

    Returns:
        The fields. Those of `NAMES` are returned under both names; what a card of versions 1 and 2 lacks has its
        default.

    Raises:
        InputError: Not a `.tflite` file, no card, a card of other weights, or a card version that is not supported.
    """
    start, end = _locate(content, where)
    try:
        card = json.loads(bytes(content[start:end]))
        version = card["card_version"]
        if version != VERSION and version not in _EARLIER:
            raise InputError(f"{where} has a card of version {version}, this tfmisr reads {VERSION}; install another")
        card_kinds.check(card, where, kind)
        card = card if kind == head_card.KIND else _complete(card, _EARLIER.get(version, {}))
        runtime = card_kinds.RUNTIMES[kind] if kind else _RUNTIME
        invalid = [key for key, is_valid in runtime.items() if not is_valid(card[key])]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} has a broken model card ({error!r}); export the model again") from error
    if invalid:
        raise InputError(f"{where} has a model card with {invalid[0]}={card[invalid[0]]!r:.80}; export the model again")
    if end != len(content) or card["weights_sha256"] != hashlib.sha256(content[: start - 4]).hexdigest():
        raise InputError(f"{where} and its model card do not belong together: the sha256 differs; copy the file again")
    _check_sidecar(pathlib.Path(where), card)
    return card


def kind_of(path: str | os.PathLike) -> str | None:
    """Returns the `kind` of a file's card, `None` for a model that upscales; `read` checks it."""
    content = pathlib.Path(path).read_bytes()
    start, end = _locate(content, path)
    try:
        return json.loads(bytes(content[start:end])).get("kind")
    except (ValueError, AttributeError, RecursionError):
        return None  # `read` says what is wrong


def _complete(card: dict, defaults: dict) -> dict:
    """Returns the card with the fields that it may lack, and with those of `NAMES` under both names."""
    named = {new: card[old] for new, old in NAMES.items() if old in card}
    card = {**_OPTIONAL, **defaults, **named, **card}
    return {**card, **{old: card[new] for new, old in NAMES.items() if new in card}}


def _locate(content: bytes, where: str | os.PathLike) -> tuple[int, int]:
    if bytes(content[4:8]) != b"TFL3":
        raise InputError(f"{where} is not a .tflite file")
    try:
        position = _find(content)
    except (struct.error, IndexError) as error:
        raise InputError(f"{where} is a broken .tflite file ({error}); copy it again") from error
    if position is None:
        raise InputError(f"{where} has no model card; make it with python -m tfmisr.export")
    return position


def sidecar_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the card's copy for readers without this package: `NAME.card.json`."""
    return pathlib.Path(path).with_suffix(".card.json")


def _check_sidecar(path: pathlib.Path, card: dict) -> None:
    other = sidecar_path(path)
    if not other.is_file():
        return
    try:
        digest = json.loads(other.read_text(encoding="utf-8"))["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{other} is not a model card ({error!r}); delete it or export again") from error
    if digest != card["weights_sha256"]:
        raise InputError(f"{other} belongs to another file than {path}: the sha256 differs; copy both again")


__getattr__ = renamed(__name__, beside="sidecar_path")
