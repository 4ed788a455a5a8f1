"""Associations to a destination whose memory and waiting times are bounded, also where it reads slowly or not at all.

pynetdicom puts all PDUs of an object into a queue at once and then waits for the response: a large object would be in
memory as a whole, and the time-out of the response would begin before the object is sent.
"""

import contextlib
import queue
import socket
import threading
import time

from pynetdicom.association import Association

MAX_WAITING_PDUS = 64


class BrokenConnection(Exception):
    """The destination takes no more data."""


class Checkpoint:
    """Pauses the thread of an association for sure, in place of pynetdicom's `threading.Event`.

    That thread and the sender read the same queue of messages. With an event, the thread may be between `wait` and its
    next look at the queue while the sender believes that it is paused: it then takes the response and drops it, and the
    sender waits for it until `dimse_timeout`. Here `clear` returns once the thread is inside of `wait`.

    Args:
        association: The association.
    """

    def __init__(self, association: threading.Thread) -> None:
        self._association = association
        self._condition = threading.Condition()
        self._is_open, self._waits = True, False

    def set(self) -> None:
        """Lets the thread continue."""
        with self._condition:
            self._is_open = True
            self._condition.notify_all()

    def clear(self) -> None:
        """Pauses the thread.

        Raises:
            BrokenConnection: It has ended.
        """
        with self._condition:
            self._is_open = False
            while not self._waits and threading.current_thread() is not self._association:
                if not self._association.is_alive():
                    raise BrokenConnection("the connection was closed")
                self._condition.wait(0.01)

    def wait(self) -> None:
        """Called by the thread: returns unless it is paused."""
        with self._condition:
            self._waits = True
            self._condition.notify_all()
            while not self._is_open:
                self._condition.wait()
            self._waits = False


def tune(association: Association, seconds: float) -> None:
    """Bounds the queue of PDUs that wait to be sent, and makes sure that no response is lost.

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

    association._reactor_checkpoint = Checkpoint(association)
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
