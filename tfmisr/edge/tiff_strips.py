"""Decodes the stored samples of a TIFF page, with one implementation for all compressions.

Strips and tiles are first decompressed to bytes. Uncompressed and Deflate data need no library. For other compressions,
Pillow's libtiff decodes a small in-memory TIFF file with the same strips, declared as 8-bit pixels where the
compression works on bytes, so that neither library interprets the samples. Bit depth, byte order, predictor, planes and
tiles are handled here.
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin
import tifffile
from tifffile import PHOTOMETRIC

from tfmisr.edge.errors import InputError

NONE, OLD_JPEG, JPEG, WEBP = 1, 6, 7, 50001
DEFLATE = (8, 32946)
FAX = (2, 3, 4, 32771)  # CCITT, 1 bit
BYTES = (5, 32773, 34925, 50000)  # LZW, PackBits, LZMA, Zstandard
IMAGE_COMPRESSIONS = (JPEG, WEBP)  # these encode 8-bit pixels, not bytes
PREDICTED = (5, *DEFLATE, 34925, 50000)  # libtiff applies Predictor (317) to these alone
READABLE = (NONE, *DEFLATE, *FAX, *BYTES, *IMAGE_COMPRESSIONS)

# Maps a tag to its field type and values.
_Tags = dict[int, tuple[str, Any]]

_CHUNK_BYTES = 2**25  # bounds the memory in addition to the samples
_TYPES = {"H": 3, "I": 4, "R": 5, "B": 7}  # TIFF field type codes
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def read(page: tifffile.TiffPage) -> np.ndarray:
    """Returns the samples of a supported page; see `tiff_rules.unsupported_reason`.

    Args:
        page: A page of an open file.

    Returns:
        Array of shape (height, width, samples), uint8, int8, uint16 or int16. Samples of less than 8 bits are not
        scaled: 4 bits give 0 to 15. YCbCr is converted to RGB, since its samples may be subsampled.

    Raises:
        InputError: Strips are missing, broken or truncated. The message does not name the file.
    """
    height, width = page.imagelength, page.imagewidth
    samples = np.empty((height, width, page.samplesperpixel), _dtype(page).newbyteorder("="))
    for plane, y, x, block in _blocks(page):
        block = block[: height - y, : width - x]
        samples[y : y + block.shape[0], x : x + block.shape[1], plane] = block
    return samples


def _dtype(page: tifffile.TiffPage) -> np.dtype:
    sign = "i" if page.sampleformat == 2 else "u"
    return np.dtype(f"{page.parent.byteorder}{sign}{2 if page.bitspersample == 16 else 1}")


def _blocks(page: tifffile.TiffPage) -> Iterator[tuple]:
    """Yields for each strip or tile the slice of samples, its top and left position, and its array of samples."""
    rows, columns = _block_shape(page)
    corners = [(y, x) for y in range(0, page.imagelength, rows) for x in range(0, page.imagewidth, columns)]
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    if min(len(page.dataoffsets), len(page.databytecounts)) < planes * len(corners):
        raise InputError("strips or tiles of the TIFF file are missing")
    blocks_per_chunk = max(1, _CHUNK_BYTES // (rows * _row_bytes(page)))
    for plane in range(planes):
        selected = slice(plane, plane + 1) if planes > 1 else slice(None)
        for start in range(0, len(corners), blocks_per_chunk):
            part = corners[start : start + blocks_per_chunk]
            heights = [rows if page.is_tiled else min(rows, page.imagelength - y) for y, _ in part]
            encoded = _encoded(page, plane * len(corners) + start, len(part))
            decoded = _samples(page, _decoded(page, encoded, heights))
            for (y, x), block in zip(part, np.split(decoded, np.cumsum(heights)[:-1]), strict=True):
                yield selected, y, x, block


def _block_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return page.rowsperstrip or page.imagelength, page.imagewidth


def _samples_of_block(page: tifffile.TiffPage) -> int:
    return 1 if page.planarconfig == 2 else page.samplesperpixel


def _row_bytes(page: tifffile.TiffPage) -> int:
    return math.ceil(_block_shape(page)[1] * _samples_of_block(page) * page.bitspersample / 8)


def _encoded(page: tifffile.TiffPage, first: int, count: int) -> list[bytes]:
    blocks = []
    for index in range(first, first + count):
        page.parent.filehandle.seek(page.dataoffsets[index])
        data = page.parent.filehandle.read(page.databytecounts[index])
        if page.compression in FAX and len(data) < page.databytecounts[index]:
            raise InputError("the TIFF file is truncated")  # libtiff would fill the remaining rows
        # Of these compressions only JPEG ignores FillOrder (libtiff's TIFF_NOBITREV).
        blocks.append(data.translate(_REVERSED) if page.fillorder == 2 and page.compression != JPEG else data)
    return blocks


def _decoded(page: tifffile.TiffPage, encoded: list[bytes], heights: list[int]) -> np.ndarray:
    """Returns the bytes of strips or tiles stacked vertically: uint8 of shape (rows, bytes per row)."""
    rows, width, row_bytes = sum(heights), _block_shape(page)[1], _row_bytes(page)
    try:
        if page.compression == JPEG and not all(b"\xff\xd9" in data for data in encoded):
            raise ValueError("no end of image")  # libjpeg would fill the missing part with gray
        if page.photometric == PHOTOMETRIC.YCBCR:
            return _ycbcr(page, encoded, heights)
        if page.compression == NONE or page.compression in DEFLATE:
            sizes = [height * row_bytes for height in heights]
            parts = [_plain_bytes(page, *pair) for pair in zip(encoded, sizes, strict=True)]
            return np.frombuffer(b"".join(parts), np.uint8).reshape(rows, row_bytes)
        if page.compression in BYTES:
            count = next(n for n in (4, 3, 1) if row_bytes % n == 0)  # Pillow limits the number of pixels
            return _by_libtiff(page, encoded, heights, row_bytes // count, count).reshape(rows, row_bytes)
        if page.compression in FAX:
            return np.packbits(_by_libtiff(page, encoded, heights, width, 1, bits=1), axis=1)
        if page.compression == WEBP:
            return np.concatenate([_webp(page, data, height) for data, height in zip(encoded, heights, strict=True)])
        return _by_libtiff(page, encoded, heights, width, _samples_of_block(page)).reshape(rows, -1)
    except PIL.Image.DecompressionBombError as error:
        raise InputError(f"a strip of {rows} rows is too large to decode; save in strips of fewer rows") from error
    except (OSError, ValueError, SyntaxError, zlib.error) as error:
        name = getattr(page.compression, "name", page.compression)
        hint = ", or needs a newer Pillow" if page.compression in (34925, 50000, WEBP) else ""
        raise InputError(f"the TIFF file is broken or truncated ({name} data that cannot be decoded{hint})") from error


def _plain_bytes(page: tifffile.TiffPage, data: bytes, size: int) -> bytes:
    data = data if page.compression == NONE else zlib.decompressobj().decompress(data, size)
    if len(data) < size:
        raise ValueError("too few bytes")
    return data[:size]


def _webp(page: tifffile.TiffPage, data: bytes, height: int) -> np.ndarray:
    # The libtiff in Pillow's wheels is built without WebP; Pillow decodes it itself.
    with PIL.Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        pixels = np.asarray(image.convert("RGBA" if page.samplesperpixel == 4 else "RGB"))
    return pixels[:height, : _block_shape(page)[1]].reshape(height, -1)


def _ycbcr(page: tifffile.TiffPage, encoded: list[bytes], heights: list[int]) -> np.ndarray:
    width, compression, tags = _block_shape(page)[1], page.compression, {}
    if compression == NONE:
        # Pillow does not convert uncompressed YCbCr; libtiff upsamples and converts it.
        encoded, compression = [zlib.compress(data, 0) for data in encoded], DEFLATE[0]
    # YCbCrCoefficients, YCbCrSubSampling, ReferenceBlackWhite
    for code, field_type in ((529, "R"), (530, "H"), (532, "R")):
        if code in page.tags:
            tags[code] = (field_type, page.tags[code].value)
    if page.predictor != 1:
        tags[317] = ("H", [page.predictor])
    pixels = _by_libtiff(page, encoded, heights, width, 3, compression=compression, photometric=6, tags=tags)
    return pixels.reshape(sum(heights), -1)


def _by_libtiff(
    page: tifffile.TiffPage,
    encoded: list[bytes],
    heights: list[int],
    width: int,
    samples: int,
    bits: int = 8,
    compression: int | None = None,
    photometric: int | None = None,
    tags: _Tags | None = None,
) -> np.ndarray:
    """Returns the strips decoded by libtiff: an array of shape (rows, width) or (rows, width, samples)."""
    header = {
        256: ("I", [width]),
        257: ("I", [sum(heights)]),
        258: ("H", [bits] * samples),
        259: ("H", [compression or page.compression]),
        262: ("H", [photometric or {1: 1, 3: 2, 4: 5}[samples]]),
        277: ("H", [samples]),
        278: ("I", [heights[0]]),
        **(tags or {}),
    }
    # JPEGTables, T4Options, T6Options
    for code, field_type in ((347, "B"), (292, "I"), (293, "I")):
        if code in page.tags:
            header[code] = (field_type, page.tags[code].value if field_type == "B" else [page.tags[code].value])
    with PIL.TiffImagePlugin.TiffImageFile(io.BytesIO(_file(header, encoded))) as image:
        return np.asarray(image)


def _file(tags: _Tags, strips: list[bytes]) -> bytes:
    """Returns a little-endian TIFF file of one page with the strips."""
    counts = [len(data) for data in strips]
    tags = {**tags, 273: ("I", np.cumsum([8, *counts[:-1]])), 279: ("I", counts)}
    entries, values = [], b""
    start = 8 + sum(counts)  # offset of the image file directory
    for code, (field_type, numbers) in sorted(tags.items()):
        data = (
            bytes(numbers) if field_type == "B" else np.asarray(numbers, f"<u{2 if field_type == 'H' else 4}").tobytes()
        )
        count = len(numbers) // 2 if field_type == "R" else len(numbers)
        field = data.ljust(4, b"\0")
        if len(data) > 4:
            field = struct.pack("<I", start + 2 + 12 * len(tags) + 4 + len(values))
            values += data + b"\0" * (len(data) % 2)
        entries.append(struct.pack("<2HI", code, _TYPES[field_type], count) + field)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"".join([struct.pack("<2sHI", b"II", 42, start), *strips, directory, values])


def _samples(page: tifffile.TiffPage, decoded: np.ndarray) -> np.ndarray:
    """Returns the samples of shape (rows, width, samples) from the bytes of the rows."""
    rows, width, count = len(decoded), _block_shape(page)[1], _samples_of_block(page)
    bits, dtype = page.bitspersample, _dtype(page)
    if bits < 8:
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        decoded = ((decoded[..., np.newaxis] >> shifts) & np.uint8(2**bits - 1)).reshape(rows, -1)
    samples = np.ascontiguousarray(decoded[:, : width * count * dtype.itemsize]).view(dtype)
    samples = samples.reshape(rows, width, count).astype(dtype.newbyteorder("="), copy=False)
    if page.predictor == 2 and page.photometric != PHOTOMETRIC.YCBCR:
        samples = np.cumsum(samples, axis=1, dtype=samples.dtype)
    return samples
