"""`python -m tfmisr.cluster.child`: calls functions by name, for `tfmisr.cluster.isolation`.

One JSON object a line comes in through stdin, `{"function": "module:name", "payload": ...}`, and two go out:
`{"begun": true}` when the function is imported and called, from where a time-out counts, then `{"value": ...}`, or only
`{"error": text, "final": bool, "errno": number or null}`. No object is pickled.
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

BEGUN = {"begun": True}


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
        for reply in answers(json.loads(requests.get())):
            replies.write(json.dumps(reply) + "\n")
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


def answers(request: dict) -> typing.Iterator[dict]:
    """Yields `BEGUN` when the function is called, then the reply to a request.

    Args:
        request: `function`, an import path, and `payload`, its argument.

    Yields:
        Last the function's `value`, or `error` as text. An error is `final` where another try would fail alike. Texts
        of errors other than `InputError` may quote patient data and are reduced to their type.
    """
    try:
        function = find(request["function"])
        yield BEGUN
        yield {"value": function(request["payload"])}
    except InputError as error:
        yield error_reply(str(error), final=True)
    except ModuleNotFoundError as error:
        yield error_reply(f"a worker lacks a package: {cli.explained(error, 'this command')}", final=True)
    except MemoryError:
        yield error_reply("not enough memory")
    except OSError as error:
        yield error_reply(error.strerror or type(error).__name__, errno=error.errno)
    except Exception as error:  # noqa: BLE001
        yield error_reply(f"failed with {type(error).__name__}")


def error_reply(text: str, *, final: bool = False, errno: int | None = None) -> dict:
    """Returns the reply for an error, as in `answers`.

    Args:
        text: One line without patient data.
        final: Whether another try would fail alike.
        errno: Number of an `OSError`.
    """
    return {"error": text, "final": final, "errno": errno}


def find(function: str) -> typing.Callable:
    """Returns the function of an import path `module:name`."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main()
