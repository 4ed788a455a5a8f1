"""The sub-command `serve`: the web page of a study."""

import contextlib
import ipaddress
import socket

from tfmisr.edge.errors import InputError

PORT = 8765


def add_parser(subparsers):
    """Adds the sub-command's parser and returns it."""
    parser = subparsers.add_parser(
        "serve",
        help="serve the web page on which readers judge",
        description="Serves the reading page, by default to this computer alone. Ctrl+C ends it; no answer is lost.",
    )
    parser.add_argument("folder", metavar="DIR", help="the study, as build has written it")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"0: any free one (default: {PORT})")
    parser.add_argument("--name", action="append", default=[], help="name that readers call this server by; repeatable")
    parser.add_argument("--tls_certificate", metavar="FILE", help="certificate chain (PEM), for HTTPS")
    parser.add_argument("--tls_key", metavar="FILE", help="its private key (PEM)")
    parser.add_argument(
        "--insecure_http",
        action="store_true",
        help="serve another address than this computer's own without TLS: links and answers can be read on the way",
    )
    return parser


def run(arguments) -> int:
    """Runs the sub-command; see `--help`."""
    hosts = _hosts(arguments)
    try:
        import uvicorn

        from tfmisr.reader_study import app
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
            # No log of requests: their times and addresses say who reads when.
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            lifespan="off",
        )
        _load(config)
        port = listener.getsockname()[1]
        scheme = "https" if secure else "http"
        print(f"serving study {study.hash[:12]} at {scheme}://{_called(hosts[0])}:{port}; Ctrl+C ends it", flush=True)
        if not store.labels():
            print(f"no readers yet: python -m tfmisr.reader_study readers {arguments.folder} --add NAME...", flush=True)
        # uvicorn ends in order, and then passes the Ctrl+C on.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    return 0


def _hosts(arguments) -> tuple[str, ...]:
    """Returns the names that requests may be for, the one to show first.

    Raises:
        InputError: The address is not safe as it is asked for.
    """
    if (arguments.tls_certificate is None) != (arguments.tls_key is None):
        raise InputError("--tls_certificate and --tls_key go together")
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
            "(or --insecure_http, in a network that is closed)"
        )
    if address.is_unspecified and not arguments.name:
        raise InputError(f"with --host {host}, --name must say by which name readers call this server")
    return (*arguments.name, *(() if address.is_unspecified else (host,)))


def _load(config):
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise InputError(f"certificate or key cannot be used: {error.strerror or error}") from error


def _called(host):
    return f"[{host}]" if ":" in host else host


def _listening(arguments):
    family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((arguments.host, arguments.port))
        listener.listen()  # so that nobody is turned away between the line that says so and the server's start
    except OSError as error:
        listener.close()
        raise InputError(f"cannot serve on {arguments.host}:{arguments.port}: {error.strerror}; try --port") from error
    return listener
