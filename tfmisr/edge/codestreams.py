"""What compressed DICOM frames tell of themselves, before a decoder spends memory and time on them."""

import re
import struct

import pydicom
from pydicom import uid
from pydicom.encaps import generate_frames

from tfmisr.edge.errors import InputError

_SMALL = 2**24  # bytes; what no memory minds
_END_OF_IMAGE = b"\xff\xd9"  # ITU-T T.87 C.1.1; within the scan a byte of FF is followed by one below 80
_JPEG_LIKE = {*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes}


def check(ds: pydicom.Dataset, count: int) -> None:
    """Compares the sizes that compressed frames claim with the header's.

    Decoders believe the codestream, and set aside memory for a size that the header does not tell.

    Raises:
        InputError: They differ, a frame tells none, or one of JPEG-LS has no end.
    """
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    for frame in generate_frames(ds.PixelData, number_of_frames=count):
        if syntax == uid.RLELossless:
            _check_runs(frame, ds)
            continue
        if syntax in uid.JPEGLSTransferSyntaxes and _END_OF_IMAGE not in frame:
            # CharLS would look for the end through 2**31 bits that are not there, for seconds.
            raise InputError("a compressed frame is cut off")
        sizes = [_jpeg_size(frame)] if syntax in _JPEG_LIKE else _jpeg_2000_sizes(frame)
        if not sizes or None in sizes:
            raise InputError("a compressed frame does not tell its size")
        if wrong := [size for size in sizes if size != (ds.Rows, ds.Columns)]:
            raise InputError(
                f"a compressed frame has {wrong[0][0]} rows and {wrong[0][1]} columns, "
                f"the header {ds.Rows} and {ds.Columns}"
            )


def _check_runs(frame, ds):
    """Raises where run lengths (PS3.5 G.3) would fill the memory: two bytes may stand for 128."""
    expected = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    if 64 * len(frame) <= 8 * expected + _SMALL:
        return
    size, place = 0, 64
    while place < len(frame):
        header = frame[place]
        size += header + 1 if header < 128 else 257 - header if header > 128 else 0
        place += header + 2 if header < 128 else 2 if header > 128 else 1
        if size > 2 * expected + _SMALL:
            raise InputError("a run-length frame is longer than the image")


def _jpeg_size(frame):
    """Returns (rows, columns) from the start-of-frame marker (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    place = 2
    while place + 9 < len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return struct.unpack(">HH", frame[place + 5 : place + 9])
        place += 2 + max(length, 2) if marker != 0xFF else 1
    return None


def _jpeg_2000_sizes(frame):
    """Returns (rows, columns) from the SIZ marker (ITU-T T.800 A.5.1), which comes first.

    A frame in boxes (JP2) may hide it among others that look like it: then all of them.
    """
    start = b"\xff\x4f\xff\x51"
    places = [0] if frame[:4] == start else [match.start() for match in re.finditer(re.escape(start), frame)]
    sizes = []
    for place in places:
        if len(frame) < place + 24:
            return []
        width, height, left, top = struct.unpack(">4I", frame[place + 8 : place + 24])
        sizes.append((height - top, width - left))
    return sizes


def is_irreversible(frame: bytes) -> bool:
    """Whether a JPEG 2000 codestream says in its COD marker that it was made by the 9-7 wavelet, which loses something.

    One of the reversible 5-3 wavelet may have been cut short as well; that it does not tell (ITU-T T.800 A.6.1).
    """
    place = frame.find(b"\xff\x4f\xff\x51") + 2
    while 2 <= place and place + 14 <= len(frame) and frame[place : place + 2] not in (b"\xff\x90", b"\xff\x93"):
        if frame[place : place + 2] == b"\xff\x52":
            return frame[place + 13] == 0
        place += 2 + max(int.from_bytes(frame[place + 2 : place + 4], "big"), 2)
    return False
