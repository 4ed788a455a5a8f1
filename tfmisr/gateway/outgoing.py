"""Associations to a destination whose memory and waiting times are bounded, also where it reads slowly or not at all.

pynetdicom puts all PDUs of an object into a queue at once and then waits for the response: a large object would be in
memory as a whole, and the time-out of the response would begin before the object is sent.
"""

import contextlib
import queue
import socket
import time

from pynetdicom.association import Association

MAX_WAITING_PDUS = 64


class BrokenConnection(Exception):
    """The destination takes no more data."""


def tune(association: Association, seconds: float) -> None:
    """Bounds the queue of PDUs that wait to be sent.

    Args:
        association: An established association.
        seconds: Longest time that a PDU may wait for its place in the queue.
    """
    waiting = association.dul.to_provider_queue
    put = waiting.put

    def bounded_put(item: object, *_: object) -> None:
        end = time.monotonic() + seconds
        while association.dul.is_alive():
            with contextlib.suppress(queue.Full):
                put(item, True, 0.2)
                return
            if time.monotonic() > end:
                raise BrokenConnection("the destination reads nothing")
        raise BrokenConnection("the connection was closed")

    waiting.maxsize = MAX_WAITING_PDUS
    waiting.put = bounded_put


def tune_socket(connection: socket.socket, seconds: float) -> None:
    """Switches Nagle's algorithm off, which costs 40 ms for each object, and bounds the time of a write."""
    with contextlib.suppress(OSError, AttributeError):
        connection.settimeout(seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def end(association: Association, broken: bool) -> None:
    """Releases an association, or closes its connection where it is broken."""
    if not broken and association.is_established:
        with contextlib.suppress(BrokenConnection):
            association.release()
            return
    with contextlib.suppress(OSError, AttributeError):
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    waiting = association.dul.to_provider_queue
    with waiting.mutex:  # what is left would be an error of the closed state
        waiting.queue.clear()
        waiting.not_full.notify_all()
    association.kill()
