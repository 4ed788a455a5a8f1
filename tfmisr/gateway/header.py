"""Reads the Attributes that routing needs, in bounded memory: a sender may be broken, or hostile."""

import io
import pathlib
import zlib
from collections.abc import Sequence

import pydicom
from pydicom import uid
from pydicom.filereader import read_dataset
from pynetdicom.dsutils import split_dataset

TAGS = ("SOPClassUID", "SOPInstanceUID", "Modality", "BodyPartExamined", "ImageType")
# Where a rule names a volume method; the counts are those that `expected_images` may name.
COUNTS = ("ImagesInAcquisition", "NumberOfSeriesRelatedInstances")
SERIES_TAGS = ("SeriesInstanceUID", *COUNTS)
MAX_INFLATED = 2**24  # bytes before the last of these Attributes


def read(path: pathlib.Path, syntax: str, keywords: Sequence[str] = TAGS) -> pydicom.Dataset:
    """Returns some Attributes, decoded; what follows them is not.

    Args:
        path: DICOM file.
        syntax: Its Transfer Syntax UID.
        keywords: Their keywords.

    Raises:
        ValueError: They are behind more than `MAX_INFLATED` bytes of a deflated data set.
        Exception: Any other error of pydicom or zlib, for a broken file.
    """
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        header = _inflated(path, [pydicom.tag.Tag(keyword) for keyword in keywords])
    else:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
    for keyword in keywords:
        if keyword not in COUNTS:  # a broken count refuses no object
            header.get(keyword)
    return header


def _inflated(path: pathlib.Path, tags: Sequence[int]) -> pydicom.Dataset:
    """Inflates the beginning only: pydicom inflates all, and 600 kB may become 600 MB (PS3.5 A.5)."""
    with open(path, "rb") as file:
        file.seek(split_dataset(path)[1])
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflate.decompress(file.read(MAX_INFLATED), MAX_INFLATED)
    passed = []

    def is_behind(tag: int, *_: object) -> bool:
        if tag > max(tags):
            passed.append(tag)
        return tag > max(tags)

    found = read_dataset(io.BytesIO(content), False, True, stop_when=is_behind, specific_tags=list(tags))
    if not passed and not inflate.eof:
        raise ValueError("too many bytes before the Attributes that routing needs")
    return found
