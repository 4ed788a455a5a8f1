"""Bounds on the connections of the study server: number in all and per address, time for a request, lines of log.

A browser opens at most six connections to a server. Without bounds, a few hundred half-open connections use up the
file descriptors of the process, and asyncio then logs a traceback for each place in the listener's queue.
"""

import asyncio
import errno
import logging
import socket
import time
import typing

from uvicorn.protocols.http.h11_impl import H11Protocol

from tfmisr.edge.errors import InputError

MAX_CONNECTIONS = 512
MAX_PER_ADDRESS = 128  # a department may share one address
SECONDS_FOR_A_REQUEST = 20.0  # headers and body
_RESERVED_FILES = 32  # descriptors for images, the database and libraries
_PAUSE = 0.05  # seconds, where the system has no descriptor left
_LOG_LINES, _LOG_SECONDS = 10, 60.0


class Listener(socket.socket):
    """A listening TCP socket that closes connections beyond the limits as soon as it has accepted them.

    asyncio switches Nagle's algorithm off for sockets that name their protocol; with it every request on a kept
    connection waits 40 ms for a delayed acknowledgement (RFC 896, RFC 1122 4.2.3.2).

    Args:
        address: Address and port; port 0 is any free one.
        max_connections: Most connections at a time; by default as many as file descriptors allow.

    Raises:
        OSError: The address is not available.
    """

    def __init__(self, address: tuple[str, int], max_connections: int | None = None):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.max_connections = max_connections or _affordable()
        self._accepted: list[tuple[socket.socket, str]] = []
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind(address)
            self.listen()  # connections queue until the server has started
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, typing.Any]:
        """Returns the next connection, as `socket.accept`.

        Raises:
            BlockingIOError: None is waiting, or the next one was closed because of the limits.
        """
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            time.sleep(_PAUSE)
            raise BlockingIOError from error
        self._accepted = [(other, host) for other, host in self._accepted if other.fileno() != -1]
        same = sum(host == address[0] for _, host in self._accepted)
        if len(self._accepted) >= self.max_connections or same >= min(MAX_PER_ADDRESS, self.max_connections):
            connection.close()
            raise BlockingIOError
        self._accepted.append((connection, address[0]))
        return connection, address


def _affordable() -> int:
    """Returns how many connections the limit of file descriptors allows.

    Raises:
        InputError: Too few for a browser.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return MAX_CONNECTIONS
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    if limit < 2 * _RESERVED_FILES:
        raise InputError(f"the server needs at least {2 * _RESERVED_FILES} file descriptors (ulimit -n), found {limit}")
    return min(MAX_CONNECTIONS, limit - _RESERVED_FILES)


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with a time-out for each request, from its first byte or the connection's start."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._start()
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._deadline = self.loop.call_later(SECONDS_FOR_A_REQUEST, self.transport.abort)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class LogLimit(logging.Filter):
    """Passes a number of lines of log a minute, and then one that says how many were left out.

    Args:
        lines: Lines in `seconds`.
        seconds: See above.
    """

    def __init__(self, lines: int = _LOG_LINES, seconds: float = _LOG_SECONDS):
        super().__init__()
        self.lines, self.seconds = lines, seconds
        self.since, self.passed, self.dropped = time.monotonic(), 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        now = time.monotonic()
        if now - self.since > self.seconds:
            if self.dropped:
                record.msg = f"{record.getMessage()} ({self.dropped:,} lines of log left out before it)"
                record.args = ()
            self.since, self.passed, self.dropped = now, 0, 0
        self.passed += 1
        if self.passed > self.lines:
            self.dropped += 1
            return False
        return True


def limit_logs() -> None:
    """Limits the lines that the server and asyncio log."""
    for name in ("uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, LogLimit) for each in logger.filters):
            logger.addFilter(LogLimit())
