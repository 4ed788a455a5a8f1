"""Servers on this machine alone."""

import contextlib
import threading


@contextlib.contextmanager
def serving(server):
    """Answers requests in a thread while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
