"""Decodes PNG and JPEG files: 8 and 16 bits, gray and RGB."""

import contextlib
import os
import struct
from collections.abc import Iterator

import numpy as np
import PIL.Image
import png

from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import MAX_PIXELS, apply_exif_orientation, drop_alpha, over_black

_GRAY, _SINGLE_COLOR = (0, 4), (0, 2)  # PNG color types without color; those whose tRNS chunk holds a single color
# Markers of JPEG's frame headers: SOF0 to SOF15 without DHT, JPG and DAC, and SOF55.
JPEG_LS = 0xF7
_FRAMES = {*range(0xC0, 0xD0), JPEG_LS} - {0xC4, 0xC8, 0xCC}


def read_png(path: str | os.PathLike) -> tuple[np.ndarray, str | None]:
    """Returns pixels, uint8 or uint16 of shape (height, width, 1 or 3), and the text "max_val".

    Alpha and a transparent color (tRNS) are composited over black where they vary. Orientation (eXIf) is applied.

    Raises:
        InputError: Too many pixels, or an animation.
    """
    _, _, channels, bits = png_header(path)
    chunks = dict(_chunks(path))
    # Pillow reduces 16-bit RGB and 16-bit gray with alpha to 8 bits.
    pixels = drop_alpha(_by_pypng(path) if bits == 16 else _by_pillow(path))
    color_type, depth = chunks[b"IHDR"][9], chunks[b"IHDR"][8]
    if b"tRNS" in chunks and color_type in _SINGLE_COLOR:
        pixels = _over_black_by_key(pixels, chunks[b"tRNS"], channels, depth)
    note = chunks.get(b"max_val")
    return apply_exif_orientation(pixels, _orientation(chunks.get(b"eXIf"))), None if note is None else note.decode(
        "latin-1"
    )


def png_header(path: str | os.PathLike) -> tuple[int, int, int, int]:
    """Returns height, width, channels and bits (8 or 16) of a PNG."""
    with open(path, "rb") as file:
        width, height, depth, color_type = struct.unpack(">2I2B", file.read(26)[16:])
    _check_size(path, height, width)
    return height, width, 1 if color_type in _GRAY else 3, 16 if depth == 16 else 8


def png_note(path: str | os.PathLike) -> str | None:
    """Returns the text chunk "max_val" that precedes the pixels of a PNG, without reading these."""
    with open(path, "rb") as file:
        for chunk_type, data in png.Reader(file=file).chunks():
            if chunk_type == b"tEXt" and data.startswith(b"max_val\0"):
                return data[8:].decode("latin-1")
            if chunk_type == b"IDAT":
                break
    return None


def read_jpeg(path: str | os.PathLike) -> np.ndarray:
    """Returns uint8 pixels of shape (height, width, 1 or 3); Orientation (EXIF) is applied.

    Raises:
        InputError: Too many pixels, JPEG-LS, or another depth than 8 bits.
    """
    jpeg_header(path)
    with PIL.Image.open(path) as image:
        orientation = image.getexif().get(0x0112)
    return apply_exif_orientation(drop_alpha(_by_pillow(path)), orientation)


def jpeg_header(path: str | os.PathLike) -> tuple[int, int, int, int]:
    """Returns height, width, channels and bits (8) of a JPEG."""
    with open(path, "rb") as file:
        frame = _jpeg_frame(file.read(2**20))
    if frame and (frame[0] == JPEG_LS or frame[1] != 8):
        codec = "JPEG-LS" if frame[0] == JPEG_LS else "JPEG"
        raise InputError(f"{path}: expected JPEG of 8 bits; convert it to PNG. Received: {codec} of {frame[1]} bits")
    with PIL.Image.open(path) as image:
        _check_size(path, image.height, image.width)
        return image.height, image.width, 1 if image.mode == "L" else 3, 8


def _check_size(path: str | os.PathLike, height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise InputError(f"{path}: {width} x {height} pixels are more than {MAX_PIXELS}")


def _jpeg_frame(data: bytes) -> tuple[int, int] | None:
    """Returns the marker of the frame header (SOF) and the bits of a sample."""
    position = 2
    while position + 5 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _FRAMES:
            return marker, data[position + 4]
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _chunks(path: str | os.PathLike) -> Iterator[tuple[bytes, bytes]]:
    decodable = False
    with open(path, "rb") as file:
        chunks = png.Reader(file=file).chunks()
        while True:
            try:
                chunk_type, data = next(chunks, (None, b""))
            except Exception:
                # After the pixels the file may be truncated; Pillow accepts this too.
                if decodable:
                    return
                raise
            if chunk_type is None:
                return
            decodable |= chunk_type == b"IDAT"
            if chunk_type == b"acTL" and (count := int.from_bytes(data[:4], "big")) > 1:
                raise InputError(f"{path}: an animated PNG of {count} frames; save each frame as a separate file")
            if chunk_type == b"tEXt" and data.startswith(b"max_val\0"):
                yield b"max_val", data[8:]
            elif chunk_type in (b"IHDR", b"tRNS", b"eXIf"):
                yield chunk_type, data


def _orientation(exif: bytes | None) -> int | None:
    tags = PIL.Image.Exif()
    # A broken eXIf chunk is ignored.
    with contextlib.suppress(SyntaxError, ValueError, struct.error):
        if exif:
            tags.load(b"Exif\0\0" + exif)
    return tags.get(0x0112)


def _over_black_by_key(pixels: np.ndarray, key: bytes, channels: int, depth: int) -> np.ndarray:
    """Returns the pixels with those of the transparent color set to black, unless all pixels or none have it."""
    colors = np.frombuffer(key, ">u2", channels).astype(pixels.dtype)
    if depth < 8:
        colors *= np.uint8(255 // (2**depth - 1))
    clear = (pixels == colors).all(axis=2, keepdims=True)
    alpha = np.where(clear, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    return pixels if clear.all() or not clear.any() else over_black(pixels, alpha)


def _by_pypng(path: str | os.PathLike) -> np.ndarray:
    with open(path, "rb") as file:
        width, height, rows, info = png.Reader(file=file).read()
        rows = np.array([np.frombuffer(row, np.uint16) for row in rows])
    return rows.reshape(height, width, info["planes"])


def _by_pillow(path: str | os.PathLike) -> np.ndarray:
    with PIL.Image.open(path) as image:
        if image.mode in ("P", "PA"):
            clear = image.mode == "PA" or "transparency" in image.info
            image = image.convert("RGBA" if clear else "RGB")
        elif image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
            image = image.convert("RGB")
        pixels = np.asarray(image)
    return pixels * np.uint8(255) if pixels.dtype == bool else pixels
