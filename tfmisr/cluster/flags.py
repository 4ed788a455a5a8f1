"""The flags of a cluster, shared by the commands that take `--cluster`."""

import argparse
import re

from tfmisr.cluster import addresses, security
from tfmisr.cluster.connection import Options
from tfmisr.edge.errors import InputError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def add_flags(parser: argparse.ArgumentParser, work: str, failed: str = "it is left out with its reason") -> None:
    """Adds the flags to a parser.

    Args:
        parser: The command's parser, which has a flag `--processes` already.
        work: What is done with an image, as in "upscaled".
        failed: What follows where all tries failed.
    """
    group = parser.add_argument_group("cluster", f"images are {work} by a Dask cluster: pip install 'tfmisr[cluster]'")
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="scheduler, tcp://HOST:PORT or tls://HOST:PORT; local:N for N workers on this machine; slurm:FILE, the "
        "configuration of dask-jobqueue, with --processes workers; kubernetes:FILE, a DaskCluster resource",
    )
    group.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="how often an image that ends its process (crash, lack of memory, time-out) is tried again, in the last "
        f"try alone; then {failed} (default: 2)",
    )
    group.add_argument(
        "--timeout", type=float, metavar="S", help="seconds for one image, loading the network included (default: none)"
    )
    group.add_argument(
        "--memory_limit",
        metavar="SIZE",
        help="memory of each process that works on images, such as 2GB: an image that needs more is refused before it "
        "is decoded, and a process that takes more is ended (default: none)",
    )
    group.add_argument(
        "--status",
        action=StatusAction,
        default=argparse.SUPPRESS,
        metavar="FOLDER",
        help="print counts, rate and quarantined images of the output folder of a run, also while it runs, and exit",
    )
    for name, what in (("ca", "the authority's certificate"), ("cert", "certificate"), ("key", "private key")):
        group.add_argument(f"--tls_{name}", metavar="FILE", help=f"{what} for tls://, PEM")


class StatusAction(argparse.Action):
    """`--status FOLDER`: prints counts and rate of a run from its ledger, and exits."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str,
        option_string: str | None = None,
    ) -> None:
        """See `argparse.Action`."""
        from tfmisr.cluster import status

        print("\n".join(status.of_folder(values).lines()))
        parser.exit()


def options(arguments: argparse.Namespace) -> Options:
    """Returns the options of parsed flags, checked without Dask.

    Raises:
        InputError: A number is out of range, address and certificates do not go together, or Dask is missing.
    """
    if arguments.retries < 0:
        raise InputError(f"retries must be at least 0. Received: {arguments.retries}")
    if arguments.timeout is not None and not arguments.timeout > 0:
        raise InputError(f"timeout must be above 0 seconds. Received: {arguments.timeout}")
    certificates = {name: getattr(arguments, name) for name in ("tls_ca", "tls_cert", "tls_key")}
    checked = Options(memory_bytes(arguments.memory_limit), processes=arguments.processes, **certificates)
    if arguments.cluster:
        addresses.check(arguments.cluster)
        security.check(arguments.cluster, checked)
        addresses.require_dask()
    elif any(certificates.values()):
        raise InputError("--tls_ca, --tls_cert and --tls_key go with --cluster")
    return checked


def memory_bytes(text: str | None) -> int | None:
    """Returns a size such as `2GB` or `512MiB` in bytes, `None` for `None`.

    Raises:
        InputError: It is no size, or less than a process takes.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]I?)?B?", text.strip().upper())
    size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if size < 10**8:
        raise InputError(f"memory_limit must be a size of at least 100MB, such as 2GB. Received: {text}")
    return size
