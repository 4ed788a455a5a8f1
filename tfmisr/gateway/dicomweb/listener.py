"""The TCP server of DICOMweb: a bounded number of connections, each in a thread of its own, plain or with TLS."""

import contextlib
import logging
import socket
import socketserver
import ssl
import threading
import typing
from collections.abc import Callable

from tfmisr.gateway import peers
from tfmisr.gateway.dicomweb.connection import Connection, Limits
from tfmisr.gateway.dicomweb.messages import Request, Response

_LOG = logging.getLogger("tfmisr.gateway")
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens and serves.

    Args:
        address: IP address and port.
        answer: Returns the response to a request.
        limits: Time-outs.
        connections: Largest number of connections at the same time; more are closed.
        context: For TLS, with authentication of both sides.

    Raises:
        OSError: The port is in use.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        answer: Callable[[Request], Response],
        limits: Limits,
        connections: int,
        context: ssl.SSLContext | None,
    ) -> None:
        self._answer, self._limits, self._context = answer, limits, context
        self._slots = threading.BoundedSemaphore(connections)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, socketserver.BaseRequestHandler)

    def verify_request(self, request: typing.Any, client_address: typing.Any) -> bool:
        """Takes one of the slots; see `socketserver.BaseServer`."""
        if self._slots.acquire(blocking=False):
            return True
        if self._context is None:
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(_BUSY)
        return False

    def process_request(self, request: typing.Any, client_address: typing.Any) -> None:
        """Starts the thread of a connection; see `socketserver.ThreadingMixIn`."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._slots.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: typing.Any, client_address: typing.Any) -> None:
        """Serves a connection, and frees its slot; see `socketserver.ThreadingMixIn`."""
        try:
            self._serve(request, client_address)
        except OSError:  # ssl.SSLError is one
            pass
        except Exception as error:  # noqa: BLE001
            _LOG.error("connection ended by %s", type(error).__name__)  # its text may quote a data set
        finally:
            self._slots.release()
            self.shutdown_request(request)

    def _serve(self, connection: socket.socket, client_address: tuple) -> None:
        connection.settimeout(self._limits.header)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            Connection(connection, peers.Peer(client_address[0]), "http", self._limits, self._answer).serve()
            return
        with self._context.wrap_socket(connection, server_side=True) as secure:
            peer = peers.Peer(client_address[0], peers.certificate_names(secure.getpeercert()))
            Connection(secure, peer, "https", self._limits, self._answer).serve()

    def handle_error(self, request: typing.Any, client_address: typing.Any) -> None:
        """Prints nothing: a connection that ends early is no event of the node."""
