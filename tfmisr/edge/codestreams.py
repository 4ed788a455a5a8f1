"""Parses and checks the headers of compressed DICOM frames before a decoder allocates memory for them."""

import dataclasses
import re
import struct

import pydicom
from pydicom import uid

from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError

_SMALL = 2**24  # bytes; always allowed
_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"  # ITU-T T.81 B.1.1.3, T.87 C.1.1; within a scan FF D9 does not occur
_SIZ = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream and its SIZ marker (ITU-T T.800 A.5.1)
_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, *_LOSSLESS)
_FRAME = "a compressed frame of Pixel Data (7FE0,0010)"
JPEG_LIKE = (*_JPEG, *uid.JPEGLSTransferSyntaxes)


@dataclasses.dataclass(frozen=True)
class Codestream:
    """The header of a compressed frame.

    Attributes:
        rows: Height in pixels.
        columns: Width in pixels.
        components: Samples per pixel.
        precision: Bits per sample; 0 where the components differ.
        signed: Whether JPEG 2000 samples are signed; `None` for other codestreams, which do not state it.
        color: "RGB" or "YBR", the color space of the coded components of a JPEG; `None` if it is not stated.
        converted_from: "RGB" or "YBR", the color space that libjpeg assumes and would convert to RGB.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool | None = None
    color: str | None = None
    converted_from: str | None = None


def parse(frame: bytes, syntax: uid.UID) -> Codestream:
    """Returns the header of a JPEG, JPEG-LS or JPEG 2000 frame that `check` has accepted."""
    return _headers(frame, syntax)[0]


def _headers(frame: bytes, syntax: uid.UID) -> list[Codestream]:
    parsed = [_parse_jpeg(frame, syntax)] if syntax in JPEG_LIKE else _parse_jpeg_2000(frame)
    headers = [header for header in parsed if header is not None]
    if not headers or len(headers) < len(parsed):
        raise InputError(f"{_FRAME} does not state its size")
    return headers


def check(frame: bytes, syntax: uid.UID, ds: pydicom.Dataset) -> Codestream | None:
    """Compares the header of a compressed frame with its Data Set.

    Decoders allocate memory for the size in the codestream, which may differ from Rows (0028,0010) and Columns.

    Args:
        frame: The encapsulated frame.
        syntax: Its Transfer Syntax UID.
        ds: The Data Set.

    Returns:
        The parsed header; `None` for RLE, which has none.

    Raises:
        InputError: Sizes or samples differ, or the frame is truncated.
    """
    if syntax == uid.RLELossless:
        _check_runs(frame, ds)
        return None
    if syntax in JPEG_LIKE and not _is_ended(frame):
        # CharLS would search 2**31 missing bits for the end, for seconds; libjpeg fills the missing part with gray.
        raise InputError(f"{_FRAME} is truncated")
    headers = _headers(frame, syntax)
    for header in headers:
        if (header.rows, header.columns) != (ds.Rows, ds.Columns):
            raise InputError(
                f"{_FRAME} has {header.rows} rows and {header.columns} columns, the header {ds.Rows} and {ds.Columns}"
            )
    header = headers[0]
    if len(set(headers)) > 1 or header.precision == 0:
        raise InputError(f"{_FRAME} has components, or headers, that differ")
    if header.components != ds.SamplesPerPixel:
        raise InputError(
            f"{_FRAME} has {header.components} components, Samples per Pixel (0028,0002) is {ds.SamplesPerPixel}"
        )
    if syntax in _JPEG and 512 * len(frame) < header.rows * header.columns:  # less than a bit for a block of 8 x 8
        raise InputError(f"{_FRAME} is truncated")
    if header.precision > 16:
        raise InputError(f"{_FRAME} has samples of {header.precision} bits; expected at most 16")
    return header


def _is_ended(frame: bytes) -> bool:
    """Whether an End of Image marker follows the Start of Scan marker."""
    return frame.rfind(_END_OF_IMAGE, max(frame.find(_SCAN), 0)) > 0


def _check_runs(frame: bytes, ds: pydicom.Dataset) -> None:
    """Raises `InputError` where run lengths (PS3.5 G.3) would exhaust the memory: two bytes may encode 128."""
    expected = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    if 64 * len(frame) <= 8 * expected + _SMALL:
        return
    size, position = 0, 64
    while position < len(frame):
        header = frame[position]
        size += header + 1 if header < 128 else 257 - header if header > 128 else 0
        position += header + 2 if header < 128 else 2 if header > 128 else 1
        if size > 2 * expected + _SMALL:
            raise InputError("an RLE frame of Pixel Data (7FE0,0010) is longer than the image")


def starts_frame(fragment: bytes, syntax: uid.UID) -> bool:
    """Whether a fragment is the first of a frame (PS3.5 A.4), that is, whether a codestream starts in it."""
    if syntax == uid.RLELossless:  # RLE header of 64 bytes: number of segments, offset of the first (G.5)
        count, first = struct.unpack("<II", fragment[:8].ljust(8, b"\0"))
        return 1 <= count <= 15 and first == 64
    if syntax in JPEG_LIKE:
        return fragment.startswith(b"\xff\xd8\xff")
    return fragment.startswith((_SIZ, b"\0\0\0\x0cjP  "))


def count_images(frame: bytes, syntax: uid.UID) -> int:
    """Returns the number of concatenated JPEG images in data that should be one frame."""
    if syntax not in JPEG_LIKE:
        return 1
    # After Start of Scan, EOI and SOI markers cannot occur within entropy-coded data.
    scan = frame.find(_SCAN)
    return 1 + (len(re.findall(rb"\xff\xd9[\x00\xff]*\xff\xd8\xff", frame[scan:])) if scan > 0 else 0)


def _parse_jpeg(frame: bytes, syntax: uid.UID) -> Codestream | None:
    """Reads up to the start-of-frame marker (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    position, jfif, adobe = 2, False, None
    while position + 9 < len(frame) and frame[position] == 0xFF:
        marker, length = frame[position + 1], int.from_bytes(frame[position + 2 : position + 4], "big")
        content = frame[position + 4 : position + 2 + length]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return _start_of_frame(content, jfif, adobe, syntax)
        jfif |= marker == 0xE0 and content.startswith(b"JFIF\0")
        if marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12:
            adobe = content[11]
        position += 2 + max(length, 2) if marker != 0xFF else 1
    return None


def _start_of_frame(content: bytes, jfif: bool, adobe: int | None, syntax: uid.UID) -> Codestream | None:
    if len(content) < 6 or len(content) < 6 + 3 * content[5]:
        return None
    precision, rows, columns, components = struct.unpack(">BHHB", content[:6])
    names = bytes(content[6 + 3 * i] for i in range(components))
    stated = _color(jfif and syntax not in _LOSSLESS, adobe, names) if components == 3 else None
    assumed = (_color(jfif, adobe, names) or "YBR") if components == 3 else None
    return Codestream(rows, columns, components, precision, None, stated, assumed)


def _color(jfif: bool, adobe: int | None, names: bytes) -> str | None:
    """Returns the color space by libjpeg's rules (`default_decompress_parms`), `None` where libjpeg guesses.

    Lossless JPEG is an exception: encoders write a JFIF marker without converting colors.
    """
    if jfif:
        return "YBR"
    if adobe is not None:
        return "RGB" if adobe == 0 else "YBR"
    return "RGB" if names in (b"RGB", b"rgb") else None


def _parse_jpeg_2000(frame: bytes) -> list[Codestream | None]:
    """Reads the SIZ marker segment, which comes first (ITU-T T.800 A.5.1).

    In a JP2 file other bytes may look like the marker: then all candidates are read.
    """
    positions = [0] if frame[:4] == _SIZ else [match.start() for match in re.finditer(re.escape(_SIZ), frame)]
    return [_size_marker(frame[position : position + 42 + 3 * 255]) for position in positions]


def _size_marker(content: bytes) -> Codestream | None:
    if len(content) < 43:
        return None
    width, height, left, top = struct.unpack(">4I", content[8:24])
    components = int.from_bytes(content[40:42], "big")
    depths = {content[at] for at in range(42, min(42 + 3 * components, len(content)), 3)}
    depth = depths.pop() if len(depths) == 1 else None
    precision, signed = (0, None) if depth is None else ((depth & 0x7F) + 1, bool(depth & 0x80))
    return Codestream(height - top, width - left, components, precision, signed)


def is_irreversible(frame: bytes) -> bool:
    """Whether the COD marker of a JPEG 2000 codestream states the irreversible 9-7 wavelet (ITU-T T.800 A.6.1).

    A codestream with the reversible 5-3 wavelet may be lossy as well, by truncation; its markers do not state this.
    """
    coding = _coding_style(frame)
    return coding is not None and coding[13] == 0


def is_color_transformed(frame: bytes) -> bool:
    """Whether a JPEG 2000 codestream uses a multiple component transformation, which its decoder inverts."""
    coding = _coding_style(frame)
    return coding is not None and coding[8] == 1


def _coding_style(frame: bytes) -> bytes | None:
    """Returns the COD marker segment of the main header (ITU-T T.800 A.6.1), or `None`."""
    position = frame.find(_SIZ) + 2
    tile_or_data = (b"\xff\x90", b"\xff\x93")  # SOT, SOD
    while position >= 2 and position + 14 <= len(frame) and frame[position : position + 2] not in tile_or_data:
        if frame[position : position + 2] == b"\xff\x52":
            return frame[position : position + 14]
        position += 2 + max(int.from_bytes(frame[position + 2 : position + 4], "big"), 2)
    return None


__getattr__ = renamed(__name__, starts="starts_frame", images_in="count_images")
