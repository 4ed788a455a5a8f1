"""Reads DICOM files with bounded memory, and with errors that contain no patient data."""

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

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

MAX_BYTES = 2**31  # of a file, and of the Pixel Data derived from it


@contextlib.contextmanager
def suppress_pydicom_messages() -> Iterator[None]:
    """Suppresses pydicom's warnings and log messages: they quote Attribute values, which may identify the patient."""
    log = logging.getLogger("pydicom")
    was_disabled, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = was_disabled


@contextlib.contextmanager
def raise_input_errors(name: str) -> Iterator[None]:
    """Turns any exception that a broken file causes in pydicom into an `InputError` that starts with `name`.

    pydicom's own messages, warnings and log quote Attribute values, which may identify the patient; all are withheld.
    """
    try:
        with suppress_pydicom_messages():
            yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) is not None:
            raise  # from the operating system; pydicom raises OSError too, and quotes the Data Element
        raise InputError(f"{name}: broken or unsupported DICOM ({type(error).__name__})") from None


def load(source: str | os.PathLike | pydicom.Dataset) -> pydicom.Dataset:
    """Returns a Data Set with its Pixel Data and its Transfer Syntax.

    Without a File Meta Information group the Transfer Syntax is detected from the content, as in `read_header`.

    Args:
        source: A file, or a data set that has `file_meta`.

    Raises:
        InputError: There is no file, or it is too large, truncated, or its Transfer Syntax is unknown.
    """
    ds = source if isinstance(source, pydicom.Dataset) else _read(pathlib.Path(source))
    if getattr(ds, "file_meta", None) is None or "TransferSyntaxUID" not in ds.file_meta:
        raise InputError("the Transfer Syntax is unknown; save the file with File Meta Information")
    return ds


def read_header(path: str | os.PathLike) -> pydicom.Dataset:
    """Returns the Data Set without its Pixel Data; on a broken file, pydicom's exceptions pass through.

    Raises:
        InputError: A deflated file is too large when inflated.
    """
    with open(path, "rb") as file:
        _check_deflated(file)
    return _with_syntax(pydicom.dcmread(path, stop_before_pixels=True, force=True))


def _read(path: pathlib.Path) -> pydicom.Dataset:
    if not path.is_file():
        raise InputError("expected a DICOM file, found no file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"the file has more than {MAX_BYTES} bytes; split it")
    if not path.stat().st_size:
        raise InputError("expected a DICOM file, found an empty one")
    # pydicom reads as many bytes as a (perhaps broken) length field states. A memory-mapped file returns only those
    # that exist, and allocates nothing for the others.
    with open(path, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        file = cast(BinaryIO, mapped)
        _check_deflated(file)
        file.seek(0)
        ds = _with_syntax(_read_elements(file))
    _check_end(ds)
    for tag in [tag for tag in ds.keys() if tag.group == 0xFFFE]:  # delimiters without the item that they should end
        del ds[tag]
    return ds


def _read_elements(file: BinaryIO) -> pydicom.FileDataset:
    """Returns all Data Elements of a mapped file; pydicom returns none where the last one has no end."""
    try:
        ds = pydicom.dcmread(file, force=True)
    except ValueError as error:
        if "seek out of range" not in str(error):  # raised by a memory map beyond its end
            raise
        ds = None
    if not ds:
        raise InputError("expected a DICOM Data Set; the file has none, or is truncated within a Data Element")
    return ds


def _with_syntax(ds: pydicom.FileDataset) -> pydicom.FileDataset:
    if "TransferSyntaxUID" not in ds.file_meta:
        implicit, little = ds.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        ds.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return ds


def _check_end(ds: pydicom.Dataset) -> None:
    # pydicom returns the available bytes of a Data Element that is longer than the file.
    raw = ds.get_item("PixelData") if "PixelData" in ds else None
    if isinstance(raw, RawDataElement) and raw.length not in (0xFFFFFFFF, len(raw.value or b"")):
        raise InputError("the file ends within Pixel Data (7FE0,0010)")


def _check_deflated(file: BinaryIO) -> None:
    """Raises `InputError` where a deflated Data Set would exhaust the memory: pydicom inflates all of it at once."""
    if file.read(132)[128:] != b"DICM":
        return
    meta = pydicom.filereader._read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        return
    inflate, size, chunk = zlib.decompressobj(-zlib.MAX_WBITS), 0, file.read(2**20)
    while chunk and not inflate.eof:
        size += len(inflate.decompress(chunk, 2**20))
        chunk = inflate.unconsumed_tail or file.read(2**20)
        if size > MAX_BYTES:
            raise InputError(f"the file inflates to more than {MAX_BYTES} bytes")


__getattr__ = renamed(__name__, silent="suppress_pydicom_messages", guarded="raise_input_errors")
