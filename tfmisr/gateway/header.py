"""Reads the Attributes that routing needs, in bounded memory: a sender may be broken, or hostile."""

import io
import pathlib
import zlib

import pydicom
from pydicom import uid
from pydicom.filereader import read_dataset
from pynetdicom.dsutils import split_dataset

TAGS = ("SOPClassUID", "SOPInstanceUID", "Modality", "BodyPartExamined", "ImageType")
# Where a rule names a volume method; the counts are those that `expected_images` may name.
COUNTS = ("ImagesInAcquisition", "NumberOfSeriesRelatedInstances")
SERIES_TAGS = ("SeriesInstanceUID", *COUNTS)
MAX_INFLATED = 2**24  # bytes before the last of these Attributes


def read(path: pathlib.Path, syntax: str, more: tuple[str, ...] = ()) -> pydicom.Dataset:
    """Returns the Attributes `TAGS`, decoded; what follows them is not.

    Args:
        path: DICOM file.
        syntax: Its Transfer Syntax UID.
        more: Keywords of Attributes that are read too, and not decoded yet.

    Raises:
        ValueError: They are behind more than `MAX_INFLATED` bytes of a deflated data set.
        Exception: Any other error of pydicom or zlib, for a broken file.
    """
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        header = _inflated(path, (*TAGS, *more))
    else:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*TAGS, *more])
    for keyword in TAGS:
        header.get(keyword)
    return header


def _inflated(path: pathlib.Path, keywords: tuple[str, ...]) -> pydicom.Dataset:
    """Inflates the beginning only: pydicom inflates all, and 600 kB may become 600 MB (PS3.5 A.5)."""
    with open(path, "rb") as file:
        file.seek(split_dataset(path)[1])
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflate.decompress(file.read(MAX_INFLATED), MAX_INFLATED)
    passed = []
    tags = [pydicom.tag.Tag(keyword) for keyword in keywords]
    last = max(tags)

    def is_behind(tag: int, *_: object) -> bool:
        if tag > last:
            passed.append(tag)
        return tag > last

    found = read_dataset(io.BytesIO(content), False, True, stop_when=is_behind, specific_tags=tags)
    if not passed and not inflate.eof:
        raise ValueError("too many bytes before the Attributes that routing needs")
    return found
