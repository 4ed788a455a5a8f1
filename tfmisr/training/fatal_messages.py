"""Standard error of one process of several: what JAX's runtime prints before it aborts becomes one line.

When a process of a distributed run is lost, the coordination service of JAX ends the others from a thread of C++, with
a stack trace and SIGABRT; no handler of Python runs, and the callback that jaxlib has for it cannot be called
(`std::bad_cast`, jaxlib 0.10). So what C++ writes to file descriptor 2 passes through a small process, which outlives
the abort. Python's `sys.stderr` stays as it is.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator

_FATAL = re.compile(r"F\d{4} .*JAX distributed service detected fatal errors")
# Log lines of C++ that report no problem.
_NOISE = re.compile(r"\[Gloo\] Rank \d+ is connected|WARNING: All log messages before absl|I\d{4} [\d:.]+ ")


def redirect(num_processes: int) -> None:
    """Filters file descriptor 2 of this process from now on; does nothing without a standard error.

    Args:
        num_processes: Processes of the run, for the message.
    """
    try:
        own = os.dup(2)
    except OSError:
        return
    command = [sys.executable, "-c", "from tfmisr.training import fatal_messages as f; f.main()", str(num_processes)]
    # In a session of its own: Ctrl-C, which the whole foreground group receives, must not end it first.
    path = os.pathsep.join(filter(None, sys.path))
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, start_new_session=True, env={**os.environ, "PYTHONPATH": path}
    )
    os.dup2(child.stdin.fileno(), 2)
    child.stdin.close()
    child.returncode = 0  # it ends with this process; Python would warn that it is still running
    if sys.stderr is not None and sys.stderr.fileno() == 2:
        sys.stderr.flush()
        sys.stderr = os.fdopen(own, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)


def main() -> None:
    """Copies standard input to standard error, filtered; `sys.argv` holds the number of processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(0, encoding="utf-8", errors="backslashreplace") as lines:
        for line in filtered(lines, int(sys.argv[1])):
            sys.stderr.write(line)
            sys.stderr.flush()


def filtered(lines: Iterable[str], num_processes: int) -> Iterator[str]:
    """Yields the lines without harmless log lines, and one line for the fatal message of JAX and its stack trace.

    Where Python saw the broken connection first, C++ may still abort before the process ends: that is one line, too.

    Args:
        lines: Lines that C++ wrote, or `report_lost`.
        num_processes: Processes of the run.
    """
    lines, reported = iter(lines), message("", num_processes)
    for line in lines:
        if line == reported or _FATAL.match(line):
            yield message(line + "".join(lines), num_processes)
        elif not _NOISE.match(line):
            yield line


def report_lost(num_processes: int) -> None:
    """Reports another process's loss, which Python saw, through the filter: it knows whether C++ says more."""
    with contextlib.suppress(OSError):
        os.write(2, message("", num_processes).encode())


def message(fatal: str, num_processes: int) -> str:
    """Returns the line that replaces a fatal message of JAX, which nothing follows.

    Args:
        fatal: The message, up to the end of the process.
        num_processes: Processes of the run.
    """
    resume = "start the same command again in all processes to resume from the last checkpoint"
    if "RegisterTask" in fatal:
        return f"error: not all of the {num_processes} processes were started in time (--connect_timeout); {resume}\n"
    if found := re.search(r"unhealthy[^\n]*\n((?:\S*?\d+\n)+)", fatal):
        lost = ", ".join(re.findall(r"(\d+)\n", found[1]))
        return f"error: process {lost} of {num_processes} was lost (--heartbeat_timeout); {resume}\n"
    if "Failed to send RPC to coordination service" in fatal:
        return f"error: process 0 of {num_processes}, the coordinator, was lost; {resume}\n"
    return f"error: another of the {num_processes} processes was lost; {resume}\n"
