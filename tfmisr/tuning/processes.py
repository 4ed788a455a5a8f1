"""Processes that die with what started them, and why a process ended."""

import os
import pathlib
import re
import runpy
import signal
import subprocess
import sys
import threading

import tfmisr

# Runs a module, given with its arguments, in a process that dies with this one.
BOUND = (sys.executable, "-m", "tfmisr.tuning.processes")
_LONGEST_REASON = 300  # characters


def start(command, **streams) -> subprocess.Popen:
    """Starts a process that dies with this one: its standard input ends then.

    It has to be `BOUND`. It has a session of its own, so that Ctrl-C comes to this process alone.
    """
    root = str(pathlib.Path(tfmisr.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True, **streams)


def reason(status: int, log: pathlib.Path, begin: int = 0) -> str:
    """Returns in one line why a process ended with such a status, from what it wrote to `log` from `begin` on."""
    if status < 0:
        by = f"killed by {signal.Signals(-status).name}"
        return by + (", as the system does where memory runs out" if -status == signal.SIGKILL else "")
    with open(log, "rb") as file:
        file.seek(max(begin, log.stat().st_size - 2**16))
        lines = [line for line in re.split(r"[\r\n]+", file.read().decode(errors="replace")) if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    if raised and raised[-1].rstrip().endswith("Graph execution error:"):
        raised.append(_in_graph(lines, raised[-1]))
    last = (told or raised or lines or ["it said nothing"])[-1].strip()[:_LONGEST_REASON]
    return last if status == 2 and told else f"exit status {status}: {last}"


def _in_graph(lines: list[str], raised: str) -> str:
    """Returns TensorFlow's error with what went wrong, which stands below the places of the graph's code."""
    after = lines[len(lines) - lines[::-1].index(raised) :]
    said = [line for line in after if not re.match(r'\s*(File "|<|Detected at node |Node: |\d+ root error)', line)]
    kind = raised.split(":")[0].rpartition(".")[2]
    return f"{kind}: {said[0].strip()}" if said else raised.rpartition(".")[2]


def die_with_parent() -> None:
    """Ends this process as soon as its standard input ends: what started it is gone, and may start it again."""

    def wait():
        os.read(0, 1)  # a thread that waits in sys.stdin could not be ended when the interpreter ends
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def finish(process: subprocess.Popen) -> int:
    """Waits for the end of a process and returns its exit status; kills it where the waiting is interrupted."""
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
