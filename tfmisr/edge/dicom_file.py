"""Reading a DICOM file: bounded, however broken, and with errors that name no patient."""

import contextlib
import logging
import mmap
import os
import pathlib
import warnings
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import pydicom
from pydicom import uid
from pydicom.dataelem import RawDataElement

from tfmisr.edge.errors import InputError

MAX_BYTES = 2**31  # of a file, and of the pixel data made of it


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keeps back pydicom's warnings and log: they quote values of the header, which may name the patient."""
    log = logging.getLogger("pydicom")
    quiet, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = quiet


def load(source: str | os.PathLike | pydicom.Dataset) -> pydicom.Dataset:
    """Returns a data set with its pixel data and its transfer syntax.

    How the data set is encoded is told from its content, not from the file meta group alone, as in `read_header`.

    Raises:
        InputError: No file, or one that is too large, cut off, or of an unknown transfer syntax.
    """
    ds = source if isinstance(source, pydicom.Dataset) else _read(pathlib.Path(source))
    if getattr(ds, "file_meta", None) is None or "TransferSyntaxUID" not in ds.file_meta:
        raise InputError("the transfer syntax is unknown; save the file with a file meta group")
    return ds


def read_header(path: str | os.PathLike) -> pydicom.Dataset:
    """Returns the data set without its pixels; what is broken raises whatever pydicom raises."""
    return _with_syntax(pydicom.dcmread(path, stop_before_pixels=True, force=True))


def _read(path: pathlib.Path) -> pydicom.Dataset:
    if not path.is_file():
        raise InputError("expected a DICOM file, found no file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"the file has more than {MAX_BYTES} bytes; split it")
    if not path.stat().st_size:
        raise InputError("expected a DICOM file, found an empty one")
    # pydicom asks a file for as many bytes as a broken length says; a mapped one gives those that there are, and
    # sets nothing aside for the others.
    with open(path, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        file = cast(BinaryIO, mapped)
        _check_deflated(file)
        file.seek(0)
        ds = _with_syntax(_whole(file))
    _check_end(ds)
    for tag in [tag for tag in ds.keys() if tag.group == 0xFFFE]:  # delimiters without what they should end
        del ds[tag]
    return ds


def _whole(file: BinaryIO) -> pydicom.FileDataset:
    """Returns all elements of a mapped file; pydicom gives none where the last one has no end."""
    try:
        ds = pydicom.dcmread(file, force=True)
    except ValueError as error:
        if "seek out of range" not in str(error):  # what a map says beyond its end
            raise
        ds = None
    if not ds:
        raise InputError("expected a DICOM data set; the file has none, or is cut off within an element")
    return ds


def _with_syntax(ds: pydicom.FileDataset) -> pydicom.FileDataset:
    if "TransferSyntaxUID" not in ds.file_meta:
        implicit, little = ds.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        ds.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return ds


def _check_end(ds: pydicom.Dataset) -> None:
    # pydicom gives what there is of an element that is longer than the file.
    raw = ds.get_item("PixelData") if "PixelData" in ds else None
    if isinstance(raw, RawDataElement) and raw.length not in (0xFFFFFFFF, len(raw.value or b"")):
        raise InputError("the file ends within Pixel Data (7FE0,0010)")


def _check_deflated(file: BinaryIO) -> None:
    """Raises where a deflated data set would fill the memory: pydicom inflates the whole of it."""
    if file.read(132)[128:] != b"DICM":
        return
    meta = pydicom.filereader._read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        return
    inflate, size, chunk = zlib.decompressobj(-zlib.MAX_WBITS), 0, file.read()
    while chunk and not inflate.eof:
        size += len(inflate.decompress(chunk, 2**20))
        chunk = inflate.unconsumed_tail
        if size > MAX_BYTES:
            raise InputError(f"the file inflates to more than {MAX_BYTES} bytes")
