"""Reads multipart/related (RFC 2046 5.1.1, RFC 2387) while it arrives, one part after the other, in bounded memory.

`email.parser` holds the whole message, and parsers of forms (python-multipart, multipart) skip no preamble or ask for a
Content-Disposition.
"""

import email.message
import email.parser
import re
from collections.abc import Iterator

from tfmisr.gateway.dicomweb.messages import Refused

MAX_PART_HEADER = 8192  # bytes
_MAX_PREAMBLE = 65_536  # bytes
_LONGEST_BOUNDARY = 200  # characters; RFC 2046 5.1.1 allows 70, and Orthanc sends 73


class Part:
    """A part whose data have not been read.

    Attributes:
        headers: Its header.
    """

    def __init__(self, headers: email.message.Message, reader: "_Reader") -> None:
        self.headers, self._reader = headers, reader

    def data(self) -> Iterator[bytes]:
        """Yields its data; once only.

        Raises:
            Refused: The body ends first, or the boundary is in the data: they are not complete.
        """
        return self._reader.until_delimiter()


def parts(body: Iterator[bytes], boundary: str) -> Iterator[Part]:
    """Yields the parts of a body; what is not read of one is skipped when the next is asked for.

    Args:
        body: Pieces of the body.
        boundary: Parameter of its Content-Type.

    Raises:
        Refused: The body is malformed, or ends before its last delimiter (400).
    """
    if not re.fullmatch(rf"[\x20-\x7e]{{1,{_LONGEST_BOUNDARY}}}", boundary) or boundary.endswith(" "):
        raise Refused(400, f"expected a boundary of 1 to {_LONGEST_BOUNDARY} ASCII characters in Content-Type")
    reader = _Reader(body, b"\r\n--" + boundary.encode("ascii"))
    size = 0
    for piece in reader.until_delimiter():
        size += len(piece)
        if size > _MAX_PREAMBLE:
            raise Refused(400, "expected the first boundary at the beginning of the body")
    while not reader.is_last:
        yield Part(reader.header(), reader)
        for _ in reader.until_delimiter():
            pass
    for _ in body:  # epilogue
        pass


class _Reader:
    """A buffer over the pieces of a body.

    Attributes:
        is_last: Whether the last delimiter has been taken.
    """

    def __init__(self, body: Iterator[bytes], delimiter: bytes) -> None:
        self._body, self._delimiter = body, delimiter
        # The first delimiter may be at the very beginning: the line break is added, and no data.
        self._buffer, self._skip = bytearray(b"\r\n"), 2
        self._inside = True  # before the delimiter that is to come
        self.is_last = False

    def _fill(self) -> None:
        piece = next(self._body, None)
        if piece is None:
            raise Refused(400, "the body ends before its last boundary")
        self._buffer += piece

    def until_delimiter(self) -> Iterator[bytes]:
        """Yields what comes before the next delimiter, and takes the delimiter with its line."""
        keep = len(self._delimiter) - 1  # of the end, which may be its beginning
        while self._inside:
            found = self._buffer.find(self._delimiter)
            end = found if found >= 0 else len(self._buffer) - keep
            if end > 0:
                piece = bytes(self._buffer[self._skip : end])
                self._skip = max(self._skip - end, 0)
                del self._buffer[:end]
                yield piece
            if found >= 0:
                del self._buffer[: len(self._delimiter)]
                self._end_line()
                self._inside = False
                return
            self._fill()

    def _end_line(self) -> None:
        """Takes the rest of the delimiter's line; anything else there is data that hold the boundary."""
        while len(self._buffer) < 2:
            self._fill()
        self.is_last = self._buffer.startswith(b"--")
        if not self.is_last and self._line().strip(b" \t"):
            raise Refused(400, "expected the end of the line after a boundary")

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_PART_HEADER:
                raise Refused(400, f"expected a part header of at most {MAX_PART_HEADER} bytes")
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def header(self) -> email.message.Message:
        """Takes the header of a part."""
        lines, size = [], 0
        while line := self._line():
            size += len(line) + 2
            if size > MAX_PART_HEADER:
                raise Refused(400, f"expected a part header of at most {MAX_PART_HEADER} bytes")
            lines.append(line)
        self._inside = True
        # The line break before a delimiter belongs to it: a part without data has one only.
        self._buffer[:0], self._skip = b"\r\n", 2
        return email.parser.BytesHeaderParser().parsebytes(b"\r\n".join(lines))
