"""One HTTP/1.1 connection (RFC 9112, parsed by h11): bounded headers, and time-outs for a slow or silent peer."""

import contextlib
import dataclasses
import http
import re
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterator

import h11

from tfmisr.gateway.dicomweb.messages import Refused, Request, Response
from tfmisr.gateway.peers import Peer

CHUNK = 1 << 18  # bytes
MAX_HEADER = 16_384  # bytes of the request line and all header fields
IDLE_SECONDS = 5.0  # between two requests of a connection
SLOWEST = 1000  # bytes of a body in a second, on average over the time-out
LINGER_SECONDS, _LINGER_BYTES = 2.0, 1 << 24  # of a body that nobody reads, so that its sender sees the response
_METHODS = ("GET", "POST")


@dataclasses.dataclass(frozen=True)
class Limits:
    """Time-outs in seconds: `header` for a whole request header, `silence` for the next bytes of a body or response."""

    header: float
    silence: float


class Connection:
    """Serves the requests of one connection, one after the other.

    Args:
        connection: Its socket, after the TLS handshake.
        peer: The other side.
        scheme: `http` or `https`.
        limits: Time-outs.
        answer: Returns the response to a request.
    """

    def __init__(
        self,
        connection: socket.socket,
        peer: Peer,
        scheme: str,
        limits: Limits,
        answer: Callable[[Request], Response],
    ) -> None:
        self._socket, self._peer, self._scheme, self._limits, self._answer = connection, peer, scheme, limits, answer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        self._deadline: float | None = None  # of a header; `None` in a body
        self._waited, self._got = 0.0, 0  # seconds and bytes, since the rate of the body was looked at

    def serve(self) -> None:
        """Answers until the peer closes, fails or is too slow; a broken connection is no error."""
        with contextlib.suppress(OSError):
            self._deadline = time.monotonic() + self._limits.header
            while self._serve_one():
                self._http.start_next_cycle()
                self._deadline = time.monotonic() + min(self._limits.header, IDLE_SECONDS)
            self._linger()

    def _serve_one(self) -> bool:
        """Answers a request; false if the connection is to be closed."""
        try:
            event = self._event()
            if not isinstance(event, h11.Request):
                return False
            if not any(name in (b"content-length", b"transfer-encoding") for name, _ in event.headers):
                self._event()  # the end of a message without a body
            self._deadline, self._waited, self._got = None, 0.0, 0
            self._send(event.method.decode("ascii"), self._respond(event))
        except h11.RemoteProtocolError as error:
            self._fail(error.error_status_hint or 400, "malformed request")
            return False
        except TimeoutError:
            self._fail(408, "no request in time")
            return False
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _respond(self, event: h11.Request) -> Response:
        try:
            return self._answer(self._request(event))
        except Refused as refusal:
            return refusal.response()

    def _request(self, event: h11.Request) -> Request:
        if len(event.target) + sum(len(name) + len(value) for name, value in event.headers) > MAX_HEADER:
            raise Refused(431, f"expected a header of at most {MAX_HEADER} bytes")  # h11 bounds what is incomplete
        method = event.method.decode("ascii")
        if method not in _METHODS:
            raise Refused(405, f"expected {' or '.join(_METHODS)}", ("Allow", ", ".join(_METHODS)))
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        if {"content-length", "transfer-encoding"} <= headers.keys():  # RFC 9112 6.1: request smuggling
            raise Refused(400, "expected Content-Length or Transfer-Encoding, not both")
        try:
            target = urllib.parse.urlsplit(event.target.decode("latin-1"))
            path = urllib.parse.unquote(target.path, errors="strict")
            query = urllib.parse.parse_qsl(target.query, True, errors="strict", max_num_fields=100)
        except ValueError as error:  # UnicodeDecodeError is one
            raise Refused(400, "expected a URL with path and query in UTF-8, with at most 100 parameters") from error
        base = f"{self._scheme}://{_host(headers, self._socket)}"
        return Request(method, path, tuple(query), headers, self._peer, self._body(), base)

    def _body(self) -> Iterator[bytes]:
        while self._http.their_state is h11.SEND_BODY:
            event = self._event()
            if isinstance(event, h11.EndOfMessage):
                return
            if not isinstance(event, h11.Data):
                raise ConnectionError("the connection ended in a body")
            yield bytes(event.data)

    def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
            self._http.receive_data(self._receive())
        return event

    def _receive(self) -> bytes:
        """Returns the next bytes.

        Raises:
            TimeoutError: They do not come in time, or the whole comes too slowly.
        """
        start = time.monotonic()
        left = self._limits.silence if self._deadline is None else self._deadline - start
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        data = self._socket.recv(CHUNK)
        self._waited, self._got = self._waited + time.monotonic() - start, self._got + len(data)
        if self._deadline is None and self._waited > self._limits.silence:
            if self._got < SLOWEST * self._limits.silence:
                raise TimeoutError
            self._waited, self._got = 0.0, 0
        return data

    def _send(self, method: str, response: Response) -> None:
        length = len(response.body) if isinstance(response.body, bytes) else response.length
        headers = list(response.headers)
        headers += [("Content-Type", response.content_type)] if response.content_type else []
        headers += [] if length is None or response.status == 204 else [("Content-Length", str(length))]
        if self._http.their_state is not h11.DONE:
            headers.append(("Connection", "close"))
        head = h11.Response(
            status_code=response.status, headers=headers, reason=http.HTTPStatus(response.status).phrase.encode()
        )
        parts = [response.body] if isinstance(response.body, bytes) else response.body
        self._write(self._http.send(head))
        # An error in a part closes the connection without the end of the message: nobody takes it for complete.
        for part in parts if method != "HEAD" else ():
            if part:
                self._write(self._http.send(h11.Data(data=part)))
        self._write(self._http.send(h11.EndOfMessage()))

    def _write(self, data: bytes | None) -> None:
        if data:
            self._socket.settimeout(self._limits.silence)
            self._socket.sendall(data)

    def _fail(self, status: int, text: str) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with contextlib.suppress(h11.LocalProtocolError):
                self._send("GET", Refused(status, text).response())

    def _linger(self) -> None:
        """Reads what the peer still sends: closing at once would reset the connection, and the response be lost."""
        self._socket.shutdown(socket.SHUT_WR)
        end, left = time.monotonic() + LINGER_SECONDS, _LINGER_BYTES
        while left > 0 and (seconds := end - time.monotonic()) > 0:
            self._socket.settimeout(seconds)
            data = self._socket.recv(CHUNK)
            if not data:
                return
            left -= len(data)


def _host(headers: dict[str, str], connection: socket.socket) -> str:
    """Returns host and port for links to the peer itself: what it asked for, where that is harmless."""
    address, port = connection.getsockname()[:2]
    own = f"[{address}]" if ":" in address else address
    host = headers.get("host", "")
    is_harmless = re.fullmatch(r"[\w.:\[\]-]{1,255}", host, re.ASCII)
    return f"{own}:{port}" if not is_harmless or host == own else host  # some clients leave the port out
