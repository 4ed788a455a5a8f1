"""Child processes that die with their parent, and the reason why a process ended."""

import os
import pathlib
import re
import runpy
import signal
import subprocess
import sys
import threading
import typing
from collections.abc import Sequence

import tfmisr

# Command that runs a module, given with its arguments, in a process that dies with this one.
BOUND = (sys.executable, "-m", "tfmisr.tuning.processes")
_LONGEST_REASON = 300  # characters


def start(command: Sequence, **streams: typing.Any) -> subprocess.Popen:
    """Starts a process that dies with this one, because its standard input is closed then.

    It runs in a new session, so that Ctrl-C reaches only this process.

    Args:
        command: `BOUND`, followed by a module and its arguments.
        **streams: `stdout` and `stderr` of `subprocess.Popen`.
    """
    root = str(pathlib.Path(tfmisr.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True, **streams)


def reason(status: int, log: pathlib.Path, begin: int = 0) -> str:
    """Returns in one line why a process failed.

    Args:
        status: Its exit status, negative for a signal.
        log: File with its output.
        begin: Byte at which its output begins in the file.
    """
    if status < 0:
        by = f"killed by {signal.Signals(-status).name}"
        return by + (", as the system does where memory runs out" if -status == signal.SIGKILL else "")
    with open(log, "rb") as file:
        file.seek(max(begin, log.stat().st_size - 2**16))
        lines = [line for line in re.split(r"[\r\n]+", file.read().decode(errors="replace")) if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    if raised and raised[-1].rstrip().endswith("Graph execution error:"):
        raised.append(_in_graph(lines, raised[-1]))
    last = (errors or raised or lines or ["no output"])[-1].strip()[:_LONGEST_REASON]
    return last if status == 2 and errors else f"exit status {status}: {last}"


def _in_graph(lines: list[str], raised: str) -> str:
    """Returns TensorFlow's error with its message, which follows the traceback of the graph's code."""
    after = lines[len(lines) - lines[::-1].index(raised) :]
    message = [line for line in after if not re.match(r'\s*(File "|<|Detected at node |Node: |\d+ root error)', line)]
    error = raised.split(":")[0].rpartition(".")[2]
    return f"{error}: {message[0].strip()}" if message else raised.rpartition(".")[2]


def die_with_parent() -> None:
    """Ends this process when its standard input is closed, that is when its parent ends."""

    def wait():
        os.read(0, 1)  # a thread blocked in sys.stdin would keep the interpreter from exiting
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def finish(process: subprocess.Popen) -> int:
    """Waits for a process and returns its exit status; kills it if the wait is interrupted."""
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


if __name__ == "__main__":
    die_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
