"""A whole DICOM file in memory: bounded, however broken, and with errors that name no patient."""

import contextlib
import io
import os
import pathlib
import zlib
from collections.abc import Iterator

import pydicom
from pydicom import uid

from tfmisr.edge import dicom
from tfmisr.edge.errors import InputError

MAX_BYTES = 2**31  # of a file, and of the pixel data made of it


@contextlib.contextmanager
def guarded(name) -> Iterator[None]:
    """Turns whatever a broken file makes pydicom raise into an `InputError` that begins with `name`.

    pydicom's own messages, warnings and log quote values of the header, which may name the patient; none gets out.
    """
    try:
        with dicom.silent():
            yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) is not None:
            raise  # from the operating system; pydicom raises OSError too, and quotes the element
        raise InputError(f"{name}: broken or unsupported DICOM ({type(error).__name__})") from None


def load(source: str | os.PathLike | pydicom.Dataset) -> pydicom.Dataset:
    """Returns a data set with its pixel data and its transfer syntax.

    Raises:
        InputError: The file is too large, or has no pixel data.
    """
    ds = source if isinstance(source, pydicom.Dataset) else _read(pathlib.Path(source))
    if getattr(ds, "file_meta", None) is None or "TransferSyntaxUID" not in ds.file_meta:
        raise InputError("the transfer syntax is unknown; save the file with a file meta group")
    return ds


def _read(path):
    if not path.is_file():
        raise InputError("expected a DICOM file, found no file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"the file has more than {MAX_BYTES} bytes; split it")
    content = path.read_bytes()
    _check_deflated(content)
    ds = pydicom.dcmread(io.BytesIO(content), force=True)
    if "TransferSyntaxUID" not in ds.file_meta:
        implicit, little = ds.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        ds.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    _check_end(ds)
    return ds


def _check_end(ds):
    # pydicom gives what there is of an element that is longer than the file.
    raw = ds.get_item("PixelData") if "PixelData" in ds else None
    length = getattr(raw, "length", None)
    if length not in (None, 0xFFFFFFFF) and len(raw.value or b"") != length:
        raise InputError("the file ends within Pixel Data (7FE0,0010)")


def _check_deflated(content):
    """Raises where a deflated data set would fill the memory: pydicom inflates the whole of it."""
    file = io.BytesIO(content)
    if content[128:132] != b"DICM":
        return
    file.seek(132)
    meta = pydicom.filereader._read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        return
    inflate, size, chunk = zlib.decompressobj(-zlib.MAX_WBITS), 0, content[file.tell() :]
    while chunk and not inflate.eof:
        size += len(inflate.decompress(chunk, 2**20))
        chunk = inflate.unconsumed_tail
        if size > MAX_BYTES:
            raise InputError(f"the file inflates to more than {MAX_BYTES} bytes")
