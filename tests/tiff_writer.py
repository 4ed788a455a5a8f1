"""A TIFF file of any layout, made by hand: the tests' own writer, independent of the readers."""

import io
import lzma
import struct
import zlib

import numpy as np
import PIL.Image
import tifffile

_BY_PILLOW = {"lzw": "tiff_lzw", "packbits": "packbits", "zstd": "zstd", "g3": "group3", "g4": "group4"}
NUMBERS = {
    "none": 1,
    "rle": 2,
    "g3": 3,
    "g4": 4,
    "lzw": 5,
    "jpeg": 7,
    "zip": 8,
    "old zip": 32946,
    "packbits": 32773,
    "lzma": 34925,
    "zstd": 50000,
    "webp": 50001,
}
_CODES = {"B": (7, 1), "H": (3, 2), "I": (4, 4), "R": (5, 4), "Q": (16, 8)}  # TIFF type, bytes of an item


def write(path, *pages):
    """Writes pages that `page` has made, all of one byte order and size of offsets."""
    order, big = pages[0]["order"], pages[0]["big"]
    data = bytearray(struct.pack(f"{order}2sH", b"II" if order == "<" else b"MM", 43 if big else 42))
    data += struct.pack(f"{order}2HQ", 8, 0, 0) if big else bytes(4)
    link = len(data) - (8 if big else 4)
    for tags, strips in ((dict(p["tags"]), p["strips"]) for p in pages):
        places = []
        for strip in strips:
            places.append(len(data))
            data += strip
        offsets, counts = (324, 325) if 322 in tags else (273, 279)
        tags |= {offsets: ("I", places), counts: ("I", [len(s) for s in strips])}
        data += bytes(len(data) % 2)
        struct.pack_into(f"{order}{'Q' if big else 'I'}", data, link, len(data))
        link = _directory(data, tags, order, big)
    path.write_bytes(data)


def _directory(data, tags, order, big):
    entry, inline = (20, 8) if big else (12, 4)
    start = len(data)
    data += struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + bytes(entry * len(tags) + inline)
    for number, (code, (kind, values)) in enumerate(sorted(tags.items())):
        number = start + (8 if big else 2) + entry * number
        tiff_type, size = _CODES[kind]
        content = np.asarray(values, f"{order}u{size}").tobytes()
        count = len(values) // (2 if kind == "R" else 1)
        struct.pack_into(f"{order}2H{'Q' if big else 'I'}", data, number, code, tiff_type, count)
        if len(content) > inline:
            struct.pack_into(f"{order}{'Q' if big else 'I'}", data, number + entry - inline, len(data))
            data += content + bytes(len(content) % 2)
        else:
            data[number + entry - inline : number + entry - inline + len(content)] = content
    return start + (8 if big else 2) + entry * len(tags)


def page(
    samples,
    bits,
    photometric,
    compression="none",
    order="<",
    big=False,
    planar=False,
    tile=None,
    rows=None,
    predictor=1,
    fill_order=1,
    **tags,
):
    """Returns a page of the samples, an integer array of shape (height, width, samples).

    Args:
        bits: Of a sample.
        photometric: Photometric Interpretation (262).
        compression: One of `NUMBERS`.
        order: "<" or ">".
        big: BigTIFF.
        planar: One plane for each sample.
        tile: Height and width of tiles, or `None` for strips of `rows` rows.
        tags: More of them, "t338=('H', [1])".
    """
    height, width, count = samples.shape
    rows = rows or height
    found = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * count),
        259: ("H", [NUMBERS[compression]]),
        262: ("H", [photometric]),
        277: ("H", [count]),
        284: ("H", [2 if planar else 1]),
        339: ("H", [2 if samples.dtype.kind == "i" else 1] * count),
    }
    found |= {322: ("I", [tile[1]]), 323: ("I", [tile[0]])} if tile else {278: ("I", [rows])}
    found |= {317: ("H", [predictor])} if predictor != 1 else {}
    found |= {266: ("H", [fill_order])} if fill_order != 1 else {}
    planes = [samples[..., i : i + 1] for i in range(count)] if planar else [samples]
    strips = [
        _encoded(part, bits, compression, order, predictor) for plane in planes for part in _parts(plane, tile, rows)
    ]
    if fill_order == 2:
        strips = [np.packbits(np.unpackbits(np.frombuffer(s, "u1")), bitorder="little").tobytes() for s in strips]
    found |= {int(code[1:]): value for code, value in tags.items()}
    return {"tags": found, "strips": strips, "order": order, "big": big}


def _parts(plane, tile, rows):
    if tile is None:
        return [plane[y : y + rows] for y in range(0, len(plane), rows)]
    padded = np.pad(plane, [(0, -plane.shape[0] % tile[0]), (0, -plane.shape[1] % tile[1]), (0, 0)], mode="edge")
    return [
        padded[y : y + tile[0], x : x + tile[1]]
        for y in range(0, padded.shape[0], tile[0])
        for x in range(0, padded.shape[1], tile[1])
    ]


def _encoded(part, bits, compression, order, predictor):
    if predictor == 2:
        part = np.diff(part, axis=1, prepend=part[:, :1] * 0)
    if compression == "webp":
        return _saved(part.astype(np.uint8), "WEBP", lossless=True, exact=True)
    if compression == "jpeg":
        return _saved(part.astype(np.uint8), "JPEG", quality=90, keep_rgb=True)
    if compression in ("g3", "g4"):
        return _strip(PIL.Image.fromarray(part[..., 0].astype(bool)), compression)
    return compressed(packed(part, bits, order), compression)


def compressed(rows, compression):
    """Returns a strip of the rows, uint8 of shape (height, bytes of a row)."""
    plain = rows.tobytes()
    if compression in _BY_PILLOW:
        return _strip(PIL.Image.fromarray(rows), compression)
    return {"none": bytes, "zip": zlib.compress, "old zip": zlib.compress, "lzma": lzma.compress}[compression](plain)


def packed(samples, bits, order):
    """Returns the rows of an uncompressed strip: uint8 of shape (height, bytes of a row)."""
    flat = samples.reshape(len(samples), -1)
    if bits == 16:
        return np.ascontiguousarray(flat, f"{order}{flat.dtype.kind}2").view(np.uint8)
    if bits == 8:
        return flat.astype(f"{flat.dtype.kind}1").view(np.uint8)
    binary = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(binary.reshape(len(flat), -1).astype(np.uint8), axis=1)


def knows(compression):
    """Returns whether this Pillow has the compression, where it is Pillow that the file is written with."""
    try:
        return compression not in _BY_PILLOW or bool(compressed(np.zeros((4, 4), np.uint8), compression))
    except Exception:  # noqa: BLE001
        return False


def _saved(pixels, kind, **options):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, kind, **options)
    return file.getvalue()


def _strip(image, compression):
    file = io.BytesIO()
    image.save(file, "TIFF", compression=_BY_PILLOW[compression], tiffinfo={278: image.height})
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff:
        (offset,), (count,) = tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts
    return file.getvalue()[offset:][:count]
