"""HTTP server of /healthz, /readyz and /metrics (G-17)."""

import http.server
import json
import threading
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST

from tfmisr.gateway.config import Monitoring

Answer = tuple[int, str, bytes]  # status, content type, body


def start(settings: Monitoring, ready: Callable[[], dict[str, bool]], metrics: Callable[[], bytes]) -> int:
    """Starts the server in a thread of its own and returns its port.

    Args:
        settings: Address and port.
        ready: Returns the conditions of readiness by name.
        metrics: Returns the text of /metrics.

    Raises:
        OSError: The port is in use.
    """

    def health() -> Answer:
        return 200, "text/plain", b"ok\n"

    def readiness() -> Answer:
        conditions = ready()
        return (200 if all(conditions.values()) else 503), "application/json", json.dumps(conditions).encode() + b"\n"

    pages = {
        "/healthz": health,
        "/readyz": readiness,
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, metrics()),
    }
    server = http.server.ThreadingHTTPServer((settings.address, settings.port), _handler(pages))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="monitoring", daemon=True).start()
    return server.server_address[1]


def _handler(pages: dict[str, Callable[[], Answer]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10  # seconds; a silent client holds no thread

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            try:
                status, kind, body = page() if page else (404, "text/plain", b"not found\n")
            except Exception as error:  # noqa: BLE001
                status, kind, body = 500, "text/plain", f"{type(error).__name__}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Logs nothing: a probe comes every few seconds."""

    return Handler
