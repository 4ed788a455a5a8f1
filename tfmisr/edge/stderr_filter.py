"""Filters standard error: removes log lines of C++ libraries that no setting of theirs suppresses."""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

from tfmisr.edge.deprecation import renamed

# LiteRT's delegate, and what TensorFlow 2.20 and later log before their log level takes effect.
_LOG_LINES = re.compile(
    rb"INFO: Created TensorFlow Lite XNNPACK delegate|WARNING: All log messages before absl::InitializeLog|"
    rb"I\d{4} \d\d:\d\d:|I0000 00:00:|To enable the following instructions:"
)
_LOCK = threading.Lock()


@contextlib.contextmanager
def filter_stderr() -> Iterator[None]:
    """Buffers what is written to file descriptor 2 within the block, and writes it afterwards without these lines."""
    with _LOCK, contextlib.ExitStack() as stack:
        try:
            buffer = stack.enter_context(tempfile.TemporaryFile())
            original = os.dup(2)
        except OSError:  # the disk is full, or there is no standard error: no filtering
            yield
            return
        _flush()
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(original, 2)
            os.close(original)
            buffer.seek(0)
            _write(b"".join(line for line in buffer if not _LOG_LINES.match(line)))


def _flush() -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # closed or missing
        sys.stderr.flush()


def _write(text: bytes) -> None:
    while text:
        text = text[os.write(2, text) :]


__getattr__ = renamed(__name__, without_noise="filter_stderr")
