"""What every request must fulfil, and what every response says, whatever the page (R-02, R-16)."""

import json
from urllib.parse import urlsplit

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


class Guard:
    """Refuses requests for other hosts, from other sites and with large bodies; adds the headers.

    Args:
        app: An ASGI application.
        hosts: Names that the server is called by, without port: another one is a sign of DNS rebinding.
        secure: Served by HTTPS.
    """

    def __init__(self, app, hosts: tuple[str, ...], secure: bool = False):
        self.app, self.hosts, self.secure = app, {host.lower() for host in hosts}, secure
        self.headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope, receive, send):
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

    def _refusal(self, scope) -> tuple[int, str] | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if _name(host) not in self.hosts:
            return 421, "this server has another name"
        if scope["method"] in ("GET", "HEAD"):
            return None
        if headers.get(b"origin") != f"{'https' if self.secure else 'http'}://{host}":
            return 403, "expected a request of this site's own pages"
        if headers.get(b"content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "expected JSON"
        length = headers.get(b"content-length", "")
        # Of a body in chunks a length that is given too says nothing.
        if not length.isascii() or not length.isdigit() or b"transfer-encoding" in headers:
            return 411, "expected a length"
        return (413, "too long") if int(length) > MAX_BODY else None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
