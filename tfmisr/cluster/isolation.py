"""One input in a process of its own, with a time-out and a bound on its memory.

Dask cannot stop a task, and where a task kills its worker, every task that was sent to this worker is suspected. A
separate process answers both: its parent ends it, and knows which input it was working on. Processes are kept for the
next input, so that a network is loaded once.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
import typing

import tfmisr
from tfmisr.cluster import child as protocol
from tfmisr.edge.errors import InputError

SECONDS_BETWEEN_CHECKS = 0.05
STARTING_SECONDS = 60.0  # for the interpreter and the imports, which no input can slow down but a busy machine can


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one input may take.

    Attributes:
        seconds: Time-out, with the first input of a process including the loading of a network, but not the start of
            the process, which has `STARTING_SECONDS` or this, whichever is longer; `None` for none.
        memory: Largest resident memory of the process in bytes; `None` for no bound.
    """

    seconds: float | None = None
    memory: int | None = None


class Child:
    """A process that answers one request after the other; see `tfmisr.cluster.child`."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tfmisr.cluster.child"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), text=True, encoding="utf-8"
        )
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._process.stdout as lines:
            for line in lines:
                self._replies.put(line)
        self._replies.put("")

    def call(self, function: str, payload: str, limits: Limits) -> dict:
        """Returns the reply of `tfmisr.cluster.child.answers`, or an error of the same form where the process ended.

        Args:
            function: Import path `module:name`.
            payload: Its argument as JSON.
            limits: Time and memory.
        """
        with contextlib.suppress(OSError):  # it has ended; the reply below says how
            self._process.stdin.write(f'{{"function": {json.dumps(function)}, "payload": {payload}}}\n')
            self._process.stdin.flush()
        starting = limits.seconds and max(limits.seconds, STARTING_SECONDS)
        reply = self._reply(dataclasses.replace(limits, seconds=starting), "its process did not start within")
        return self._reply(limits, "took longer than the time-out of") if reply == protocol.BEGUN else reply

    def _reply(self, limits, too_long) -> dict:
        start = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                line = self._replies.get(timeout=SECONDS_BETWEEN_CHECKS)
                return json.loads(line) if line else protocol.error_reply(self._ending())
            if reason := self._exceeded(limits, time.monotonic() - start, too_long):
                self.close()
                return protocol.error_reply(reason)

    def _exceeded(self, limits, seconds, too_long) -> str:
        if limits.seconds is not None and seconds > limits.seconds:
            return f"{too_long} {limits.seconds:g} s"
        if limits.memory is not None and resident_memory(self._process.pid) > limits.memory:
            return f"took more memory than --memory_limit, {limits.memory / 1e6:,.0f} MB"
        return ""

    def _ending(self) -> str:
        status = self._process.wait()
        if status >= 0:
            return f"ended its process with exit status {status}"
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"ended its process by {name}{', perhaps for lack of memory' if name == 'SIGKILL' else ''}"

    @property
    def alive(self) -> bool:
        """Whether the process takes another request."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._reader.join()


def _environment() -> dict[str, str]:
    """Returns this process's environment, without what Dask's nanny sets: the number of threads may change rounding."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    dask = sys.modules.get("dask")
    for name, value in dask.config.get("distributed.nanny.pre-spawn-environ", {}).items() if dask else ():
        if environment.get(name) == str(value):
            del environment[name]
    return environment


def resident_memory(process: int | str = "self") -> int:
    """Returns the resident memory of a process in bytes; 0 where it has ended.

    Raises:
        InputError: The system reports it only to psutil, which is not installed.
    """
    if sys.platform == "linux":
        try:
            pages = pathlib.Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    try:
        import psutil
    except ModuleNotFoundError as error:
        raise InputError("--memory_limit needs psutil here. Run: pip install 'tfmisr[cluster]'") from error
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(None if process == "self" else int(process)).memory_info().rss
    return 0


_idle: list[Child] = []  # list.pop and list.append are atomic
_children: set[Child] = set()


def call(function: str, payload: str, limits: Limits) -> dict:
    """Calls a function in an idle process, or in a new one; see `Child.call`."""
    try:
        child = _idle.pop()
    except IndexError:
        child = Child()
        _children.add(child)
    reply: dict[str, typing.Any] = child.call(function, payload, limits)
    if child.alive:
        _idle.append(child)
    else:
        child.close()
        _children.discard(child)
    return reply


def kill_all() -> None:
    """Ends all processes, those in the middle of an input too."""
    _idle.clear()
    while _children:
        with contextlib.suppress(KeyError):
            _children.pop().close()


def work(function: str, payload: str, seconds: float | None, memory: int | None, version: str) -> str:
    """The only task that Dask receives: calls a function in a separate process and never raises.

    Args:
        function: Import path `module:name`.
        payload: Its argument as JSON.
        seconds: As of `Limits`.
        memory: As of `Limits`.
        version: Version of tfmisr that asks; another one on the worker may compute other pixels.

    Returns:
        The reply as JSON, with the `seconds` it took.
    """
    start = time.monotonic()
    if version != tfmisr.__version__:
        text = f"a worker has tfmisr {tfmisr.__version__}, this machine {version}; install the same on both"
        reply = protocol.error_reply(text, final=True)
    else:
        try:
            reply = call(function, payload, Limits(seconds, memory))
        except InputError as error:
            reply = protocol.error_reply(str(error), final=True)
        except OSError as error:  # no process can be started, for lack of memory or of process numbers
            reply = protocol.error_reply(f"no process could be started ({error.strerror})")
    return json.dumps({**reply, "seconds": round(time.monotonic() - start, 4)})
