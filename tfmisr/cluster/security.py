"""TLS between client, scheduler and workers, as in Dask's configuration.

Whoever reaches a Dask scheduler can run code on its workers (https://distributed.dask.org/en/stable/tls.html): without
TLS it belongs on a loopback address or on a network of its own.
"""

import pathlib
import typing

from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import distributed

    from tfmisr.cluster.connection import Options

_FLAGS = ("tls_ca", "tls_cert", "tls_key")


def check(address: str, options: "Options") -> None:
    """Checks certificates against an address, without Dask.

    Raises:
        InputError: One of three files is missing, or the address does not go with them.
    """
    given = [name for name in _FLAGS if getattr(options, name)]
    if given and len(given) < len(_FLAGS):
        missing = next(name for name in _FLAGS if name not in given)
        raise InputError(f"TLS needs --tls_ca, --tls_cert and --tls_key; --{missing} is missing")
    for name in given:
        if not pathlib.Path(getattr(options, name)).expanduser().is_file():
            raise InputError(f"--{name}: expected a PEM file at {getattr(options, name)}, found none")
    if address.startswith("tls://") and not given:
        raise InputError(f"{address} needs --tls_ca, --tls_cert and --tls_key")
    if given and address.startswith("tcp://"):
        raise InputError(
            f"certificates are for tls://, received {address}; start the scheduler with TLS, or leave them out"
        )
    if given and address.startswith("kubernetes:"):
        raise InputError(
            "certificates of a kubernetes: cluster are part of its FILE; leave --tls_ca, --tls_cert, --tls_key out"
        )


def certificates(options: "Options") -> "distributed.Security | None":
    """Returns Dask's form of the certificates, the same for client, scheduler and workers; `None` without them."""
    if not options.tls_ca:
        return None
    import distributed

    ca, cert, key = (str(pathlib.Path(getattr(options, name)).expanduser().resolve()) for name in _FLAGS)
    sides = {f"tls_{side}_{part}": path for side in ("client", "scheduler", "worker")
             for part, path in (("cert", cert), ("key", key))}  # fmt: skip
    return distributed.Security(tls_ca_file=ca, require_encryption=True, **sides)


def warning(address: str) -> str:
    """Returns a warning where others may reach a scheduler without TLS, else an empty text."""
    from tfmisr.cluster import addresses

    if address.startswith("tls://") or addresses.is_loopback(address):
        return ""
    return (
        f"{address} is not on this machine and has no TLS: whoever reaches the scheduler can run code on its workers. "
        "Use tls:// with --tls_ca, --tls_cert and --tls_key, or a network of its own"
    )
