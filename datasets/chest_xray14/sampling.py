"""Samples of the contents of large files, for a fingerprint that needs no second reading of 45 GB."""

import os
from collections.abc import Iterator, Sequence

SAMPLED = 1024  # images, or places in an uncompressed tarball
_TAIL, _BLOCK = 64, 4096  # bytes


def samples(images: Sequence[str], tarballs: Sequence[str]) -> Iterator[bytes]:
    """Yields bytes that change when the contents change: of every tarball and of `SAMPLED` images, evenly spaced.

    Where a file ends in a checksum of all before it, its end suffices: a PNG's Adler-32 of the pixels (RFC 1950) and
    CRC-32, gzip's CRC-32 (RFC 1952). An uncompressed tarball is read at `SAMPLED` places.

    Args:
        images: Paths of PNG files, in an order that does not depend on their folders.
        tarballs: Paths of `.tar`, `.tar.gz` or `.tgz` files, in such an order.
    """
    for i in sorted({i * len(images) // SAMPLED for i in range(SAMPLED)}) if images else ():
        yield _end(images[i])
    for path in tarballs:
        yield from _places(path) if path.endswith(".tar") else (_end(path),)


def _end(path: str) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _TAIL, 0))
        return file.read(_TAIL)


def _places(path: str) -> Iterator[bytes]:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        for i in range(min(SAMPLED, -(-size // _BLOCK))):
            file.seek(size * i // SAMPLED if size > SAMPLED * _BLOCK else i * _BLOCK)
            yield file.read(_BLOCK)
