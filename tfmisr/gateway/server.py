"""The TCP server of the receiver: a silent, slow or broken peer never blocks another one."""

import contextlib
import selectors
import socket
import ssl
import threading
import time
import typing

from pynetdicom import evt
from pynetdicom.transport import ThreadedAssociationServer

LONGEST_PDU = 2**20  # bytes; 128 presentation contexts of 50 Transfer Syntaxes are 0.2 MB, and data PDUs are MAX_PDU
MOST_WAITING = 128  # connections; a thread each, and two more once there are data
_ASSOCIATE = 1  # type of the PDU A-ASSOCIATE-RQ (PS3.8 9.3.2)


class Waiting:
    """Connections that have no association yet: in a TLS handshake, before their request, or rejected.

    They cost no slot of `max_associations`. Each is closed after a time, however it trickles, and where too many wait
    the oldest is: a caller that sends its request at once waits for milliseconds, so a flood of silent connections does
    not keep it out.

    Args:
        seconds: Longest time that a connection may wait.
        most: Largest number of them.
    """

    def __init__(self, seconds: float, most: int = MOST_WAITING) -> None:
        self._seconds, self._most = seconds, most
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}  # in order of time

    def add(self, connection: socket.socket) -> None:
        """Adds a new connection, and closes the oldest where there are too many."""
        with self._lock:
            self._since[connection] = time.monotonic()
            oldest = next(iter(self._since)) if len(self._since) > self._most else None
        if oldest is not None:
            self._close(oldest)

    def replace(self, connection: socket.socket, secure: socket.socket) -> None:
        """Puts a connection with TLS in the place of its own plain one."""
        with self._lock:
            self._since = {secure if each is connection else each: since for each, since in self._since.items()}

    def remove(self, connection: socket.socket | None) -> None:
        """Forgets a connection that has got its association, or has ended."""
        with self._lock:
            self._since.pop(connection, None)

    def __contains__(self, connection: object) -> bool:
        with self._lock:
            return connection in self._since

    def close_old(self) -> None:
        """Closes the connections that have waited for too long."""
        limit = time.monotonic() - self._seconds
        with self._lock:
            old = [each for each, since in self._since.items() if since < limit]
        for each in old:
            self._close(each)

    def _close(self, connection: socket.socket) -> None:
        """Ends both directions; the connection's own thread reads the end and closes it."""
        self.remove(connection)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # that of TLS would take the state from a handshake


def guard(event: evt.Event) -> None:
    """Bounds what a caller costs before it is known who it is, and how long one PDU may take.

    A connection that announces a longer PDU is closed: pynetdicom would hold all of it, up to 4 GB. One that ends
    before its request, as that of a port scanner or a load balancer, frees its threads at once: pynetdicom would wait
    for the request until `acse_timeout`. A PDU that has not come within `network_timeout` ends its connection; the
    time-out of the socket begins again with every byte.

    Args:
        event: `EVT_CONN_OPEN` of the receiver.
    """
    association = event.assoc
    connection = association.dul.socket
    parts: list[bytearray] = []  # the beginning of the first PDU, and its rest

    def guarded(count: int) -> bytearray:
        content = bytearray()
        try:
            if count > LONGEST_PDU:
                raise OSError("a PDU is too long")
            content = _receive(connection.socket, count, association.network_timeout)
            return content
        finally:
            requested = len(parts) == 2 and parts[0][0] == _ASSOCIATE
            if len(content) < count and not requested:
                association.dul.to_user_queue.put(None)  # what ends the wait at the time-out
                association._server.waiting.remove(connection.socket)
            elif len(parts) < 2:
                parts.append(content)

    connection.recv = guarded


def _receive(connection: socket.socket, count: int, seconds: float) -> bytearray:
    """Returns as many bytes, or what came before the end of the connection.

    Raises:
        OSError: They did not come in time.
    """
    content, received = bytearray(count), 0
    end = time.monotonic() + seconds
    with memoryview(content) as view:
        while received < count:
            if time.monotonic() > end:
                raise TimeoutError("a PDU takes too long")
            size = connection.recv_into(view[received:])
            if not size:
                break
            received += size
    del content[received:]
    return content


class Server(ThreadedAssociationServer):
    """pynetdicom's server with four differences.

    Connections without an association are bounded in number and time (`Waiting`). The TLS handshake runs in the
    connection's own thread, with a time-out: in the accepting thread a client that connects and says nothing would lock
    out all others. Sockets have a time-out, which ends a peer that stops in the middle of a PDU. Nagle's algorithm is
    off: with delayed acknowledgments it costs 40 ms for each object.

    Attributes:
        waiting: Connections without an association.
    """

    daemon_threads = True  # a handshake under way does not delay the end
    request_queue_size = 128

    def __init__(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting = Waiting(self.ae.acse_timeout)

    def get_request(self) -> tuple[socket.socket, typing.Any]:
        """Accepts a connection; see `socketserver.BaseServer`."""
        client, address = self.socket.accept()
        client.settimeout(self.ae.network_timeout)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting.add(client)
        return client, address

    def service_actions(self) -> None:
        """Called by the loop of the accepting thread, ten times a second."""
        super().service_actions()
        self.waiting.close_old()

    def process_request_thread(self, request: typing.Any, client_address: typing.Any) -> None:
        """Makes the handshake, then an association once there are data; see `socketserver.ThreadingMixIn`."""
        if self.ssl_context:
            plain = request
            try:
                request = self.ssl_context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
                self.waiting.replace(plain, request)
                request.settimeout(self.ae.acse_timeout)
                request.do_handshake()
                request.settimeout(self.ae.network_timeout)
            except (OSError, ValueError):  # ValueError: closed meanwhile
                self.waiting.remove(request)
                self.shutdown_request(request)
                return
        if self._has_data(request):
            super().process_request_thread(request, client_address)
        else:
            self.waiting.remove(request)
            self.shutdown_request(request)

    def _has_data(self, request: socket.socket) -> bool:
        """Waits for the first data; false where the connection is closed before.

        An association of pynetdicom looks a thousand times a second whether there are any, each time with Python's
        lock: a hundred silent ones would take a core from those that send.
        """
        pending = isinstance(request, ssl.SSLSocket) and request.pending()
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            selector.register(request, selectors.EVENT_READ)
            return bool(pending or selector.select(self.ae.acse_timeout)) and request in self.waiting
        return False

    def handle_error(self, request: typing.Any, client_address: typing.Any) -> None:
        """Prints nothing: a connection that ends early is no event of the node."""
