"""Dask clients by address: a scheduler, workers on this machine, or those of Slurm or Kubernetes.

`slurm:FILE` is a YAML file in the form of dask-jobqueue's own configuration (`jobqueue: slurm: ...`,
https://jobqueue.dask.org), `kubernetes:FILE` a `DaskCluster` resource of the Dask operator
(https://kubernetes.dask.org). Only the machine that submits needs these two packages.
"""

import contextlib
import importlib.util
import ipaddress
import pathlib
import re
import sys
import typing
from collections.abc import Iterator

from tfmisr.cluster import security
from tfmisr.cluster.connection import Options
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import distributed

FORMS = "tcp://HOST:PORT, tls://HOST:PORT, local:N, slurm:FILE or kubernetes:FILE"
_LAUNCHERS = {"slurm": "dask-jobqueue", "kubernetes": "dask-kubernetes"}


@contextlib.contextmanager
def dask_client(address: str, options: Options) -> Iterator["distributed.Client"]:
    """Yields a client; a cluster that was started for it ends with it.

    Raises:
        InputError: See `tfmisr.cluster.connect`.
    """
    kind, value = check(address)
    security.check(address, options)
    require_dask()
    if kind in ("tcp", "tls"):
        if warning := security.warning(address):
            print(f"warning: {warning}", file=sys.stderr)
        with _client(address, options) as client:
            yield client
        return
    with _started(kind, value, options) as started, _client(started, options) as client:
        yield client


def check(address: str) -> tuple[str, str]:
    """Returns the two parts of an address, such as ("local", "2"), checked without Dask.

    Raises:
        InputError: It has another form, or names a file that does not exist.
    """
    if match := re.fullmatch(r"(tcp|tls)://(.+:\d{1,5})/?", address):
        return match[1], match[2]
    kind, _, value = address.partition(":")
    if kind == "local" and re.fullmatch(r"[1-9]\d{0,3}", value):
        return kind, value
    if kind in _LAUNCHERS and value:
        if not pathlib.Path(value).expanduser().is_file():
            raise InputError(f"expected the configuration of {_LAUNCHERS[kind]} at {value}, found no file")
        return kind, value
    raise InputError(f"cluster must be {FORMS}. Received: {address}")


def require_dask() -> None:
    """Checks, without importing it, that Dask is installed.

    Raises:
        InputError: It is not.
    """
    if importlib.util.find_spec("distributed") is None:
        raise InputError("a cluster needs Dask (distributed is missing). Run: pip install 'tfmisr[cluster]'")


def is_loopback(address: str) -> bool:
    """Returns whether `tcp://HOST:PORT` stays on this machine."""
    host = address.partition("://")[2].rpartition(":")[0].strip("[]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@contextlib.contextmanager
def _client(address, options):
    """Connects to a scheduler's address or to a cluster object."""
    import distributed

    certificates = None if not isinstance(address, str) else security.certificates(options)
    try:
        client = distributed.Client(address, timeout=options.seconds, security=certificates, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        name = address if isinstance(address, str) else "the cluster"
        raise InputError(
            f"no Dask scheduler answers at {name} within {options.seconds:g} s ({type(error).__name__}); "
            "start one with: dask scheduler"
        ) from error
    with client:
        yield client


@contextlib.contextmanager
def _started(kind, value, options):
    import dask
    import distributed  # noqa: F401  before the block, at whose end its defaults would be lost again

    # Results are small and memory is bounded per input: Dask's own limit would end a worker without naming the input.
    quiet = {"distributed.worker.memory.terminate": False, "distributed.worker.memory.pause": False}
    with dask.config.set({**quiet, "distributed.scheduler.work-stealing": True}):
        start = {"local": _local, "slurm": _slurm, "kubernetes": _kubernetes}[kind]
        with start(value, options) as cluster:
            yield cluster


def _local(value, options):
    import distributed

    certificates = security.certificates(options)
    return distributed.LocalCluster(
        n_workers=int(value),
        threads_per_worker=1,
        processes=True,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",  # None would take port 8787, and warn where it is taken
        silence_logs="CRITICAL",
        security=certificates,
        protocol="tls://" if certificates else "tcp://",
    )


def _slurm(value, options):
    settings = _yaml(value)
    if not isinstance(settings.get("jobqueue", {}).get("slurm"), dict):
        raise InputError(f"{value}: expected the keys jobqueue: slurm: of dask-jobqueue's configuration")
    import dask

    with _launcher("slurm"):
        from dask_jobqueue import SLURMCluster
    with dask.config.set(settings):
        cluster = SLURMCluster(security=security.certificates(options))
    cluster.scale(options.processes)
    return cluster


def _kubernetes(value, options):
    specification = _yaml(value)
    if specification.get("kind") != "DaskCluster":
        raise InputError(f"{value}: expected a resource of kind DaskCluster (https://kubernetes.dask.org)")
    with _launcher("kubernetes"):
        from dask_kubernetes.operator import KubeCluster
    cluster = KubeCluster(custom_cluster_spec=specification)
    if options.processes > 1:
        cluster.scale(options.processes)
    return cluster


@contextlib.contextmanager
def _launcher(kind):
    try:
        yield
    except ModuleNotFoundError as error:
        name = _LAUNCHERS[kind]
        raise InputError(
            f"{kind}: needs {name} ({error.name} is missing) on this machine. Run: pip install {name}"
        ) from error


def _yaml(path) -> dict:
    import yaml  # a dependency of Dask

    try:
        content = yaml.safe_load(pathlib.Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} is not readable as YAML ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a YAML mapping, found {type(content).__name__}")
    return content
