"""The sub-command `serve`: runs the web server of a study."""

import argparse
import contextlib
import ipaddress
import signal
import socket
import typing

from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import uvicorn

PORT = 8765


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the parser of the sub-command and returns it."""
    parser = subparsers.add_parser(
        "serve",
        help="serve the web page on which readers rate images",
        description="Serves the reading page, by default only to this computer. Ctrl+C or SIGTERM stops it; no answer "
        "is lost.",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the study, as build wrote it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"0: any free port (default: {PORT})")
    parser.add_argument("--name", action="append", default=[], help="host name of this server in links; repeatable")
    parser.add_argument("--tls_certificate", metavar="FILE", help="certificate chain (PEM), for HTTPS")
    parser.add_argument("--tls_key", metavar="FILE", help="its private key (PEM)")
    parser.add_argument(
        "--insecure_http",
        action="store_true",
        help="listen on a public address without TLS: others on the network can read links and answers",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit status; see `--help`."""
    hosts = _hosts(arguments)
    try:
        import uvicorn

        from tfmisr.reader_study import app, connections
    except ModuleNotFoundError as error:
        raise InputError(f"the server needs {error.name}. Run: pip install 'tfmisr[study]'") from error
    from tfmisr.reader_study.frozen import Study
    from tfmisr.reader_study.store import Store

    study = Study(arguments.folder)
    if changed := study.changed_pixels():
        raise InputError(f"{len(changed)} images of {arguments.folder} were changed after the study was frozen")
    secure = arguments.tls_certificate is not None
    with Store(study) as store, _listening(arguments) as listener:
        config = uvicorn.Config(
            app.create(store, hosts, secure),
            ssl_certfile=arguments.tls_certificate,
            ssl_keyfile=arguments.tls_key,
            # No access log: times and addresses would reveal who reads when.
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            loop="asyncio",  # uvloop would accept connections without the limits of `Listener`
            http=connections.Protocol,
        )
        connections.limit_logs()
        _load(config)
        port = listener.getsockname()[1]
        scheme = "https" if secure else "http"
        url = f"{scheme}://{_url_host(hosts[0])}:{port}"
        store.record_url(url)
        print(f"serving study {study.hash[:12]} at {url}; Ctrl+C stops it", flush=True)
        if not store.labels():
            print(f"no readers yet: python -m tfmisr.reader_study readers {arguments.folder} --add NAME...", flush=True)
        # uvicorn shuts down gracefully, then raises the signal again; the database is closed after it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    return 0


def _hosts(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Returns the admissible host names of requests, the one to print first.

    Raises:
        InputError: The flags do not fit together, or the address is public and without TLS.
    """
    if (arguments.tls_certificate is None) != (arguments.tls_key is None):
        raise InputError("--tls_certificate and --tls_key must be given together")
    if not 0 <= arguments.port < 65536:
        raise InputError(f"port must be 0 to 65535. Received: {arguments.port}")
    host = arguments.host
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise InputError(
            f"--host must be an address such as 127.0.0.1; --name is for names. Received: {host}"
        ) from error
    if address.is_loopback:
        return (*arguments.name, host, "localhost", "127.0.0.1", "::1")
    if arguments.tls_certificate is None and not arguments.insecure_http:
        raise InputError(
            f"{host} can be reached from other computers; give --tls_certificate and --tls_key "
            "(or --insecure_http, in an isolated network)"
        )
    if address.is_unspecified and not arguments.name:
        raise InputError(f"with --host {host}, --name must give the host name of this server in links")
    return (*arguments.name, *(() if address.is_unspecified else (host,)))


def _load(config: "uvicorn.Config") -> None:
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise InputError(f"certificate or key cannot be used: {error.strerror or error}") from error


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listening(arguments: argparse.Namespace) -> socket.socket:
    from tfmisr.reader_study import connections

    try:
        return connections.Listener((arguments.host, arguments.port))
    except OSError as error:
        raise InputError(f"cannot serve on {arguments.host}:{arguments.port}: {error.strerror}; try --port") from error
