"""Where jobs run: processes of this machine, or a Dask cluster by its address."""

import concurrent.futures
import contextlib
import dataclasses
import json
import time
import typing
from collections.abc import Iterator

import tfmisr
from tfmisr.cluster import child, isolation
from tfmisr.edge.errors import InputError

if typing.TYPE_CHECKING:
    import distributed

_JOBS_PER_THREAD = 3  # one runs, one waits at the worker, one is on its way
_SECONDS_OF_THREADS = 2.0
_LOST = "the connection to the scheduler is lost; start the same command again to resume"


@dataclasses.dataclass(frozen=True)
class Options:
    """How to connect.

    Attributes:
        memory_limit: Largest resident memory, in bytes, of each process that works on inputs; `None` for no bound.
        tls_ca: File with the certificate of the authority, PEM, as `distributed.comm.tls.ca-file` of Dask.
        tls_cert: File with the client's certificate, PEM.
        tls_key: File with its private key, PEM.
        processes: Number of processes without an address; number of workers that `slurm:` and `kubernetes:` ask for.
        seconds: How long to wait for the scheduler.
    """

    memory_limit: int | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    processes: int = 1
    seconds: float = 10.0


class Connection(typing.Protocol):
    """What `tfmisr.cluster.run` needs; futures have `add_done_callback` and can be hashed."""

    def window(self) -> int:
        """Returns how many jobs to hand out at a time."""

    def submit(self, key: str, function: str, payload: str, seconds: float | None) -> typing.Any:
        """Returns a future of `tfmisr.cluster.isolation.work`."""

    def replies(self, futures: list) -> list[dict]:
        """Returns the replies of futures that are done."""

    def check(self) -> None:
        """Raises `InputError` where the scheduler is lost."""

    def cancel(self, futures: list) -> None:
        """Gives up futures."""


@contextlib.contextmanager
def connect(address: str = "", options: Options = Options()) -> Iterator[Connection]:
    """Connects to a cluster, or starts one.

    Args:
        address: `tcp://HOST:PORT` or `tls://HOST:PORT` of a scheduler, `local:N` for N workers on this machine,
            `slurm:FILE`, `kubernetes:FILE`; "" for `options.processes` processes without Dask.
        options: Limits, certificates.

    Raises:
        InputError: The address has another form, the scheduler cannot be found, or a package is missing.
    """
    if not address:
        with contextlib.closing(_Processes(options)) as processes:
            yield processes
        return
    from tfmisr.cluster import addresses

    with addresses.dask_client(address, options) as client:
        yield _Dask(client, options.memory_limit)


class _Processes:
    """Processes of this machine, each with a thread that waits for it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._threads = concurrent.futures.ThreadPoolExecutor(options.processes)

    def window(self) -> int:
        return 2 * self._options.processes

    def submit(self, key, function, payload, seconds):
        limits = (seconds, self._options.memory_limit)
        return self._threads.submit(isolation.work, function, payload, *limits, tfmisr.__version__)

    def replies(self, futures):
        return [json.loads(future.result()) for future in futures]

    def check(self) -> None:
        """Processes of this machine cannot be lost: each has its thread."""

    def cancel(self, futures) -> None:
        for future in futures:
            future.cancel()
        if any(not future.done() for future in futures):
            isolation.kill_all()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        isolation.kill_all()


class _Dask:
    """A Dask cluster."""

    def __init__(self, client: "distributed.Client", memory_limit: int | None) -> None:
        self._client, self._memory_limit = client, memory_limit
        self._threads, self._counted = 0, float("-inf")

    def window(self) -> int:
        if time.monotonic() - self._counted > _SECONDS_OF_THREADS:
            self.check()
            with self._connected():
                self._threads, self._counted = sum(self._client.nthreads().values()), time.monotonic()
        return _JOBS_PER_THREAD * max(self._threads, 1)

    def submit(self, key, function, payload, seconds):
        arguments = (function, payload, seconds, self._memory_limit, tfmisr.__version__)
        with self._connected():
            return self._client.submit(isolation.work, *arguments, key=key, pure=False)

    def replies(self, futures):
        """Gathers all results in one request; those of workers that are lost meanwhile are computed again by Dask."""
        with self._connected():
            if any(future.status in ("cancelled", "lost") for future in futures):
                raise OSError("the scheduler lost a job")
            finished = [future for future in futures if future.status == "finished"]
            try:
                texts = dict(zip(finished, self._client.gather(finished), strict=True))
            except _killed_worker():
                return [self._reply(future) for future in futures]
        return [json.loads(texts[f]) if f in texts else self._reply(f) for f in futures]

    @staticmethod
    def _reply(future) -> dict:
        """Returns the reply for one job: its workers may have died one after the other."""
        try:
            return json.loads(future.result())
        except _killed_worker() as error:
            return child.error_reply(f"its workers ended ({type(error).__name__})")

    def check(self) -> None:
        if self._client.status != "running":
            raise InputError(_LOST)

    @staticmethod
    @contextlib.contextmanager
    def _connected():
        try:
            yield
        except (OSError, concurrent.futures.CancelledError) as error:
            raise InputError(_LOST) from error

    def cancel(self, futures) -> None:
        if futures and self._client.status == "running":
            with contextlib.suppress(OSError):
                self._client.cancel(futures, force=True)


def _killed_worker() -> type[Exception]:
    import distributed

    return distributed.KilledWorker
