"""A whole DICOM file in memory: bounded, however broken, and with errors that name no patient."""

import contextlib
import io
import logging
import os
import pathlib
import struct
import warnings
import zlib
from collections.abc import Iterator

import pydicom
from pydicom import uid
from pydicom.encaps import generate_frames

from tfmisr.edge.errors import InputError

MAX_BYTES = 2**31  # of a file, and of the pixel data made of it

_JPEG_LIKE = {*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes}


@contextlib.contextmanager
def guarded(name) -> Iterator[None]:
    """Turns whatever a broken file makes pydicom raise into an `InputError` that begins with `name`.

    pydicom's own messages, warnings and log quote values of the header, which may name the patient; none gets out.
    """
    log = logging.getLogger("pydicom")
    quiet, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) is not None:
            raise  # from the operating system; pydicom raises OSError too, and quotes the element
        raise InputError(f"{name}: broken or unsupported DICOM ({type(error).__name__})") from None
    finally:
        log.disabled = quiet


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


def check_codestreams(ds: pydicom.Dataset, count: int) -> None:
    """Compares the sizes that compressed frames claim with the header's.

    Decoders believe the codestream, and set aside memory for a size that the header does not tell.

    Raises:
        InputError: They differ.
    """
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == uid.RLELossless:
        return
    measure = _jpeg_size if syntax in _JPEG_LIKE else _jpeg_2000_size
    for frame in generate_frames(ds.PixelData, number_of_frames=count):
        size = measure(frame)
        if size is not None and size != (ds.Rows, ds.Columns):
            raise InputError(
                f"a compressed frame has {size[0]} rows and {size[1]} columns, the header {ds.Rows} and {ds.Columns}"
            )


def _jpeg_size(frame):
    """Returns (rows, columns) from the start-of-frame marker (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    place = 2
    while place + 9 < len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return struct.unpack(">HH", frame[place + 5 : place + 9])
        place += 2 + max(length, 2) if marker != 0xFF else 1
    return None


def _jpeg_2000_size(frame):
    """Returns (rows, columns) from the SIZ marker (ITU-T T.800 A.5.1), which comes first."""
    place = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if place < 0 or len(frame) < place + 24:
        return None
    width, height, left, top = struct.unpack(">4I", frame[place + 8 : place + 24])
    return height - top, width - left
