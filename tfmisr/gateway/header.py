"""Reads the Attributes that routing needs, in bounded memory: a sender may be broken, or hostile."""

import io
import pathlib
import zlib
from collections.abc import Collection

import pydicom
from pydicom import uid
from pydicom.filereader import read_dataset
from pynetdicom.dsutils import split_dataset

TAGS = ("SOPClassUID", "SOPInstanceUID", "Modality", "BodyPartExamined", "ImageType")
MAX_INFLATED = 2**24  # bytes before the last of these Attributes


def read(path: pathlib.Path, syntax: str) -> pydicom.Dataset:
    """Returns the Attributes `TAGS`, decoded; what follows them is not.

    Args:
        path: DICOM file.
        syntax: Its Transfer Syntax UID.

    Raises:
        ValueError: As of `parse`.
        Exception: Any other error of pydicom or zlib, for a broken file.
    """
    header = parse(path, syntax, TAGS)
    for keyword in TAGS:
        header.get(keyword)
    return header


def parse(path: pathlib.Path, syntax: str, keywords: Collection[str]) -> pydicom.Dataset:
    """Returns Attributes of a file; each is decoded when it is asked for.

    Args:
        path: DICOM file.
        syntax: Its Transfer Syntax UID.
        keywords: Their keywords.

    Raises:
        ValueError: They are behind more than `MAX_INFLATED` bytes of a deflated data set.
        Exception: Any other error of pydicom or zlib, for a broken file.
    """
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        return _inflated(path, keywords)
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))


def inflate(path: pathlib.Path) -> bytes:
    """Returns a deflated data set.

    Raises:
        ValueError: It has more than `MAX_INFLATED` bytes.
        zlib.error: It is broken.
    """
    content, is_all = _inflate(path)
    if not is_all:
        raise ValueError("too many bytes")
    return content


def _inflate(path: pathlib.Path) -> tuple[bytes, bool]:
    """Inflates the beginning only: pydicom inflates all, and 600 kB may become 600 MB (PS3.5 A.5)."""
    with open(path, "rb") as file:
        file.seek(split_dataset(path)[1])
        state = zlib.decompressobj(-zlib.MAX_WBITS)
        return state.decompress(file.read(MAX_INFLATED), MAX_INFLATED), state.eof


def _inflated(path: pathlib.Path, keywords: Collection[str]) -> pydicom.Dataset:
    content, is_all = _inflate(path)
    passed = []
    tags = [pydicom.tag.Tag(keyword) for keyword in keywords]
    last = max(tags)

    def is_behind(tag: int, *_: object) -> bool:
        if tag > last:
            passed.append(tag)
        return tag > last

    found = read_dataset(io.BytesIO(content), False, True, stop_when=is_behind, specific_tags=tags)
    if not passed and not is_all:
        raise ValueError("too many bytes before the Attributes that routing needs")
    return found
