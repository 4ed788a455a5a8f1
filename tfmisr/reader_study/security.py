"""ASGI middleware: rejects foreign requests (DNS rebinding, CSRF, large bodies), sets security headers (R-02, R-16)."""

import json
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

ASGIApplication = Callable[[dict, Callable, Callable], Awaitable[None]]

MAX_BODY = 65_536  # bytes

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# 30 days: longer than the washout between two sessions. A browser then refuses plain HTTP to this host name (RFC 6797).
STRICT_TRANSPORT_SECURITY = "max-age=2592000"


class Guard:
    """ASGI middleware that rejects requests for other hosts, from other origins or with large bodies; adds `HEADERS`.

    Under HTTPS it also adds Strict-Transport-Security (HSTS).

    Args:
        app: An ASGI application.
        hosts: Host names of the server, without port; any other one is a sign of DNS rebinding.
        secure: Whether the server uses HTTPS.
    """

    def __init__(self, app: ASGIApplication, hosts: tuple[str, ...], secure: bool = False):
        self.app, self.hosts, self.secure = app, {host.lower() for host in hosts}, secure
        headers = {**HEADERS, **({"Strict-Transport-Security": STRICT_TRANSPORT_SECURITY} if secure else {})}
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Handles one request; see the ASGI specification, https://asgi.readthedocs.io."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self.headers]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send_with_headers)
            return
        status, text = refusal
        body = json.dumps({"error": text}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send_with_headers({"type": "http.response.start", "status": status, "headers": headers})
        await send_with_headers({"type": "http.response.body", "body": body})

    def _refusal(self, scope: dict) -> tuple[int, str] | None:
        """Returns status and text of the response to an inadmissible request, else `None`."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if _host_name(host) not in self.hosts:
            return 421, "this server does not answer to this host name"
        if scope["method"] in ("GET", "HEAD"):
            return None
        if headers.get(b"origin") != f"{'https' if self.secure else 'http'}://{host}":
            return 403, "expected a request from this site's own pages"
        if headers.get(b"content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "expected JSON"
        length = headers.get(b"content-length", "")
        # With chunked transfer encoding a Content-Length header is not reliable (RFC 9112, 6.3).
        if not length.isascii() or not length.isdigit() or b"transfer-encoding" in headers:
            return 411, "expected a Content-Length"
        return (413, "the request is too long") if int(length) > MAX_BODY else None


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
