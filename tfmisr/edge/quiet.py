"""Standard error without the lines in which C++ libraries report what no setting of theirs keeps back."""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

# LiteRT's delegate; what TensorFlow 2.20 and later log before their own level of logging counts.
_NOISE = re.compile(
    rb"INFO: Created TensorFlow Lite XNNPACK delegate|WARNING: All log messages before absl::InitializeLog|"
    rb"I\d{4} \d\d:\d\d:|I0000 00:00:|To enable the following instructions:"
)
_LOCK = threading.Lock()


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Holds back what is written to file descriptor 2 in the block, and writes it afterwards without such lines."""
    with _LOCK, contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            kept = os.dup(2)
        except OSError:  # no disk to write to, or no standard error: then nothing is held back
            yield
            return
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            _write(b"".join(line for line in held if not _NOISE.match(line)))


def _flush() -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or there is none
        sys.stderr.flush()


def _write(text: bytes) -> None:
    while text:
        text = text[os.write(2, text) :]
