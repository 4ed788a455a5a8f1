"""The TCP server of the receiver: a silent or broken peer never blocks another one."""

import contextlib
import socket
import ssl
import typing

from pynetdicom import evt
from pynetdicom.transport import ThreadedAssociationServer

LONGEST_PDU = 2**20  # bytes; 128 presentation contexts of 50 Transfer Syntaxes are 0.2 MB, and data PDUs are MAX_PDU
_ASSOCIATE = 1  # type of the PDU A-ASSOCIATE-RQ (PS3.8 9.3.2)


def guard(event: evt.Event) -> None:
    """Bounds what a caller costs before it is known who it is.

    A connection that announces a longer PDU is closed: pynetdicom would hold all of it, up to 4 GB. One that ends
    before its request, as that of a port scanner or a load balancer, frees its slot at once: pynetdicom would wait for
    the request until `acse_timeout`, and ten of them would lock out the modality.

    Args:
        event: `EVT_CONN_OPEN` of the receiver.
    """
    connection = event.assoc.dul.socket
    receive = connection.recv
    parts: list[bytearray] = []  # the beginning of the first PDU, and its rest

    def guarded(count: int) -> bytearray:
        content = bytearray()
        try:
            if count > LONGEST_PDU:
                raise OSError("a PDU is too long")
            content = receive(count)
            return content
        finally:
            requested = len(parts) == 2 and parts[0][0] == _ASSOCIATE
            if len(content) < count and not requested:
                event.assoc.dul.to_user_queue.put(None)  # what ends the wait at the time-out
            elif len(parts) < 2:
                parts.append(content)

    connection.recv = guarded


class Server(ThreadedAssociationServer):
    """pynetdicom's server with three differences.

    The TLS handshake runs in the connection's own thread, with a time-out: in the accepting thread a client that
    connects and says nothing would lock out all others. Sockets have a time-out, which ends a peer that stops in the
    middle of a PDU. Nagle's algorithm is off: with delayed acknowledgments it costs 40 ms for each object.
    """

    daemon_threads = True  # a handshake under way does not delay the end

    def get_request(self) -> tuple[socket.socket, typing.Any]:
        """Accepts a connection; see `socketserver.BaseServer`."""
        client, address = self.socket.accept()
        client.settimeout(self.ae.network_timeout)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, address

    def process_request_thread(self, request: typing.Any, client_address: typing.Any) -> None:
        """Makes the handshake, then an association; see `socketserver.ThreadingMixIn`."""
        if self.ssl_context:
            try:
                request.settimeout(self.ae.acse_timeout)
                request = self.ssl_context.wrap_socket(request, server_side=True)
                request.settimeout(self.ae.network_timeout)
            except (OSError, ssl.SSLError):
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, request: typing.Any, client_address: typing.Any) -> None:
        """Prints nothing: a connection that ends early is no event of the node."""
