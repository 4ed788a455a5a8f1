"""`python -m tfmisr.cluster.child`: calls functions by name, for `tfmisr.cluster.isolation`.

One JSON object a line comes in through stdin, `{"function": "module:name", "payload": ...}`, and one goes out:
`{"value": ...}`, or `{"error": text, "final": bool, "errno": number or null}`. No object is pickled.
"""

import contextlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
import typing

from tfmisr import cli
from tfmisr.edge.errors import InputError


def main() -> None:
    """Answers requests until stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to every process; the command ends this one
    _prefer_for_out_of_memory()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    os.dup2(2, 1)  # what a library prints is no reply
    cli.prepare_output()
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    while True:
        replies.write(json.dumps(answer(json.loads(requests.get()))) + "\n")
        replies.flush()


def _read(requests) -> None:
    """Ends this process together with its parent, even in the middle of an input."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def _prefer_for_out_of_memory() -> None:
    """Makes Linux end this process before the worker when the machine has no memory left."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def answer(request: dict) -> dict:
    """Returns the reply to a request.

    Args:
        request: `function`, an import path, and `payload`, its argument.

    Returns:
        The function's `value`, or `error` as text. An error is `final` where another try would fail alike. Texts of
        errors other than `InputError` may quote patient data and are reduced to their type.
    """
    try:
        return {"value": find(request["function"])(request["payload"])}
    except InputError as error:
        return {"error": str(error), "final": True, "errno": None}
    except ModuleNotFoundError as error:
        text = str(cli.explained(error, "this command"))
        return {"error": f"a worker lacks a package: {text}", "final": True, "errno": None}
    except MemoryError:
        return {"error": "not enough memory", "final": False, "errno": None}
    except OSError as error:
        return {"error": error.strerror or type(error).__name__, "final": False, "errno": error.errno}
    except Exception as error:  # noqa: BLE001
        return {"error": f"failed with {type(error).__name__}", "final": False, "errno": None}


def find(function: str) -> typing.Callable:
    """Returns the function of an import path `module:name`."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main()
