"""Requests and responses of HTTP, independent of their transport, and media types (PS3.18 8.7, RFC 9110 12.5.1)."""

import dataclasses
import email.message
import re
from collections.abc import Iterable, Iterator

from tfmisr.gateway.peers import Peer

DICOM, MULTIPART = "application/dicom", "multipart/related"
JSON, XML = "application/dicom+json", "application/dicom+xml"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request whose body has not been read.

    Attributes:
        method: Such as `GET`.
        path: Path, decoded.
        query: Names and values of the query, decoded.
        headers: Values by name in lower case; those of repeated names with a comma.
        peer: Who sent it.
        body: Yields the body.
        base: Scheme, host and port as the peer sees them, such as `http://127.0.0.1:8080`.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    peer: Peer
    body: Iterator[bytes]
    base: str


@dataclasses.dataclass(frozen=True)
class Response:
    """A response.

    Attributes:
        status: Status code.
        content_type: Content-Type; empty without a body.
        body: Body, at once or in pieces.
        length: Bytes of a body in pieces, where they are known.
        headers: More header fields.
    """

    status: int
    content_type: str = ""
    body: bytes | Iterable[bytes] = b""
    length: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """A request that is refused.

    Args:
        status: Status code.
        text: Reason, without patient data.
        headers: More header fields.
    """

    def __init__(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers

    def response(self) -> Response:
        """Returns the response."""
        return Response(self.status, "text/plain; charset=utf-8", f"{self.text}\n".encode(), headers=self.headers)


@dataclasses.dataclass(frozen=True)
class MediaType:
    """A media type: its name in lower case, and its parameters by name in lower case."""

    name: str
    parameters: dict[str, str]


def media_type(text: str) -> MediaType:
    """Parses a media type with parameters (RFC 9110 8.3.1)."""
    message = email.message.Message()
    message["Content-Type"] = text
    name, *rest = [(key.lower(), value) for key, value in message.get_params(failobj=[], unquote=True)] or [("", "")]
    return MediaType(name[0].strip(), {key: str(value) for key, value in rest})


def accepted(request: Request) -> list[MediaType]:
    """Returns the media types that a request accepts: those of the query, else of its header (PS3.18 8.3.3.1)."""
    text = ",".join(value for name, value in request.query if name == "accept") or request.headers.get("accept", "")
    found = [media_type(part) for part in re.findall(r'(?:[^,"]|"[^"]*")+', text) if part.strip()]
    return [each for each in found if not _is_zero(each.parameters.get("q", "1"))] or [MediaType("*/*", {})]


def _is_zero(quality: str) -> bool:
    return bool(re.fullmatch(r"\s*0(\.0*)?\s*", quality))


def choose(request: Request, *offered: str) -> str:
    """Returns the first of the offered media types that a request accepts.

    Raises:
        Refused: None is (406).
    """
    names = {each.name for each in accepted(request)}
    for name in offered:
        if names & {name, f"{name.partition('/')[0]}/*", "*/*"} or (name == JSON and "application/json" in names):
            return name
    raise Refused(406, f"offered here: {', '.join(offered)}")
